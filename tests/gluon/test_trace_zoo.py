"""Traced networks of gluon.model_zoo.vision against MXNet itself."""

import mxnet as mx
import numpy as np
import pytest
from zoo_networks import EVERY, FAMILIES, build, images

from gluonzip.gluon import trace
from gluonzip.graph import interpret, validate


def check(name):
    net, x = build(name, classes=10), images(name)
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
    net, x = build("resnet18_v1"), images("resnet18_v1")
    graph = trace(net, (1, *x.shape[1:]))
    stored = set(net._collect_params_with_prefix())
    assert set(graph.constants) <= stored
    layers = {n.name for n in graph.nodes if n.op in ("conv2d", "dense", "batch_norm")}
    assert {"features.0", "features.1", "output", "features.4.0.body.0"} <= layers
    assert all("_" not in name for name in layers)
