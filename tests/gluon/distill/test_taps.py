"""Taps against calling the layers one by one; gradients; hybridized or not; errors."""

import json

import mxnet as mx
import numpy as np
import pytest
from mxnet.gluon import nn

from gluonzip.errors import ConfigError, PatternError, UnsupportedError
from gluonzip.gluon import clone, prune, quantize, trace
from gluonzip.gluon.distill import TappedBlock, Taps
from gluonzip.model_zoo import get_model

X = np.random.default_rng(0).standard_normal((3, 1, 12, 12)).astype(np.float32)


def network(sequential=nn.HybridSequential):
    mx.random.seed(1)
    net = sequential()
    inner = nn.HybridSequential()
    inner.add(nn.Conv2D(4, 3, in_channels=4, activation="relu"), nn.MaxPool2D())
    net.add(nn.Conv2D(4, 3, in_channels=1), inner, nn.Dense(5, in_units=64))
    net.initialize(mx.init.Xavier())
    return net


def parts(net, x):
    first = net[0](x)
    second = net[1][0](first)
    return first, second, net[1][1](second)


MODES = {
    "imperative": lambda net: None,
    "hybridized": lambda net: net.hybridize(),
    "static": lambda net: net.hybridize(static_alloc=True, static_shape=True),
    "inner alone": lambda net: net[1].hybridize(),
}


def run(net, mode, x):
    """Output, taps, and the gradient that the taps alone give the first layer."""
    MODES[mode](net)
    with Taps(net, {"a": "0", "b": "1.0", "c": "1"}) as taps:
        for _ in range(2):  # the second call uses the graph of the first
            with mx.autograd.record():
                y = net(x)
                score = sum((value**2).sum() for _, value in taps.items())
            score.backward()
        values = [value.asnumpy() for _, value in taps.items()]
    return y.asnumpy(), values, net[0].weight.grad().asnumpy()


@pytest.mark.parametrize("sequential", [nn.Sequential, nn.HybridSequential])
@pytest.mark.parametrize("mode", MODES)
def test_values_and_gradients(mode, sequential):
    x, net = mx.nd.array(X), network(sequential)
    with mx.autograd.record():
        expected = parts(net, x)
        score = sum((value**2).sum() for value in expected)
    score.backward()
    gradient = net[0].weight.grad().asnumpy().copy()
    y, values, found = run(net, mode, x)
    for value, wanted in zip(values, expected, strict=True):
        np.testing.assert_allclose(value, wanted.asnumpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found, gradient, rtol=1e-4)
    np.testing.assert_allclose(y, net(x).asnumpy(), rtol=1e-5, atol=1e-6)


def test_deferred_shapes_and_the_zoo():
    net = get_model("resnet8_small")
    net.initialize()
    net.hybridize()
    x = mx.nd.random.normal(shape=(2, 1, 28, 28))
    with Taps(net, ["features.1", "features.2.0"]) as taps:
        net(x)
        shapes = {key: value.shape for key, value in taps.items()}
    assert shapes == {"features.1": (2, 16, 28, 28), "features.2.0": (2, 32, 14, 14)}


@pytest.mark.parametrize("mode", ["imperative", "hybridized"])
def test_pruning_and_quantizing_carry_the_taps_along(mode):
    x, net = mx.nd.array(X), network()
    MODES[mode](net)
    with Taps(net, {"b": "1.0"}) as taps:
        net(x)
        dense = taps["b"].asnumpy()
        prune(net, sparsity=0.6)
        quantize(net, data=[x])
        net(x)
        compressed = taps["b"].asnumpy()
    assert np.abs(dense - compressed).max() > 1e-3
    np.testing.assert_allclose(compressed, parts(net, x)[1].asnumpy(), rtol=1e-5, atol=1e-6)


def test_closed_the_network_is_as_before(tmp_path):
    x, net = mx.nd.array(X), network()
    net.hybridize()
    expected = net(x).asnumpy()
    before = [set(vars(block)) for block in (net, net[1], net[1][0])]
    taps = Taps(net, "1.0")
    net(x)
    net.export(str(tmp_path / "tapped"))  # its own outputs alone, even now
    taps.close()
    assert [set(vars(block)) for block in (net, net[1], net[1][0])] == before
    np.testing.assert_array_equal(net(x).asnumpy(), expected)
    heads = json.loads((tmp_path / "tapped-symbol.json").read_text())["heads"]
    assert len(heads) == 1


@pytest.mark.parametrize("hybrid", [False, True])
def test_a_copy_has_taps_of_its_own(hybrid):
    x, net = mx.nd.array(X), network()
    net.hybridize(hybrid)
    with Taps(net, "1.0") as taps:
        net(x)
        expected = taps["1.0"].asnumpy()
        copied = clone(net)
        copied(x * 2)
        np.testing.assert_array_equal(taps["1.0"].asnumpy(), expected)


@pytest.mark.parametrize("nested", [False, True])
def test_an_imported_symbol(tmp_path, nested):
    x, net = mx.nd.array(X), network()
    net.hybridize()
    expected = net(x).asnumpy()
    inner = parts(net, x)[1].asnumpy()
    net.export(str(tmp_path / "net"))
    files = (str(tmp_path / "net-symbol.json"), ["data"], str(tmp_path / "net-0000.params"))
    imported = mx.gluon.SymbolBlock.imports(*files)
    whole = imported
    if nested:
        whole = nn.HybridSequential()
        whole.add(imported)
        whole.hybridize()
    with Taps(whole, {"b": "*conv*relu*"}) as taps:
        for _ in range(2):
            with mx.autograd.record():
                y = whole(x)
                taps["b"].sum().backward()
        np.testing.assert_allclose(taps["b"].asnumpy(), inner, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(y.asnumpy(), expected, rtol=1e-5, atol=1e-6)
    gradients = [p.grad().asnumpy() for n, p in imported.collect_params().items() if "conv" in n]
    assert all(np.abs(gradient).max() > 0 for gradient in gradients)
    np.testing.assert_allclose(whole(x).asnumpy(), expected, rtol=1e-5, atol=1e-6)


def test_taps_as_outputs_for_the_tracer():
    x, net = mx.nd.array(X), network()
    with Taps(net, {"b": "1.0", "a": "0"}) as taps:
        tapped = TappedBlock(net, taps)
        for hybrid in (False, True):
            tapped.hybridize(hybrid)
            y, b, a = tapped(x)
            first, second, _ = parts(net, x)
            for got, wanted in ((y, net(x)), (b, second), (a, first)):
                np.testing.assert_allclose(got.asnumpy(), wanted.asnumpy(), rtol=1e-5, atol=1e-6)
        assert len(trace(tapped, X.shape).outputs) == 3
        assert len(trace(net, X.shape).outputs) == 1


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (
            "features",
            r"tap 'features' matches none of the 6 layers; candidates: 0, 1, 1.0, 1.0.act",
        ),
        ("1.*", r"tap '1\.\*' matches 3 layers, one is needed: 1\.0, 1\.0\.act, 1\.1"),
        ([], "at least one"),
        ([3], r"named by strings.*\[3\]"),
    ],
)
def test_a_tap_must_match_one_layer(layers, message):
    with pytest.raises(PatternError, match=message):
        Taps(network(), layers)


def test_what_else_is_refused():
    net = network()
    taps = Taps(net, "0")
    with pytest.raises(ConfigError, match="has not run"):
        taps["0"]
    with pytest.raises(ConfigError, match="no tap 'b'; there are: '0'"):
        taps["b"]
    with pytest.raises(ConfigError, match="tapped already"):
        Taps(net, "1")


@pytest.mark.parametrize("hybrid", [False, True])
def test_a_layer_that_runs_twice(hybrid):
    net, shared = nn.HybridSequential(), nn.Dense(4, in_units=4)
    net.add(shared, nn.Activation("relu"))
    net._children["2"] = shared
    net.initialize()
    net.hybridize(hybrid)
    with Taps(net, "0") as taps:
        net(mx.nd.ones((1, 4)))
        with pytest.raises(UnsupportedError, match="layer '0' runs more than once"):
            taps["0"]
