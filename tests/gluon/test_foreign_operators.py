"""Networks that cannot be divided, or only under conditions: each says so in one line."""

import mxnet as mx
import numpy as np
import pytest

from gluonzip.errors import UnsupportedError
from gluonzip.gluon import CompiledBlock, GraphBlock, rebuild_ops, trace
from gluonzip.graph.ir import Graph, Input, Node

X = mx.nd.array([[1.0, -2.0, 3.0], [0.5, 4.0, -1.0]])


class Fn(mx.gluon.HybridBlock):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def hybrid_forward(self, F, x):
        return self.function(F, x)


LOOPS = {
    "foreach": lambda F, x: F.contrib.foreach(lambda d, s: (d + s, s + 1), x, F.zeros((3,)))[0],
    "while_loop": lambda F, x: F.contrib.while_loop(
        lambda i, s: i < 3, lambda i, s: (s, (i + 1, s * 2)), (F.zeros((1,)), x), max_iterations=3
    )[1][1],
    "cond": lambda F, x: F.contrib.cond(F.sum(x) > 0, lambda: x + 1, lambda: x - 1),
}


@pytest.mark.parametrize("kind", LOOPS)
def test_control_flow_is_declined_by_name(kind):
    with pytest.raises(UnsupportedError, match=rf"control flow \({kind}\).*unroll it"):
        CompiledBlock(Fn(LOOPS[kind]), X.shape)(X)


class Twice(mx.operator.CustomOp):
    def forward(self, is_train, req, in_data, out_data, aux):
        self.assign(out_data[0], req[0], in_data[0] * 2)


@mx.operator.register("gluonzip_test_twice")
class TwiceProp(mx.operator.CustomOpProp):
    def create_operator(self, ctx, shapes, dtypes):
        return Twice()


def test_a_custom_operator_runs_in_mxnet():
    net = Fn(lambda F, x: F.Custom(F.relu(x), op_type="gluonzip_test_twice"))
    block = CompiledBlock(net, X.shape)
    np.testing.assert_array_equal(block(X).asnumpy(), 2 * np.maximum(X.asnumpy(), 0))
    assert "Custom 'custom" in str(block.partition[-1])
    mx.nd.waitall()


def opaque(operator, **attrs):
    node = Node("opaque", "odd", ["x"], ["y"], {"operator": operator, "attrs": attrs})
    return Graph([Input("x", (0, 3))], ["y"], [node], {})


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (opaque("Custom", op_type="elsewhere"), "custom operator 'elsewhere'.*not registered"),
        (opaque("NoSuchOperator"), "'NoSuchOperator' is not registered with MXNet"),
    ],
)
def test_operators_that_this_process_lacks(graph, message):
    with pytest.raises(UnsupportedError, match=message):
        CompiledBlock(graph)(X)
    with pytest.raises(UnsupportedError, match=message):
        GraphBlock(graph)


def test_an_mxnet_without_onednn_is_named(monkeypatch):
    monkeypatch.delattr(mx.sym._internal, "_sg_mkldnn_conv")
    monkeypatch.setattr(rebuild_ops, "_PREFIXES", {})
    with pytest.raises(UnsupportedError, match="needs an MXNet built with oneDNN"):
        rebuild_ops.find_operator(mx.sym, "_sg_mkldnn_conv")


# ---------------------------------------------------------------- MXNet's own int8
def test_what_mxnet_quantized_is_traced_in_floats():
    net = mx.gluon.nn.HybridSequential()
    with net.name_scope():
        net.add(mx.gluon.nn.Conv2D(8, 3, padding=1, use_bias=False), mx.gluon.nn.BatchNorm())
        net.add(mx.gluon.nn.Activation("relu"), mx.gluon.nn.MaxPool2D(2))
        net.add(mx.gluon.nn.Conv2D(4, 3, activation="relu"), mx.gluon.nn.GlobalAvgPool2D())
    net.initialize(mx.init.Xavier())
    x = mx.nd.array(np.random.default_rng(0).uniform(-1, 1, (4, 3, 16, 16)))
    expected = net(x).asnumpy()
    quantized = mx.contrib.quantization.quantize_net_v2(
        net,
        quantized_dtype="auto",
        calib_mode="naive",
        calib_data=mx.io.NDArrayIter(x, batch_size=4),
        ctx=mx.cpu(),
    )
    graph = trace(quantized, x.shape)
    assert {node.op for node in graph.nodes} <= {
        "conv2d", "batch_norm", "relu", "max_pool", "global_avg_pool", "identity",
    }  # fmt: skip
    got = CompiledBlock(quantized, x.shape)(x).asnumpy()
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-4)
    assert np.abs(quantized(x).asnumpy() - expected).max() > 1e-4  # MXNet's integers
