"""Clips traced as frames, against MXNet's own 3-D operators."""

import mxnet as mx
import numpy as np
import pytest
from mxnet.gluon import nn

from gluonzip.gluon import CompiledBlock, Quantizer, calibrate, quantize, trace
from gluonzip.graph import interpret
from gluonzip.passes import optimize

SHAPE = (2, 3, 9, 7, 6)
rng = np.random.default_rng(7)
X = rng.standard_normal(SHAPE).astype("float32")


def agree(net, ops=()):
    net.initialize(mx.init.Xavier())
    expected = net(mx.nd.array(X)).asnumpy()
    graph = optimize(trace(net, SHAPE))
    (got,) = interpret(graph, X)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
    assert "opaque" not in {node.op for node in graph.nodes}
    np.testing.assert_allclose(CompiledBlock(graph)(mx.nd.array(X)).asnumpy(), got, atol=1e-5)
    return graph


@pytest.mark.parametrize(
    ("kernel", "stride", "pad"),
    [
        ((3, 3, 3), (1, 1, 1), (1, 1, 1)),
        ((3, 1, 1), (1, 1, 1), (1, 0, 0)),
        ((1, 3, 3), (1, 2, 2), (0, 1, 1)),
        ((1, 1, 1), (2, 2, 2), (0, 0, 0)),
        ((5, 3, 1), (2, 1, 1), (2, 1, 0)),
        ((5, 1, 1), (8, 1, 1), (2, 0, 0)),
        ((2, 1, 3), (3, 1, 2), (0, 0, 1)),
        ((4, 2, 2), (2, 1, 1), (3, 0, 0)),
        ((1, 1, 1), (1, 1, 1), (1, 0, 0)),
    ],
)
def test_convolutions(kernel, stride, pad):
    graph = agree(nn.Conv3D(5, kernel, strides=stride, padding=pad, in_channels=3))
    assert [n.op for n in graph.nodes].count("conv2d") == 1


@pytest.mark.parametrize(
    "pool",
    [
        nn.MaxPool3D((3, 3, 3), 1, 1),
        nn.MaxPool3D((1, 3, 3), (2, 2, 2), (0, 1, 1)),
        nn.MaxPool3D((2, 2, 2), 2, ceil_mode=True),
        nn.MaxPool3D((2, 1, 1), (2, 1, 1)),
        nn.AvgPool3D((3, 3, 3), 1, 1),
        nn.AvgPool3D((2, 3, 2), (2, 1, 1)),
        nn.GlobalAvgPool3D(),
        nn.GlobalMaxPool3D(),
    ],
    ids=lambda p: f"{type(p).__name__}{p._kwargs['kernel']}",
)
def test_pooling(pool):
    agree(pool)


class Residual(mx.gluon.HybridBlock):
    """What lies between convolutions of video networks: all of it frame by frame."""

    def __init__(self):
        super().__init__()
        with self.name_scope():
            self.a = nn.Conv3D(4, (3, 1, 1), padding=(1, 0, 0), in_channels=3)
            self.norm = nn.BatchNorm(in_channels=4)
            self.b = nn.Conv3D(4, (1, 3, 3), padding=(0, 1, 1), in_channels=4)
            self.c = nn.Conv3D(4, 1, in_channels=8)
            self.out = nn.Dense(5)

    def hybrid_forward(self, F, x):
        y = F.relu(self.norm(self.a(x)))
        y = F.concat(self.b(y), y, dim=1)
        y = F.Dropout(self.c(y) + F.slice_axis(y, axis=1, begin=0, end=4))
        return self.out(F.squeeze(F.Pooling(y, global_pool=True, pool_type="avg")))


def test_only_frames_are_left_between_layers():
    graph = agree(Residual())
    between = [n.op for n in graph.nodes if n.op == "transpose"]
    assert len(between) <= 3, between  # the input, and around the slice


def test_quantized_clips_agree_with_the_interpreter():
    net = Residual()
    net.initialize(mx.init.Xavier())
    x = mx.nd.array(X)
    block = CompiledBlock(net, SHAPE, quantizer=Quantizer([x]))
    assert all(
        block.partition[0].graph.constants[n.inputs[1]].quantized
        for n in block.partition[0].graph.nodes
        if n.op in ("conv2d", "dense")
    )
    np.testing.assert_allclose(
        block.engine(X), interpret(block.partition[0].graph, X)[0], rtol=1e-5, atol=1e-6
    )
    dense = net(x).asnumpy()
    assert np.abs(block(x).asnumpy() - dense).max() < 0.1 * np.abs(dense).max()


def test_a_wrapped_network_keeps_its_integers():
    net = Residual()
    net.initialize(mx.init.Xavier())
    x = mx.nd.array(X)
    net(x)
    quantize(net)
    calibrate(net, [x])
    graph = optimize(trace(net, SHAPE))
    weights = [n.inputs[1] for n in graph.nodes if n.op in ("conv2d", "dense")]
    assert all(graph.constants[name].quantized for name in weights)
    expected = net(x).asnumpy()
    np.testing.assert_allclose(interpret(graph, X)[0], expected, atol=2e-2 * np.abs(expected).max())


def test_dilation_along_time_stays_in_mxnet():
    net = nn.Conv3D(2, 3, dilation=(2, 1, 1), in_channels=3)
    net.initialize()
    graph = trace(net, SHAPE)
    assert graph.meta["opaque"] == {
        graph.nodes[0].name: "not in the op table with dilation along time"
    }
    x = mx.nd.array(X)
    np.testing.assert_allclose(
        CompiledBlock(net, SHAPE)(x).asnumpy(), net(x).asnumpy(), rtol=1e-5, atol=1e-5
    )
