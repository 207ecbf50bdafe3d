"""Traced networks of gluon.model_zoo.vision against MXNet itself."""

import mxnet as mx
import numpy as np
import pytest

from gluonzip.gluon import trace
from gluonzip.graph import interpret, validate

mx_zoo = mx.gluon.model_zoo.vision

# One of each family, at the smallest input that it allows.
FAMILIES = {
    "alexnet": 224,
    "densenet121": 224,
    "inceptionv3": 299,
    "mobilenet0.25": 64,
    "mobilenetv2_0.25": 64,
    "resnet18_v1": 64,
    "resnet18_v2": 64,
    "squeezenet1.1": 224,
    "vgg11": 32,
    "vgg11_bn": 32,
}
EVERY = sorted(
    [f"resnet{d}_v{v}" for d in (18, 34, 50, 101, 152) for v in (1, 2)]
    + [f"vgg{d}{bn}" for d in (11, 13, 16, 19) for bn in ("", "_bn")]
    + [f"densenet{d}" for d in (121, 161, 169, 201)]
    + [f"mobilenet{w}" for w in ("1.0", "0.75", "0.5", "0.25")]
    + [f"mobilenetv2_{w}" for w in ("1.0", "0.75", "0.5", "0.25")]
    + ["alexnet", "inceptionv3", "squeezenet1.0", "squeezenet1.1"]
)


def size_of(name):
    if name == "inceptionv3":
        return 299
    return 224 if name.startswith(("alexnet", "densenet", "squeezenet")) else 64


def build(name, **options):
    """An untrained network whose batch norms are not the identity."""
    mx.random.seed(7)
    net = mx_zoo.get_model(name, **options)
    net.initialize(mx.init.Xavier())
    size = FAMILIES.get(name, size_of(name))
    x = np.random.default_rng(0).standard_normal((2, 3, size, size)).astype("float32")
    with mx.autograd.pause():
        net(mx.nd.array(x[:1]))
    for key, parameter in net.collect_params(".*(running|gamma|beta).*").items():
        low, high = (0.5, 1.5) if key.endswith(("var", "gamma")) else (-0.2, 0.2)
        if parameter._data is not None:
            parameter.set_data(mx.nd.random.uniform(low, high, parameter.shape))
    return net, x


def check(name):
    net, x = build(name, classes=10)
    graph = trace(net, (1, *x.shape[1:]))
    validate(graph)
    assert "opaque" not in {node.op for node in graph.nodes}
    assert graph.inputs[0].shape == (0, *x.shape[1:])
    expected = net(mx.nd.array(x)).asnumpy()
    (got,) = interpret(graph, x)
    assert np.abs(expected).max() > 1e-6
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("name", FAMILIES)
def test_family_agrees_with_mxnet(name):
    check(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", EVERY)
def test_every_network_agrees_with_mxnet(name):
    check(name)


def test_names_are_structural():
    net, x = build("resnet18_v1")
    graph = trace(net, (1, *x.shape[1:]))
    stored = set(net._collect_params_with_prefix())
    assert set(graph.constants) <= stored
    layers = {n.name for n in graph.nodes if n.op in ("conv2d", "dense", "batch_norm")}
    assert {"features.0", "features.1", "output", "features.4.0.body.0"} <= layers
    assert all("_" not in name for name in layers)
