"""Every criterion, pattern and schedule of the prune method, through compress()."""

import mxnet as mx
import numpy as np
import pytest
from mxnet.gluon import nn

import gluonzip
from gluonzip.errors import ConfigError
from gluonzip.gluon import sparsity
from gluonzip.recipe import Recipe, load, quick
from gluonzip.training import Batches

TRAIN = {"method": "train", "training": {"epochs": 2, "learning_rate": 0.01}}
FIT = {"epochs": 3, "learning_rate": 0.005}


def network():
    mx.random.seed(5)
    net = nn.HybridSequential()
    net.add(nn.Dense(32, activation="relu"), nn.Dense(16, activation="relu"), nn.Dense(3))
    net.initialize(mx.init.Xavier())
    net.hybridize()
    return net


def clouds(seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, 200)
    points = np.repeat(np.eye(3)[labels] * 3, 4, axis=1) + rng.normal(size=(200, 12))
    return Batches(points, labels, 25, shuffle=True, seed=1)


def compress(stage, then=(), **data):
    given = {"train_data": clouds(0), "calibration_data": clouds(0), "validation_data": clouds(1)}
    recipe = {"name": "clouds", "seed": 3, "stages": [TRAIN, {"method": "prune", **stage}, *then]}
    return gluonzip.compress(network(), recipe, threads=1, **{**given, **data})


HALF = [{"layers": ["0", "1"], "sparsity": 0.5}]
STAGES = {
    "taylor, linear": {
        "rules": [{**HALF[0], "criterion": "taylor"}],
        "schedule": {"kind": "linear", "end": 0.5},
        "training": FIT,
    },
    "movement, recomputed": {
        "rules": [{**HALF[0], "criterion": "movement"}],
        "schedule": {"begin": 0.2, "end": 0.7},
        "masks": "recomputed",
        "training": FIT,
    },
    "soft filters": {
        "rules": [{**HALF[0], "criterion": "l2", "pattern": "filters"}],
        "schedule": {"end": 0.6},
        "masks": "soft",
        "training": FIT,
    },
    "lottery ticket": {
        "rules": HALF,
        "schedule": {"kind": "iterative", "rounds": 2, "begin": 0.1, "end": 0.7, "rewind": 0.1},
        "training": FIT,
        "distill": {},
    },
    "snip at once": {"rules": [{**HALF[0], "criterion": "snip", "scope": "global"}]},
    "ramp of epochs": {
        "rules": [{**HALF[0], "criterion": "random"}],
        "ramp": 2,
        "training": FIT,
    },
    "2:4 and 4x1": {
        "rules": [{"layers": "0", "pattern": "2:4"}, {**HALF[0], "layers": "1", "pattern": "4x1"}],
        "schedule": {"kind": "one_shot", "begin": 0.3},
        "training": FIT,
    },
}


@pytest.mark.parametrize("name", STAGES)
def test_stages_prune_and_what_comes_after_keeps_the_zeros(name):
    quantize = {"method": "quantize", "training": {"epochs": 1}}
    result = compress(STAGES[name], then=[quantize])
    found = sparsity(result.net)
    total = (found["0"] * 12 * 32 + found["1"] * 32 * 16) / (12 * 32 + 32 * 16)
    assert total >= 0.5 - 1e-6
    layers = result.report.layers
    assert [layer.weight_bits for layer in layers] == [8, 8, 8]
    assert layers[0].sparsity == pytest.approx(found["0"], abs=1e-3)
    assert "not pruned: not selected" in layers[2].reason
    assert result.report.engine_accuracy > 0.8


def test_a_schedule_counts_the_steps_of_its_training():
    stage = load({"stages": [{"method": "prune", **STAGES["taylor, linear"]}]}).stages[0]
    schedule, every = stage.schedule.schedule(200, 0.5)
    assert every == 5
    assert [schedule(t) for t in (0, 50, 100, 200)] == [0, 0.5, 1, 1]
    assert quick(Recipe(stages=(stage,))).stages[0].schedule == stage.schedule


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rules": [{"criterion": "tailor", "sparsity": 0.5}]}, "criterion 'tailor' is unknown"),
        ({"rules": [{"sparsity": 1.0}]}, "sparsity: 1.0: input should be less than 1"),
        ({"schedule": {"end": 0.5}, "training": None}, "schedule needs training"),
        ({"schedule": {"end": 0.5}, "ramp": 1}, "give ramp .epochs. or schedule, not both"),
        ({"masks": "soft"}, "masks: soft needs a schedule"),
        ({"rules": [{**HALF[0], "criterion": "movement"}]}, "criterion movement needs a schedule"),
        ({"schedule": {"begin": 0.6}}, "end = 0.5 does not lie behind begin = 0.6"),
        ({"schedule": {"rewind": 0.2}}, "rewind = 0.2 lies behind begin = 0.0"),
        ({"schedule": {"kind": "cosine"}}, "should be 'one_shot', 'linear', 'polynomial'"),
    ],
)
def test_what_does_not_fit_is_told_at_once(change, message):
    stage = {"method": "prune", "rules": HALF, "training": FIT, **change}
    with pytest.raises(ConfigError, match=message):
        load({"stages": [stage]})


def test_a_gradient_criterion_needs_training_data():
    with pytest.raises(ConfigError, match="criterion 'snip' needs gradients, but no train_data"):
        gluonzip.compress(
            network(),
            {"stages": [{"method": "prune", **STAGES["snip at once"]}]},
            validation_data=clouds(1),
            calibration_data=clouds(0),
        )
