"""Settings by layer pattern, and every observer on wrapped layers."""

import functools

import mxnet as mx
import numpy as np
import pytest
from mxnet.gluon import nn

from gluonzip.errors import ConfigError, PatternError
from gluonzip.gluon import calibrate, quantize, trace
from gluonzip.passes.quantize import OBSERVERS, Statistics, observe
from gluonzip.passes.quantize.observers import percentile
from gluonzip.spec import ActivationQuantization, PerChannel, WeightQuantization

rng = np.random.default_rng(12)
X = rng.standard_normal((40, 6)).astype("float32") ** 3  # heavy tails: observers differ


def network():
    mx.random.seed(4)
    net = nn.HybridSequential(prefix="")
    net.add(nn.Dense(8, activation="relu"), nn.Dense(8, activation="relu"), nn.Dense(3))
    net.initialize(mx.init.Xavier())
    net(mx.nd.array(X))
    return net


def expected(x, what, bits=8):
    statistics = Statistics("x", histogram=True)
    for index in range(0, len(x), 10):
        statistics.feed(x[index : index + 10], index)
    return observe(what, statistics, bits)


def batches():
    return [X[i : i + 10] for i in range(0, len(X), 10)]


@pytest.mark.parametrize("what", [*OBSERVERS, functools.partial(percentile, share=97.0)])
def test_every_observer_finds_the_range_of_a_layer(what):
    net = network()
    quantize(net, weights=None, activations=ActivationQuantization(observer=what))
    ranges = calibrate(net, batches())
    hidden = net[0](mx.nd.array(X)).asnumpy()  # its input quantized by now: nearly the same
    assert ranges["0"] == pytest.approx(expected(X, what))
    assert net[0].input_scale.data().asscalar() == pytest.approx(ranges["0"] / 127, rel=1e-6)
    if what == "minmax":
        assert ranges["1"] == pytest.approx(np.abs(hidden).max(), rel=0.02)


def test_observers_differ():
    net = network()
    quantize(net, weights=None)
    found = {what: calibrate(net, batches(), what)["0"] for what in OBSERVERS}
    assert len({found[what] for what in ("minmax", "moving_average", "kl")}) == 3
    assert net[0]._activation_quantization.observer == list(OBSERVERS)[-1]


def test_observers_by_layer():
    net = network()
    first = ActivationQuantization(observer="percentile")
    settings = {"*": ActivationQuantization(), "0": first, "2": None}
    records = quantize(net, activations=settings, data=batches())
    assert net[0].input_scale.data().asscalar() * 127 == pytest.approx(expected(X, "percentile"))
    assert net[1]._activation_quantization.observer == "minmax"
    assert net[2]._activation_quantization is None
    assert records["2"].facts["activation_bits"] == 32
    ranges = calibrate(net, batches(), {"0": "mse"})
    assert ranges["0"] == pytest.approx(expected(X, "mse"))
    assert net[1]._activation_quantization.observer == "minmax"


def test_weights_by_layer():
    net = network()
    settings = {nn.Dense: WeightQuantization(8), "1": WeightQuantization(3, PerChannel())}
    quantize(net, weights=settings, activations=None)
    graph = trace(net, (1, 6))
    bits = {n.name: n.attrs["bits"] for n in graph.nodes if n.op == "fake_quantize"}
    assert sorted(bits.values()) == [3, 8, 8]
    assert bits["1.weight.quantized"] == 3


def test_layers_that_no_pattern_gives_anything_stay_as_they_are():
    net = network()
    records = quantize(net, weights={"0": WeightQuantization()}, activations=None)
    assert records["0"].compressed
    assert records["1"].reason == "no pattern gives it anything"
    assert type(net[1]) is nn.Dense


def test_patterns_that_match_nothing_and_settings_that_are_none():
    net = network()
    with pytest.raises(PatternError, match="layer pattern 'conv' matches nothing"):
        quantize(net, activations={"conv": ActivationQuantization()})
    with pytest.raises(ConfigError, match="weights = 8 is not a WeightQuantization"):
        quantize(net, weights={"0": 8})
    with pytest.raises(ConfigError, match="both are None"):
        quantize(net, weights={"0": None}, activations=None)
    assert type(net[0]) is nn.Dense
    quantize(net, weights=None)
    with pytest.raises(ConfigError, match="observer 'luck' is unknown"):
        calibrate(net, batches(), "luck")
    with pytest.raises(PatternError, match="matches nothing"):
        calibrate(net, batches(), {"conv": "mse"})
