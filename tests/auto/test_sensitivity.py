"""sensitivity(): every point against the whole network run anew, by MXNet; resuming; bad input."""

import json
import math
import sys

import mxnet as mx
import numpy as np
import pytest
from mxnet.gluon import nn

from gluonzip import archive
from gluonzip.auto import sensitivity
from gluonzip.errors import ConfigError, DataError, PatternError, ShapeError, UnsupportedError
from gluonzip.gluon import clone, prune, quantize, trace
from gluonzip.graph import Constant, Graph, Input, Node
from gluonzip.passes import optimize
from gluonzip.spec import NM, Block, PerChannel, WeightQuantization

RNG = np.random.default_rng(1)
X = RNG.normal(size=(60, 4, 8, 8)).astype("float32")
NAMES = ["0", "1.left", "1.right", "3", "4"]


class Branches(nn.HybridBlock):
    """Two convolutions of one input, joined: what lies behind the first is not all that waits."""

    def __init__(self):
        super().__init__()
        self.left = nn.Conv2D(8, 3, padding=1)
        self.right = nn.Conv2DTranspose(4, 1, in_channels=8)

    def hybrid_forward(self, F, x):
        return F.concat(F.relu(self.left(x)), self.right(x), dim=1)


@pytest.fixture(scope="module")
def net():
    mx.random.seed(4)
    net = nn.HybridSequential()
    net.add(nn.Conv2D(8, 3, padding=1, use_bias=False), Branches(), nn.BatchNorm())
    net.add(nn.Conv2D(6, 3, strides=2, activation="relu"), nn.Dense(5))
    net.initialize(mx.init.Xavier())
    with mx.autograd.record():
        net(mx.nd.array(X))
    return net


@pytest.fixture(scope="module")
def labels(net):
    answers = net(mx.nd.array(X)).asnumpy().argmax(axis=1)
    answers[::6] = 0  # the network is not always right
    return answers


def sqnr(d, c):
    d, c = d.astype("float64"), c.astype("float64")
    return 10 * math.log10((d**2).sum() / ((d - c) ** 2).sum())


def compare(found, net, labels, compress):
    """Each point of ``found`` with a copy of the network that ``compress(copy, name, level)`` has
    changed, run from end to end."""
    dense = net(mx.nd.array(X)).asnumpy()
    assert found.score == pytest.approx((dense.argmax(axis=1) == labels).mean())
    assert [layer.name for layer in found.layers] == NAMES
    for layer in found.layers:
        assert [p.level for p in layer.points] == list(found.levels)
        for point in layer.points:
            changed = clone(net)
            compress(changed, layer.name, point.level)
            outputs = changed(mx.nd.array(X)).asnumpy()
            assert point.sqnr == pytest.approx(sqnr(dense, outputs), abs=0.01)
            assert point.score == pytest.approx((outputs.argmax(axis=1) == labels).mean())
            assert point.rows == 60


@pytest.mark.parametrize("pattern", [None, Block(4, 1), "channels"])
def test_sparsity_is_what_prune_does(net, labels, pattern):
    found = sensitivity(net, (X, labels), levels=(0.9, 0.5, 0.7), pattern=pattern)
    assert found.levels == (0.5, 0.7, 0.9)

    def compress(net, name, level):
        prune(net, sparsity=level, layers=name, pattern=pattern)

    compare(found, net, labels, compress)


@pytest.mark.parametrize("granularity", ["per_tensor", "per_channel"])
def test_bits_are_what_quantize_does(net, labels, granularity):
    found = sensitivity(net, (X, labels), method="bits", levels=(2, 4, 8), granularity=granularity)
    assert found.levels == (8, 4, 2)
    value = {"granularity": PerChannel()} if granularity == "per_channel" else {}

    def compress(net, name, level):
        weights = WeightQuantization(bits=level, **value)
        quantize(net, weights=weights, activations=None, layers=name)

    compare(found, net, labels, compress)


def test_a_method_of_ones_own(net, labels):
    def shrink(weight, level):
        return weight * (1 - level)

    found = sensitivity(net, (X, labels), method=shrink, levels=(0.1, 1.0), layers="4")
    (layer,) = found.layers
    biased = net[4].bias.data().asnumpy()
    dense = net(mx.nd.array(X)).asnumpy()
    expected = sqnr(dense, (dense - biased) * 0.9 + biased)
    assert layer.points[0].sqnr == pytest.approx(expected, abs=0.01)
    assert layer.points[1].score == pytest.approx((labels == biased.argmax()).mean())
    assert found.method == "shrink"


def test_what_does_not_change_is_not_computed_again(net):
    """The multiply-accumulates of each layer, by hand: a point costs its layer and what follows."""
    costs = {"0": 36 * 8 * 64, "1.left": 72 * 8 * 64, "1.right": 8 * 4 * 64}
    costs |= {"3": 12 * 9 * 6 * 9, "4": 54 * 5}
    whole = sum(costs.values())
    found = sensitivity(net, X, levels=(0.5, 0.9))
    order = [layer.name for layer in found.layers]
    behind = sum(sum(costs[n] for n in order[at:]) for at in range(len(order)))
    assert found.macs == (60 * 2 * behind, 60 * 2 * whole * len(order))
    assert found.macs[1] / found.macs[0] > 1.8


def test_chunks_and_batches_change_nothing(net, labels, monkeypatch):
    whole = sensitivity(net, (X, labels), levels=(0.7,))
    module = sys.modules["gluonzip.auto.sensitivity"]
    monkeypatch.setattr(module, "MEMORY", 60_000)  # 19 rows
    batches = [(mx.nd.array(X[:7]), mx.nd.array(labels[:7])), (X[7:].astype("float64"), labels[7:])]
    again = sensitivity(net, batches, levels=(0.7,))
    for name in NAMES:
        first, second = whole[name].points[0], again[name].points[0]
        assert second.sqnr == pytest.approx(first.sqnr, abs=1e-3)
        assert (second.score, second.rows) == (pytest.approx(first.score), 60)
    assert sensitivity(net, (X, labels), levels=(0.7,), samples=11).rows == 11


def test_graphs_archives_and_integers(net, labels, tmp_path):
    graph = optimize(trace(net, X.shape))
    archive.write(tmp_path / "net.glz", graph)
    first = sensitivity(graph, (X, labels), method="bits", levels=(4,))
    second = sensitivity(tmp_path / "net.glz", (X, labels), method="bits", levels=(4,))
    assert first.to_dict() == second.to_dict()
    small = clone(net)
    quantize(small, data=X)
    outputs = small(mx.nd.array(X)).asnumpy()
    answers = outputs.argmax(axis=1)
    found = sensitivity(optimize(trace(small, X.shape)), (X, answers), method="bits", levels=(32,))
    assert found.score == 1.0  # integers are simulated
    assert all(layer.points[0].sqnr > 40 for layer in found.layers)


def test_evaluate_and_its_average(net, labels, monkeypatch):
    seen = []

    def margin(outputs, answers):
        seen.append(len(outputs))
        ordered = np.sort(outputs, axis=1)
        return ordered[:, -1] - ordered[:, -2]  # a number a sample

    monkeypatch.setattr(sys.modules["gluonzip.auto.sensitivity"], "MEMORY", 60_000)
    found = sensitivity(net, (X, labels), levels=(0.5,), layers="4", evaluate=margin)
    dense = np.sort(net(mx.nd.array(X)).asnumpy(), axis=1)
    assert found.score == pytest.approx((dense[:, -1] - dense[:, -2]).mean(), rel=1e-5)
    assert len(seen) > 2


# ---------------------------------------------------------------- interruption
class Interrupting:
    """Accuracy that is interrupted at its n-th call."""

    def __init__(self, at):
        self.at, self.calls = at, 0
        self.__name__ = "accuracy"

    def __call__(self, outputs, labels):
        self.calls += 1
        if self.calls == self.at:
            raise KeyboardInterrupt
        return (outputs.argmax(axis=1) == labels).mean()


@pytest.mark.parametrize("memory", [2**28, 60_000])
def test_goes_on_where_it_was_interrupted(net, labels, tmp_path, monkeypatch, memory):
    monkeypatch.setattr(sys.modules["gluonzip.auto.sensitivity"], "MEMORY", memory)
    path = tmp_path / "run.json"

    def run(evaluate, checkpoint=path):
        settings = {"levels": (0.5, 0.8), "evaluate": evaluate, "checkpoint": checkpoint}
        return sensitivity(net, (X, labels), **settings)

    endless = Interrupting(-1)
    expected = run(endless, None)
    first = Interrupting(6)
    partial = run(first)
    assert not partial.complete
    assert partial["0"].points == expected["0"].points or memory < 2**28
    assert partial["4"].points == ()
    assert "interrupted" in partial.to_text()
    second = Interrupting(-1)
    resumed = run(second)
    assert resumed.complete
    assert resumed.layers == expected.layers
    assert resumed.score == expected.score
    assert second.calls < endless.calls
    third = Interrupting(-1)
    assert run(third).layers == expected.layers
    json.loads(path.read_text())
    assert [p.name for p in tmp_path.iterdir()] == ["run.json"]


def test_a_checkpoint_of_something_else(net, labels, tmp_path):
    path = tmp_path / "run.json"
    sensitivity(net, (X, labels), levels=(0.5,), layers="4", checkpoint=path)
    with pytest.raises(
        ConfigError, match=r"run.json' is of another network, other layers or other"
    ):
        sensitivity(net, (X, labels), levels=(0.6,), layers="4", checkpoint=path)
    with pytest.raises(ConfigError, match="was begun with other data"):
        sensitivity(net, (X + 1, labels), levels=(0.5,), layers="4", checkpoint=path)
    path.write_text("{}")
    with pytest.raises(ConfigError, match="cannot be used .KeyError.*delete it to start anew"):
        sensitivity(net, (X, labels), levels=(0.5,), layers="4", checkpoint=path)
    with pytest.raises(ConfigError, match="cannot be written"):
        sensitivity(net, X, levels=(0.5,), layers="4", checkpoint=tmp_path / "none" / "run.json")


# ---------------------------------------------------------------- bad input
@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"method": "size"}, ConfigError, r"method 'size' is unknown; use one of \['bits'"),
        ({"levels": (1.0,)}, ConfigError, r"level 1.0 is not a sparsity: it must lie in \[0, 1\)"),
        ({"levels": (-0.1,)}, ConfigError, "level -0.1"),
        ({"levels": ()}, ConfigError, "at least one"),
        ({"levels": (0.5, 0.5)}, ConfigError, "must be different"),
        ({"method": "bits", "levels": (1,)}, ConfigError, "bits = 1 is not supported"),
        ({"method": "bits", "levels": (4.5,)}, ConfigError, "bits = 4.5 is not supported"),
        ({"method": abs}, ConfigError, "a method of your own needs levels"),
        ({"pattern": NM(2, 4)}, ConfigError, "sets the sparsity itself"),
        ({"layers": "conv*"}, PatternError, "'conv.' matches nothing; layers: 0, 1.left"),
        ({"samples": 0}, ConfigError, "samples = 0"),
        ({"evaluate": 3}, ConfigError, "evaluate = 3 is not a function"),
        ({"evaluate": lambda o, y: np.nan}, DataError, "the score of the unchanged network is nan"),
        ({"granularity": "per_row"}, ConfigError, "granularity 'per_row' is unknown"),
        ({"method": lambda w, s: w[:1], "levels": (1,)}, ShapeError, "the weight .8, 4, 3, 3. bec"),
        ({"method": lambda w, s: w / 0, "levels": (1,)}, DataError, "values that are not finite"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*divide|.*invalid")
def test_unusable_arguments(net, labels, arguments, error, message):
    with pytest.raises(error, match=message):
        sensitivity(net, (X, labels), **arguments)


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        ([], DataError, "no batches"),
        (np.full_like(X, np.inf), DataError, "not finite"),
        (X[:, :3], ShapeError, "given input shapes|does not accept"),
        ([X[:2], X[:2, :, :7]], ShapeError, "samples of different shapes"),
        ([X[:2], (X[:2], np.zeros(2))], DataError, "some batches of the data have labels"),
        ([(X[:2], np.zeros(3))], DataError, "2 samples, 3 labels"),
    ],
)
def test_unusable_data(net, data, error, message):
    with pytest.raises(error, match=message):
        sensitivity(net, data)


def test_labels_that_are_no_classes_say_so(net):
    found = sensitivity(net, (X, np.zeros((60, 2))), levels=(0.5,), layers="4")
    assert found.score is None
    assert "give evaluate=" in found.to_text()
    with pytest.raises(DataError, match="evaluate needs labels"):
        sensitivity(net, X, levels=(0.5,), evaluate=lambda o, y: 1.0)


def test_operators_that_nobody_has_are_named():
    nodes = [
        Node("dense", "fc", ["x", "w"], ["y"]),
        Node("opaque", "odd", ["y"], ["z"], {"operator": "box_nms", "attrs": {}}),
    ]
    graph = Graph([Input("x", (0, 3))], ["z"], nodes, {"w": Constant(np.eye(3, dtype="float32"))})
    with pytest.raises(UnsupportedError, match="'odd'.*'box_nms'"):
        sensitivity(graph, np.ones((2, 3), "float32"))
    nodes.pop(0)
    nodes[0].inputs = ["x"]
    graph = Graph([Input("x", (0, 3))], ["z"], nodes, {})
    with pytest.raises(ConfigError, match="no layer has a constant weight"):
        sensitivity(graph, np.ones((2, 3), "float32"))


# ---------------------------------------------------------------- results
def test_within(net, labels):
    found = sensitivity(net, (X, labels), levels=(0.3, 0.6, 0.9, 0.97))
    for drop in (0.0, 0.05, 1.0):
        chosen = found.within(drop=drop)
        for layer in found.layers:
            borne = [p.level for p in layer.points if found.score - p.score <= drop + 1e-9]
            mild = [a for a, p in zip(borne, layer.points) if a == p.level]  # noqa: B905
            assert chosen.get(layer.name) == (mild[-1] if mild else None)
    assert set(found.within(drop=1.0).values()) == {0.97}
    assert found.within(sqnr=1000) == {}
    with pytest.raises(ConfigError, match="exactly one"):
        found.within()
    with pytest.raises(ConfigError, match="no score was measured"):
        sensitivity(net, X, levels=(0.5,), layers="4").within(drop=0.1)


def test_every_form_holds_the_facts(net, labels, tmp_path):
    from matplotlib.image import imread

    found = sensitivity(net, (X, labels), levels=(0.5, 0.9))
    for text in (found.to_text(), found.to_markdown(), str(found)):
        for layer in found.layers:
            assert f"{layer.points[1].sqnr:.1f}" in text
            assert f"{100 * layer.points[1].score:.2f} %" in text
    facts = json.loads(found.to_json())
    assert facts["layers"][0]["points"][0]["level"] == 0.5
    for name, data in (("scores", (X, labels)), ("errors", X)):
        picture = sensitivity(net, data, levels=(0.5, 0.9)).plot(tmp_path / f"{name}.png")
        assert imread(picture)[..., :3].std() > 0.02
