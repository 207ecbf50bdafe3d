"""Stages that train a quantized network: learned scales, batch norms that freeze, fewer bits."""

import mxnet as mx
import numpy as np
import pytest
from mxnet.gluon import nn

import gluonzip
from gluonzip.errors import ConfigError
from gluonzip.gluon.extension import operators
from gluonzip.recipe import load


def network():
    mx.random.seed(3)
    net = nn.HybridSequential()
    net.add(nn.Conv2D(4, 3, in_channels=1), nn.BatchNorm(), nn.Activation("relu"), nn.Dense(4))
    net.initialize(mx.init.Xavier())
    net(mx.nd.zeros((2, 1, 8, 8)))
    return net


def data():
    rng = np.random.default_rng(1)
    return [(mx.nd.array(rng.standard_normal((16, 1, 8, 8))), mx.nd.array(np.arange(16) % 4))] * 2


STAGE = {
    "method": "quantize",
    "weights": {"granularity": "per_channel", "scale": "learned"},
    "activations": {"observer": "mse", "scale": "learned"},
    "training": {"epochs": 4, "learning_rate": 0.01},
    "freeze_batch_norm": 2,
    "lower_bits": {1: 6, 3: 4},
}


def run(stage):
    net = network()
    result = gluonzip.compress(
        net, {"stages": [stage]}, train_data=data(), calibration_data=data(),
        validation_data=data(), threads=1,
    )  # fmt: skip
    return net, result


@pytest.mark.parametrize("extension", [False, True])
def test_a_stage_with_all_of_it(extension):
    try:
        net, result = run({**STAGE, "extension": extension})
        assert operators.loaded() is extension
    finally:
        operators._loaded = False
    assert net[1]._kwargs["use_global_stats"]
    assert net[0]._weight_quantization.bits == 4
    assert net[0].weight_scale_growth.data().asnumpy().any()
    assert net[0].input_scale_growth.data().asnumpy().any()  # not calibrated away at the end
    x = data()[0][0]
    got = gluonzip.runtime.Engine.from_graph(result.graph)(x.asnumpy())
    expected = net(x).asnumpy()
    assert np.abs(got - expected).max() < 0.05 * np.abs(expected).max()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"training": None}, "freeze_batch_norm needs training"),
        ({"training": None, "freeze_batch_norm": None}, "lower_bits needs training"),
        ({"lower_bits": {1: 9}}, "lower_bits"),
        ({"weights": {"scheme": "ternary"}}, "ternary weights have no bits to lower"),
        ({"weights": {"scale": "guessed"}}, "learned"),
    ],
)
def test_stages_that_make_no_sense(change, message):
    with pytest.raises(ConfigError, match=message):
        load({"stages": [{**STAGE, **change}]})


def test_learned_scales_and_pruning_in_one_loop_are_refused():
    stage = {
        "method": "distill",
        "training": {"epochs": 1},
        "quantize": {"weights": {"scale": "learned"}},
    }
    with pytest.raises(ConfigError, match="learned scales train from the first step on"):
        load({"stages": [stage]})


def test_dynamic_inputs_in_one_loop_need_no_calibration():
    stage = {
        "method": "distill",
        "training": {"epochs": 1},
        "quantize": {"activations": {"mode": "dynamic"}},
    }
    net = network()
    gluonzip.compress(
        net, {"stages": [stage]}, train_data=data(), validation_data=data(), threads=1
    )
    assert net[0]._activation_quantization.mode == "dynamic"
