"""Whole networks of gluon.model_zoo.vision in the engine, against MXNet and the interpreter."""

import mxnet as mx
import numpy as np
import pytest
from zoo_networks import EVERY, FAMILIES, build, images

from gluonzip import passes
from gluonzip.gluon import trace
from gluonzip.graph import interpret
from gluonzip.runtime import Engine
from gluonzip.spec import PerChannel, PerTensor, WeightQuantization


def close(got, expected, relative):
    np.testing.assert_allclose(got, expected, rtol=0, atol=relative * np.abs(expected).max())


def check_fp32(name):
    net, x = build(name, classes=10), images(name)
    graph = passes.optimize(trace(net, (1, *x.shape[1:])))
    engine = Engine.from_graph(graph)
    close(engine(x), net(mx.nd.array(x)).asnumpy(), 1e-4)
    close(engine(x[:1]), engine(x)[:1], 1e-5)  # any batch, one engine


def check_int8(name, granularity):
    net, x = build(name, classes=10), images(name)
    lowered = passes.quantize_graph(
        trace(net, (1, *x.shape[1:])),
        [images(name, seed=1)],
        weights=WeightQuantization(granularity=granularity),
    )
    layers = [node for node in lowered.nodes if node.op in ("conv2d", "dense")]
    assert all(lowered.constants[node.inputs[1]].quantized for node in layers)
    (expected,) = interpret(lowered, x)
    np.testing.assert_array_equal(Engine.from_graph(lowered)(x), expected)


@pytest.mark.parametrize("name", FAMILIES)
def test_family_in_fp32_agrees_with_mxnet(name):
    check_fp32(name)


@pytest.mark.parametrize("name", FAMILIES)
def test_family_in_int8_equals_the_interpreter(name):
    check_int8(name, PerChannel())


@pytest.mark.slow
@pytest.mark.parametrize("name", EVERY)
def test_every_network_in_fp32_agrees_with_mxnet(name):
    check_fp32(name)


@pytest.mark.slow
@pytest.mark.parametrize("granularity", [PerTensor(), PerChannel()], ids=["tensor", "channel"])
@pytest.mark.parametrize("name", EVERY)
def test_every_network_in_int8_equals_the_interpreter(name, granularity):
    check_int8(name, granularity)
