"""Unsigned codes of layer inputs in a Gluon network: chosen, kept, exported, switched off."""

from __future__ import annotations

import mxnet as mx
import numpy as np
import pytest
from mxnet.gluon import nn

from gluonzip.gluon import calibrate, layers, prune, quantize, set_bits, trace
from gluonzip.graph import infer_types, interpret
from gluonzip.passes import optimize
from gluonzip.runtime import Engine, isas
from gluonzip.spec import ActivationQuantization, PerChannel, WeightQuantization

X = np.random.default_rng(0).standard_normal((12, 3, 8, 8)).astype(np.float32)


class Residual(nn.HybridBlock):
    """A sum of a tensor of either sign and one that is never negative."""

    def __init__(self):
        super().__init__()
        with self.name_scope():
            self.first = nn.Conv2D(8, 3, padding=1, activation="relu", in_channels=3)
            self.second = nn.Conv2D(8, 3, padding=1, in_channels=8)
            self.third = nn.Conv2D(8, 1, in_channels=8)
            self.slope = nn.LeakyReLU(0.1)
            self.pool = nn.AvgPool2D(2, 2)
            self.last = nn.Dense(5, in_units=16 * 16)

    def hybrid_forward(self, F, x):
        x = self.first(x)
        both = F.concat(self.pool(x), self.pool(self.slope(self.third(x + self.second(x)))), dim=1)
        return self.last(both)


def network(seed: int = 3, **options) -> Residual:
    mx.random.seed(seed)
    net = Residual()
    net.initialize(mx.init.Xavier(magnitude=3))
    net(mx.nd.array(X))
    what = WeightQuantization(8, PerChannel())
    return quantized(net, weights=what, **options)


def quantized(net, activations=None, data=X, **options):
    quantize(net, activations=activations or ActivationQuantization(), data=data, **options)
    return net


def signs(net) -> dict[str, bool]:
    return {name: layer.block.unsigned_input for name, layer in layers(net).items()}


UNSIGNED = {"first": False, "second": True, "third": False, "last": False}


def test_inputs_behind_a_relu_are_unsigned():
    net = network()
    assert signs(net) == UNSIGNED
    assert "unsigned 8-bit input" in repr(net.second)
    assert "unsigned" not in repr(net.first)


def test_signed_switches_it_off_by_layer():
    off = ActivationQuantization(signed=True)
    assert not any(signs(network(activations=off)).values())
    some = network(activations={"*": ActivationQuantization(), "first": off, "second": off})
    assert not any(signs(some).values())


@pytest.mark.parametrize("isa", isas())
@pytest.mark.parametrize("scale", ["observed", "learned"])
def test_simulation_interpreter_and_engine(scale, isa):
    net = network(activations=ActivationQuantization(scale=scale))
    integers = optimize(trace(net, (1, 3, 8, 8)))
    types = {t.dtype for t in infer_types(integers).values()}
    assert types >= {"int8", "uint8"}
    fresh = np.random.default_rng(5).standard_normal(X.shape).astype(np.float32)
    want = interpret(integers, fresh)[0]
    np.testing.assert_array_equal(Engine.from_graph(integers, isa=isa)(fresh), want)
    simulated = net(mx.nd.array(fresh)).asnumpy()
    assert np.abs(simulated - want).max() <= 0.02 * np.abs(want).max()


def test_parameters_are_saved_and_loaded(tmp_path):
    net = network()
    want = net(mx.nd.array(X)).asnumpy()
    net.save_parameters(str(tmp_path / "n.params"))
    other = Residual()
    other.initialize()
    quantized(other, data=None, weights=WeightQuantization(8, PerChannel()))
    other.hybridize()
    other.load_parameters(str(tmp_path / "n.params"))
    assert signs(other) == UNSIGNED
    np.testing.assert_array_equal(other(mx.nd.array(X)).asnumpy(), want)


def test_parameter_files_from_before_unsigned_codes_are_signed(tmp_path):
    """Their scales are positive: they go on meaning what they meant."""
    net = network(activations=ActivationQuantization(signed=True))
    want = net(mx.nd.array(X)).asnumpy()
    net.save_parameters(str(tmp_path / "n.params"))
    stored = mx.nd.load(str(tmp_path / "n.params"))
    assert all(float(v.asscalar()) > 0 for k, v in stored.items() if k.endswith("input_scale"))
    other = network(seed=8)
    other.load_parameters(str(tmp_path / "n.params"))
    assert not any(signs(other).values())
    np.testing.assert_array_equal(other(mx.nd.array(X)).asnumpy(), want)


@pytest.mark.parametrize("scale", ["observed", "learned"])
def test_hybridized_exported_and_imported(scale, tmp_path):
    net = network(activations=ActivationQuantization(scale=scale))
    want = net(mx.nd.array(X)).asnumpy()
    net.hybridize()
    np.testing.assert_array_equal(net(mx.nd.array(X)).asnumpy(), want)
    net.export(str(tmp_path / "n"))
    files = (str(tmp_path / "n-symbol.json"), ["data"], str(tmp_path / "n-0000.params"))
    block = nn.SymbolBlock.imports(*files)
    np.testing.assert_array_equal(block(mx.nd.array(X)).asnumpy(), want)
    mine, theirs = (interpret(trace(n, (1, 3, 8, 8)), X)[0] for n in (net, block))
    np.testing.assert_array_equal(mine, theirs)


def test_calibrating_again_changes_the_sign_of_a_hybridized_network():
    net = nn.HybridSequential()
    net.add(nn.Dense(4, in_units=6))
    net.initialize(mx.init.Xavier())
    x = np.abs(np.random.default_rng(0).standard_normal((9, 6))).astype(np.float32)
    quantized(net, data=x)
    net.hybridize()
    net(mx.nd.array(x))
    assert net[0].unsigned_input
    calibrate(net, -x)
    assert not net[0].unsigned_input
    got = net(mx.nd.array(-x)).asnumpy()
    net.hybridize(False)
    np.testing.assert_array_equal(got, net(mx.nd.array(-x)).asnumpy())
    assert np.abs(got).max() > 0


def test_fewer_bits_keep_range_and_sign():
    net = network()
    before = net.second.input_scale.data().asscalar()
    set_bits(net, activations=4)
    assert net.second.input_scale.data().asscalar() == pytest.approx(before * 255 / 15)
    assert net.second.unsigned_input
    values = trace(net, (1, 3, 8, 8))
    (quantizer,) = (n for n in values.nodes if n.name == "second.input")
    assert quantizer.attrs == {"bits": 4, "axis": 0, "unsigned": True}


@pytest.mark.parametrize("scale", ["observed", "learned"])
def test_training_goes_on(scale):
    net = network(activations=ActivationQuantization(scale=scale))
    prune(net, sparsity=0.3)
    trainer = mx.gluon.Trainer(net.collect_params(), "adam", {"learning_rate": 1e-3})
    x, wanted = mx.nd.array(X), mx.nd.zeros((len(X), 5))
    loss_of, losses = mx.gluon.loss.L2Loss(), []
    for _ in range(5):
        with mx.autograd.record():
            loss = loss_of(net(x), wanted)
        loss.backward()
        trainer.step(len(X))
        losses.append(float(loss.mean().asscalar()))
    assert losses[-1] < losses[0]
    assert signs(net) == UNSIGNED
