"""compress(): the stages run, the facts hold, and what is wrong is told before it costs time."""

import mxnet as mx
import numpy as np
import pytest
from mxnet.gluon import nn

import gluonzip
from gluonzip import archive
from gluonzip.errors import ConfigError, DataError, PatternError, TraceError
from gluonzip.training import Batches

STAGES = [
    {"method": "train", "training": {"epochs": 4, "learning_rate": 0.01}},
    {
        "method": "prune",
        "rules": [{"layers": "0", "sparsity": 0.75}, {"layers": "1", "sparsity": 0.5}],
        "ramp": 2,
        "training": {"epochs": 3, "learning_rate": 0.005},
        "distill": {"temperature": 2.0},
    },
    {"method": "finetune", "training": {"epochs": 1}},
    {"method": "quantize", "training": {"epochs": 1}, "distill": {}},
]


def network():
    mx.random.seed(5)
    net = nn.HybridSequential()
    net.add(nn.Dense(32, activation="relu"), nn.Dense(16, activation="relu"), nn.Dense(3))
    net.initialize(mx.init.Xavier())
    net.hybridize()
    return net


def clouds(seed, shuffle=False):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, 200)
    points = np.repeat(np.eye(3)[labels] * 3, 4, axis=1) + rng.normal(size=(200, 12))
    return Batches(points, labels, 25, shuffle=shuffle, seed=1)


def compress(stages=STAGES, net=None, **data):
    given = {
        "train_data": clouds(0, shuffle=True),
        "calibration_data": clouds(0),
        "validation_data": clouds(1),
        **data,
    }
    recipe = {"name": "clouds", "seed": 3, "stages": stages}
    return gluonzip.compress(net or network(), recipe, threads=1, **given)


@pytest.fixture(scope="module")
def result():
    return compress()


def test_stages_in_order_with_their_sizes(result):
    stages = result.report.stages
    assert [stage.name for stage in stages] == ["dense", "prune", "finetune", "quantize"]
    sizes = [stage.archive_bytes for stage in stages]
    assert sizes[0] > sizes[1] > sizes[3]
    assert result.report.dense_accuracy == stages[0].accuracy > 0.9
    assert result.report.engine_accuracy > 0.9


def test_masks_held_to_the_end(result):
    first, second, last = result.report.layers
    assert first.sparsity >= 0.75
    assert second.sparsity >= 0.5
    assert last.reason == "not pruned: not selected"
    assert {layer.weight_bits for layer in result.report.layers} == {8}


def test_the_saved_archive_is_the_one_reported(result, tmp_path):
    path = tmp_path / "clouds.glz"
    info = result.save(path)
    assert info.bytes == path.stat().st_size == result.report.archive.total
    assert result.report.dense_bytes == 4 * (12 * 32 + 32 + 32 * 16 + 16 + 16 * 3 + 3)
    meta = archive.read(path).meta
    assert meta["recipe"]["stages"][1]["rules"][0]["sparsity"] == 0.75
    assert meta["report"]["dense"]["accuracy"] == result.report.dense_accuracy


def test_the_engine_answers_as_the_simulated_network(result, tmp_path):
    assert result.report.agreement.share == 1.0
    result.save(tmp_path / "clouds.glz")
    engine = gluonzip.Engine.load(tmp_path / "clouds.glz", threads=1)
    x = clouds(1).images
    simulated = result.net(mx.nd.array(x)).asnumpy()
    np.testing.assert_allclose(engine(x), simulated, atol=1e-4)
    right = float((engine(x).argmax(axis=1) == clouds(1).labels).mean())
    assert right == result.report.engine_accuracy


def test_equal_runs_give_equal_bytes(result):
    again = compress()
    first, second = (archive.to_bytes(r.graph, r.meta) for r in (result, again))
    assert first == second


def test_validation_data_decides_nothing(result):
    blind = compress(validation_data=None)
    assert archive.to_bytes(blind.graph) == archive.to_bytes(result.graph)
    report = blind.report
    assert (report.dense_accuracy, report.engine_accuracy, report.agreement) == (None, None, None)
    assert "| - | - |" in report.to_markdown()


def test_a_given_teacher_teaches():
    asked = []

    def teacher(x):
        asked.append(len(x))
        return mx.nd.one_hot(mx.nd.zeros(len(x)), 3) * 20

    stage = {"method": "finetune", "training": {"epochs": 20, "learning_rate": 0.01}}
    result = compress([{**stage, "distill": {"alpha": 1.0}}], teacher=teacher)
    assert sum(asked) == 20 * 200
    x = mx.nd.array(clouds(1).images)
    assert (result.net(x).asnumpy().argmax(axis=1) == 0).mean() > 0.95


def test_gluon_data_loaders_do():
    data = clouds(0)
    dataset = mx.gluon.data.ArrayDataset(data.images, data.labels)
    loader = mx.gluon.data.DataLoader(dataset, batch_size=50)
    result = compress([{"method": "quantize"}], train_data=None, calibration_data=loader)
    assert result.report.agreement.share >= 0.999


# ---------------------------------------------------------------- what is wrong
def test_patterns_are_checked_before_anything_is_trained(monkeypatch):
    monkeypatch.setattr("gluonzip.recipe.methods.base.fit", None)
    stages = [STAGES[0], {"method": "prune", "rules": [{"layers": "fc*", "sparsity": 0.5}]}]
    with pytest.raises(PatternError, match=r"layer pattern 'fc\*' matches nothing"):
        compress(stages)


@pytest.mark.parametrize(
    ("stages", "data", "message"),
    [
        (STAGES[:1], {"train_data": None}, "stage 'train' trains, but no train_data was given"),
        (STAGES, {"calibration_data": None}, "stage 'quantize' needs calibration_data"),
    ],
)
def test_missing_data_is_told_first(monkeypatch, stages, data, message):
    monkeypatch.setattr("gluonzip.recipe.methods.base.fit", None)
    with pytest.raises(ConfigError, match=message):
        compress(stages, **data)


def test_no_data_at_all():
    with pytest.raises(ConfigError, match="give train_data, calibration_data or validation_data"):
        gluonzip.compress(network(), {"stages": [{"method": "quantize"}]})


def test_an_empty_calibration_set_is_told_before_training(monkeypatch):
    monkeypatch.setattr("gluonzip.recipe.methods.base.fit", None)
    with pytest.raises(DataError, match="calibration_data"):
        compress(calibration_data=[])


def test_non_finite_calibration_data():
    bad = clouds(0)
    bad.images[30, 2] = np.nan
    with pytest.raises(DataError, match="batch 1 .* not finite"):
        compress([{"method": "quantize"}], calibration_data=bad)


def test_a_network_without_values():
    net = nn.HybridSequential()
    net.add(nn.Dense(3))
    with pytest.raises(DataError, match=r"not initialized.*net\.initialize\(\)"):
        compress([{"method": "quantize"}], net=net)


def test_a_network_that_cannot_be_traced_is_told_before_training(monkeypatch):
    class Looping(nn.HybridBlock):
        def __init__(self):
            super().__init__()
            self.fc = nn.Dense(3)

        def forward(self, x):
            return self.fc(x) if x.sum().asscalar() > 0 else self.fc(-x)

    monkeypatch.setattr("gluonzip.recipe.methods.base.fit", None)
    net = Looping()
    net.initialize()
    with pytest.raises(TraceError):
        compress([STAGES[0], {"method": "quantize"}], net=net)


def test_the_report_has_the_errors_of_the_layers(result):
    """What runs against the network as it was before the first stage that compresses."""
    found = result.report.diagnosis
    assert found.rows == 25  # the first batch of the validation data
    assert [layer.name for layer in found.in_order()] == ["0", "1", "2"]
    assert found.skipped == {}
    for layer in found.layers:
        assert 0 < layer.introduced.sqnr < 60
        assert (layer.weight.bits, layer.input.bits) == (8, 8)
    assert found["0"].weight.sparsity >= 0.75


def test_nothing_compressed_has_no_errors():
    found = compress([STAGES[0]]).report.diagnosis
    assert all(layer.accumulated.sqnr > 100 for layer in found.layers)


def test_a_diagnosis_that_fails_says_why():
    from gluonzip.graph import Graph, Input, Node
    from gluonzip.pipeline.errors_of_layers import errors_of_layers

    nothing = Graph([Input("x", (0, 3))], ["y"], [Node("relu", "r", ["x"], ["y"])], {})
    found = errors_of_layers(nothing, nothing, np.ones((2, 3), "float32"), 1)
    assert found.layers == ()
    assert "neither network has a layer" in found.skipped["(every layer)"]
    assert "neither network" in found.to_text()
