"""Schemes of weights and dynamic inputs in training: formulas, gradients, and what runs."""

import mxnet as mx
import numpy as np
import pytest
from mxnet.gluon import nn

from gluonzip.errors import ConfigError
from gluonzip.gluon import GraphBlock, prune, quantize, strip, trace
from gluonzip.graph import interpret
from gluonzip.passes import optimize
from gluonzip.passes.quantize.schemes import quantized_codes
from gluonzip.runtime import Engine
from gluonzip.spec import (
    DYNAMIC,
    WEIGHT_ONLY,
    Binary,
    PerChannel,
    PerGroup,
    PerTensor,
    Ternary,
    WeightQuantization,
    WeightSharing,
)

SCHEMES = {
    "group, 8 bits": WeightQuantization(8, PerGroup(9)),
    "group, 3 bits": WeightQuantization(3, PerGroup(3)),
    "ternary": Ternary(),
    "ternary, channel": Ternary(PerChannel()),
    "ternary, group": Ternary(PerGroup(9)),
    "binary": Binary(),
    "binary, tensor": Binary(PerTensor()),
    "binary, group": Binary(PerGroup(9)),
}
each_scheme = pytest.mark.parametrize("what", SCHEMES.values(), ids=SCHEMES)


@pytest.fixture(autouse=True)
def seeded():
    mx.random.seed(4)
    np.random.seed(4)


def network():
    """Convolutions of several kinds whose weights all have a multiple of 9 inputs."""
    net = nn.HybridSequential()
    net.add(
        nn.Conv2D(6, 3, 2, 1, use_bias=False, in_channels=1),
        nn.BatchNorm(in_channels=6),
        nn.Activation("relu"),
        nn.Conv2D(6, 3, 1, 1, groups=6, in_channels=6),
        nn.Conv2DTranspose(4, 3, 2, 1, 1, in_channels=6),
        nn.MaxPool2D(2, 2),
        nn.Dense(18, activation="relu", in_units=4 * 9),
        nn.Dense(5, in_units=18),
    )
    net.initialize(mx.init.Xavier(magnitude=4))
    x = np.random.default_rng(1).standard_normal((40, 1, 6, 6)).astype("float32")
    with mx.autograd.record():  # gives the batch norm statistics
        net(mx.nd.array(x))
    return net, x


def one_layer(weight, **kwargs):
    layer = nn.Dense(weight.shape[0], use_bias=False, in_units=weight.shape[1], **kwargs)
    layer.initialize()
    layer.weight.set_data(mx.nd.array(weight))
    return layer


@each_scheme
def test_weights_are_those_of_the_formulas(what):
    """The same as :mod:`gluonzip.passes.quantize.schemes`, which is tested against formulas."""
    weight = np.random.default_rng(3).standard_normal((7, 18)).astype("float32")
    layer = one_layer(weight)
    quantize(layer, weights=what, activations=None)
    codes, scale = quantized_codes(weight, what, None if what.granularity == PerTensor() else 0, "")
    spread = scale if scale.ndim < 2 else np.repeat(scale, 18 // scale.shape[1], axis=1)
    wanted = codes * (spread[:, None] if spread.ndim == 1 else spread)
    np.testing.assert_allclose(layer.effective_weight().asnumpy(), wanted, rtol=1e-5)


@pytest.mark.parametrize("hybrid", [False, True])
@each_scheme
def test_gradients_pass_straight_through(what, hybrid):
    rng = np.random.default_rng(6)
    layer = one_layer(rng.standard_normal((7, 18)).astype("float32"))
    quantize(layer, weights=what, activations=None)
    layer.hybridize(hybrid)
    x, upstream = rng.standard_normal((5, 18)), rng.standard_normal((5, 7))
    with mx.autograd.record():
        loss = (layer(mx.nd.array(x)) * mx.nd.array(upstream)).sum()
    loss.backward()
    np.testing.assert_allclose(layer.weight.grad().asnumpy(), upstream.T @ x, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("activations", [WEIGHT_ONLY, DYNAMIC], ids=["weight-only", "dynamic"])
@each_scheme
def test_what_is_simulated_is_what_runs(what, activations):
    net, x = network()
    quantize(net, weights=what, activations=activations)
    simulated = net(mx.nd.array(x)).asnumpy()
    graph = optimize(trace(net, (1, 1, 6, 6)))
    assert all(
        graph.constants[n.inputs[1]].bits == what.bits
        for n in graph.nodes
        if n.op in ("conv2d", "conv_transpose2d", "dense")
    )
    (interpreted,) = interpret(graph, x)
    deployed = Engine.from_graph(graph)(x)
    size = np.abs(simulated).max()
    # A float32 sum that lies at a code's border may round to the code next to it.
    atol = 2e-5 * size if activations is WEIGHT_ONLY else 0.03 * size
    np.testing.assert_allclose(deployed, interpreted, rtol=0, atol=atol)
    np.testing.assert_allclose(interpreted, simulated, rtol=0, atol=atol)


@pytest.mark.parametrize("granularity", [PerTensor(), PerChannel()])
def test_dynamic_layers_multiply_integers(granularity):
    net, x = network()
    quantize(net, weights=WeightQuantization(8, granularity), activations=DYNAMIC)
    graph = optimize(trace(net, (1, 1, 6, 6)))
    layers = [n for n in graph.nodes if n.op in ("conv2d", "dense")]
    assert [n.attrs["dynamic"] for n in layers] == [True] * 4
    simulated = net(mx.nd.array(x)).asnumpy()
    deployed = Engine.from_graph(graph)(x)
    np.testing.assert_allclose(deployed, simulated, rtol=0, atol=0.03 * np.abs(simulated).max())


def test_dynamic_inputs_need_no_calibration_and_follow_the_batch():
    net, x = network()
    quantize(net, activations=DYNAMIC, data=None)
    small = net(mx.nd.array(x * 1e-3)).asnumpy()
    assert np.unique(small.argmax(1)).size > 1  # static scales would have made zeros of all
    assert "dynamic 8-bit input" in repr(net[0])


@each_scheme
def test_rebuilt_and_stripped_networks_compute_the_same(what):
    net, x = network()
    quantize(net, weights=what, activations=DYNAMIC)
    wanted = net(mx.nd.array(x)).asnumpy()
    graph = trace(net, (1, 1, 6, 6))
    for source in (graph, optimize(graph)):
        rebuilt = GraphBlock(source)
        np.testing.assert_allclose(
            rebuilt(mx.nd.array(x)).asnumpy(), wanted, rtol=0, atol=0.03 * np.abs(wanted).max()
        )
    quantize(net, weights=what, activations=None)
    wanted = net(mx.nd.array(x)).asnumpy()
    np.testing.assert_allclose(strip(net)(mx.nd.array(x)).asnumpy(), wanted, rtol=1e-5, atol=1e-5)


def test_ternary_weights_train():
    """A network of ternary weights learns what one of float32 weights says."""
    rng = np.random.default_rng(0)
    x = mx.nd.array(rng.standard_normal((256, 8)))
    y = mx.nd.array(np.sign(x.asnumpy() @ rng.standard_normal((8, 1))))
    net = nn.HybridSequential()
    net.add(nn.Dense(32, activation="relu", in_units=8), nn.Dense(1, in_units=32))
    net.initialize(mx.init.Xavier())
    quantize(net, weights=Ternary(), activations=None)
    net.hybridize()
    trainer = mx.gluon.Trainer(net.collect_params(), "adam", {"learning_rate": 0.01})
    loss = mx.gluon.loss.L2Loss()
    losses = []
    for _ in range(60):
        with mx.autograd.record():
            value = loss(net(x), y).mean()
        value.backward()
        trainer.step(1)
        losses.append(float(value.asscalar()))
    assert losses[-1] < 0.4 * losses[0]


# ---------------------------------------------------------------- bad input
def test_groups_that_do_not_divide_change_nothing():
    net, _ = network()
    with pytest.raises(ConfigError, match=r"layer '4': groups of 36 do not divide the 54 input"):
        quantize(net, weights=WeightQuantization(4, PerGroup(36)), layers=["6", "4"])
    assert type(net[6]) is nn.Dense


@each_scheme
@pytest.mark.parametrize("value", [0.0, 1e30, 1e-42])
def test_constant_weights(what, value):
    layer = one_layer(np.full((7, 18), value, "float32"))
    quantize(layer, weights=what, activations=None)
    found = layer.effective_weight().asnumpy()
    if value > 1e-30:
        np.testing.assert_allclose(found, value, rtol=1e-5)
    else:
        assert np.abs(found).max() <= 1e-30


def test_binary_weights_are_not_pruned():
    net, _ = network()
    prune(net, sparsity=0.5, layers="6")
    with pytest.raises(ConfigError, match=r"layer '6': pruned weights are zero and binary weights"):
        quantize(net, weights=Binary(), activations=None)
    quantize(net, weights=Binary(), activations=None, layers="7")
    with pytest.raises(ConfigError, match="use Ternary"):
        prune(net, sparsity=0.5, layers="7")


def test_ternary_keeps_the_zeros_of_masks():
    net, x = network()
    prune(net, sparsity=0.5)
    zeros = {i: net[i].effective_weight().asnumpy() == 0 for i in (0, 3, 6)}
    quantize(net, weights=Ternary(), activations=None)
    for i, zero in zeros.items():
        assert not net[i].effective_weight().asnumpy()[zero].any()
    graph = optimize(trace(net, (1, 1, 6, 6)))
    np.testing.assert_allclose(
        Engine.from_graph(graph)(x), net(mx.nd.array(x)).asnumpy(), rtol=1e-3, atol=1e-4
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: WeightQuantization(4, PerGroup(8), scale="learned"), "per group are not learned"),
        (
            lambda: WeightSharing(granularity=PerGroup(8)),
            "not per group",
        ),
        (lambda: quantize(nn.Dense(2), weights=None, activations=WEIGHT_ONLY), "both are None"),
    ],
)
def test_combinations_without_a_meaning(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
