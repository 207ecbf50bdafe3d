"""Each converted operator: MXNet's result against the interpreter's, through a trace."""

import mxnet as mx
import numpy as np
import pytest
from mxnet.gluon import nn

from gluonzip.gluon import quantize, trace
from gluonzip.graph import interpret, validate
from gluonzip.passes import optimize
from gluonzip.spec import PerChannel, WeightQuantization

rng = np.random.default_rng(0)
IMAGE, MATRIX, SEQUENCE = (2, 4, 6, 8), (3, 4), (2, 4, 10)


class Fn(mx.gluon.HybridBlock):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def hybrid_forward(self, F, *inputs):
        return self.function(F, *inputs)


# name: (function of F and the inputs, shapes of the inputs)
CASES = {
    **{
        name: (lambda F, x, name=name: getattr(F, name)(x), [MATRIX])
        for name in (
            *("relu", "sigmoid", "tanh", "softsign", "exp", "abs", "negative", "square", "floor"),
            *("ceil", "erf", "identity", "BlockGrad", "hard_sigmoid", "log_softmax", "Flatten"),
        )
    },
    **{
        name: (lambda F, x, name=name: getattr(F, name)(F.abs(x) + 0.1), [MATRIX])
        for name in ("log", "log2", "log10", "sqrt", "rsqrt")
    },
    **{
        f"Activation {kind}": (lambda F, x, kind=kind: F.Activation(x, act_type=kind), [MATRIX])
        for kind in ("relu", "sigmoid", "tanh", "softrelu", "softsign")
    },
    **{
        f"LeakyReLU {kind}": (lambda F, x, kind=kind: F.LeakyReLU(x, act_type=kind), [MATRIX])
        for kind in ("leaky", "elu", "selu", "gelu")
    },
    "clip": (lambda F, x: F.clip(x, -0.5, 0.25), [MATRIX]),
    "zeros_like and ones_like": (lambda F, x: F.zeros_like(x) * 3 + F.ones_like(x), [MATRIX]),
    "scalars": (lambda F, x: (2 - (x + 1) * 3 / 7 - 2) ** 2, [MATRIX]),
    "1 / x": (lambda F, x: 1 / (x * x + 1), [MATRIX]),
    "scalar bounds": (lambda F, x: F.maximum(F.minimum(x, 0.5), -0.5), [MATRIX]),
    "a + b - a * b / 3": (lambda F, a, b: a + b - a * b / (a * a + 3), [MATRIX, MATRIX]),
    "broadcasting": (
        lambda F, a, b: F.broadcast_sub(F.broadcast_add(a, b), F.broadcast_mul(a, b)),
        [IMAGE, (2, 4, 1, 1)],
    ),
    "broadcast division and bounds": (
        lambda F, a, b: F.broadcast_maximum(
            F.broadcast_div(a, b * b + 1), F.broadcast_minimum(a, b)
        ),
        [IMAGE, (2, 1, 1, 8)],
    ),
    "maximum": (lambda F, a, b: F.maximum(a, b) + F.minimum(a, b) * 2, [MATRIX, MATRIX]),
    "add_n": (lambda F, a, b: F.add_n(a, b, a), [MATRIX, MATRIX]),
    "max pool": (
        lambda F, x: F.Pooling(x, kernel=(3, 2), stride=(2, 2), pad=(1, 0), pool_type="max"),
        [IMAGE],
    ),
    "max pool full": (
        lambda F, x: F.Pooling(
            x, kernel=(3, 3), stride=(2, 2), pool_type="max", pooling_convention="full"
        ),
        [IMAGE],
    ),
    **{
        f"avg pool {count}": (
            lambda F, x, count=count: F.Pooling(
                x,
                kernel=(3, 3),
                stride=(2, 2),
                pad=(1, 1),
                pool_type="avg",
                count_include_pad=count,
            ),
            [IMAGE],
        )
        for count in (True, False)
    },
    "avg pool 1-D": (
        lambda F, x: F.Pooling(x, kernel=(3,), stride=(2,), pool_type="avg"),
        [SEQUENCE],
    ),
    "global pool 1-D": (lambda F, x: F.Pooling(x, kernel=(1,), global_pool=True), [SEQUENCE]),
    "global pools": (
        lambda F, x: (
            F.Pooling(x, kernel=(1, 1), global_pool=True, pool_type="avg")
            + F.Pooling(x, kernel=(1, 1), global_pool=True, pool_type="max")
        ),
        [IMAGE],
    ),
    "adaptive": (lambda F, x: F.contrib.AdaptiveAvgPooling2D(x, output_size=(3, 5)), [IMAGE]),
    "adaptive to one": (lambda F, x: F.contrib.AdaptiveAvgPooling2D(x), [IMAGE]),
    "upsampling": (lambda F, x: F.UpSampling(x, scale=2, sample_type="nearest"), [IMAGE]),
    "bilinear": (lambda F, x: F.contrib.BilinearResize2D(x, height=9, width=5), [IMAGE]),
    "bilinear by scale": (
        lambda F, x: F.contrib.BilinearResize2D(
            x, scale_height=2.0, scale_width=2.0, mode="odd_scale"
        ),
        [IMAGE],
    ),
    "reshape": (lambda F, x: x.reshape((0, -1)), [IMAGE]),
    "reshape codes": (lambda F, x: x.reshape((0, -4, 2, 2, -3)), [IMAGE]),
    "reshape_like": (lambda F, a, b: F.reshape_like(a, b), [(2, 12), (2, 3, 4)]),
    "transpose": (lambda F, x: x.transpose((0, 2, 3, 1)), [IMAGE]),
    "transpose all": (lambda F, x: F.transpose(F.transpose(x)), [IMAGE]),
    "swapaxes": (lambda F, x: x.swapaxes(1, 3), [IMAGE]),
    "expand and squeeze": (lambda F, x: x.expand_dims(2).expand_dims(-1).squeeze(2), [MATRIX]),
    "squeeze all": (lambda F, x: F.squeeze(x), [(2, 1, 3, 1)]),
    "concat": (lambda F, a, b: F.concat(a, b, a, dim=2), [IMAGE, IMAGE]),
    "stack": (lambda F, a, b: F.stack(a, b, axis=1), [MATRIX, MATRIX]),
    "slice_axis": (lambda F, x: x.slice_axis(axis=2, begin=1, end=-1), [IMAGE]),
    "slice_axis to the end": (lambda F, x: x.slice_axis(axis=-1, begin=3, end=None), [IMAGE]),
    "slice": (lambda F, x: x.slice((None, 1, 0, 2), (None, 3, None, 5)), [IMAGE]),
    "slice nothing": (lambda F, x: x.slice((None,), (None,)), [IMAGE]),
    "slice_like": (lambda F, a, b: F.slice_like(a, b, axes=(2, 3)), [IMAGE, (2, 4, 3, 5)]),
    "split": (lambda F, x: F.split(x, num_outputs=4, axis=3)[2], [IMAGE]),
    "split squeezed": (lambda F, x: F.split(x, num_outputs=4, squeeze_axis=True)[1], [IMAGE]),
    "pad": (
        lambda F, x: F.pad(
            x, mode="constant", pad_width=(0, 0, 0, 0, 1, 2, 3, 4), constant_value=2
        ),
        [IMAGE],
    ),
    "arange": (lambda F, x: F.broadcast_add(x, F.arange(0, 4)), [MATRIX]),
    "zeros and ones": (lambda F, x: F.broadcast_add(x, F.zeros((1, 4)) + F.ones((1, 4))), [MATRIX]),
    "softmax": (lambda F, x: F.softmax(x, axis=1, temperature=2.0), [IMAGE]),
    "SoftmaxActivation": (lambda F, x: F.SoftmaxActivation(x, mode="channel"), [IMAGE]),
    "mean": (lambda F, x: F.mean(x, axis=(2, 3), keepdims=True), [IMAGE]),
    "sum over the rest": (lambda F, x: F.sum(x, axis=0, exclude=True), [IMAGE]),
    "max": (lambda F, x: F.max(x, axis=1), [IMAGE]),
    "batch_dot": (lambda F, a, b: F.batch_dot(a, b, transpose_b=True), [(2, 3, 4), (2, 5, 4)]),
    "gemm2": (lambda F, a, b: F.linalg.gemm2(a, b), [(2, 3, 4), (2, 4, 5)]),
    "dot": (lambda F, a, b: F.dot(a, b, transpose_a=True), [(4, 3), (4, 5)]),
    "div_sqrt_dim": (lambda F, x: F.contrib.div_sqrt_dim(x), [MATRIX]),
    **{
        f"L2Normalization {mode}": (
            lambda F, x, mode=mode: F.L2Normalization(x, mode=mode),
            [IMAGE],
        )
        for mode in ("instance", "channel", "spatial")
    },
    "cast": (lambda F, x: F.cast(x, "float32") * 2, [MATRIX]),
}

LAYERS = {
    "Conv1D": (lambda: nn.Conv1D(4, 3, 2, 1, in_channels=4), SEQUENCE),
    "Conv2D": (lambda: nn.Conv2D(6, 3, (2, 1), 1, 2, groups=2, in_channels=4), (2, 4, 9, 11)),
    "Conv1DTranspose": (lambda: nn.Conv1DTranspose(4, 3, 2, 1, 1, in_channels=4), SEQUENCE),
    "Conv2DTranspose": (lambda: nn.Conv2DTranspose(6, 3, 2, 1, 1, in_channels=4), IMAGE),
    "Dense": (lambda: nn.Dense(5, in_units=192), IMAGE),
    "Dense without flattening": (lambda: nn.Dense(5, flatten=False, in_units=8), IMAGE),
    "Embedding": (lambda: nn.Embedding(9, 5), MATRIX),
    "BatchNorm": (lambda: nn.BatchNorm(in_channels=4, epsilon=1e-3), IMAGE),
    "BatchNorm on the last axis": (lambda: nn.BatchNorm(axis=-1, in_channels=8), IMAGE),
    "LayerNorm": (lambda: nn.LayerNorm(in_channels=8), IMAGE),
    "PReLU": (lambda: nn.PReLU(), IMAGE),
    "ELU": (lambda: nn.ELU(0.7), IMAGE),
    "SELU": (lambda: nn.SELU(), IMAGE),
    "GELU": (lambda: nn.GELU(), IMAGE),
    "Swish": (lambda: nn.Swish(1.5), IMAGE),
    "Dropout": (lambda: nn.Dropout(0.5), IMAGE),
    "Lambda": (lambda: nn.HybridLambda("tanh"), IMAGE),
    "MaxPool1D": (lambda: nn.MaxPool1D(3, 2, 1, ceil_mode=True), SEQUENCE),
}


def agree(net, shapes, indices=False):
    arrays = [rng.standard_normal(shape).astype("float32") for shape in shapes]
    if indices:
        arrays = [rng.integers(0, 9, shape).astype("float32") for shape in shapes]
    graph = trace(net, *shapes)
    validate(graph)
    assert "opaque" not in {node.op for node in graph.nodes}
    expected = net(*map(mx.nd.array, arrays)).asnumpy()
    (got,) = interpret(graph, arrays)
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)
    return graph


@pytest.mark.parametrize("case", CASES)
def test_operator(case):
    function, shapes = CASES[case]
    agree(Fn(function), shapes)


@pytest.mark.parametrize("kind", LAYERS)
def test_layer(kind):
    make, shape = LAYERS[kind]
    net = make()
    net.initialize(mx.init.Normal(0.5))
    for key, parameter in net.collect_params(".*(running|gamma|beta).*").items():
        low = 0.5 if key.endswith(("var", "gamma")) else -0.5
        parameter.set_data(mx.nd.random.uniform(low, low + 1, parameter.shape))
    agree(net, [shape], indices=kind == "Embedding")


@pytest.mark.parametrize("granularity", [None, PerChannel()])
@pytest.mark.parametrize(
    "kind", ["Conv1D", "Conv2D", "Conv1DTranspose", "Conv2DTranspose", "Dense"]
)
def test_quantized_weights_fold_into_integers(kind, granularity):
    make, shape = LAYERS[kind]
    net = make()
    net.initialize(mx.init.Normal(0.5))
    what = WeightQuantization(**({"granularity": granularity} if granularity else {}))
    quantize(net, weights=what, activations=None)
    graph = optimize(agree(net, [shape]))
    (node,) = [n for n in graph.nodes if n.op in ("conv2d", "conv_transpose2d", "dense")]
    weight = graph.constants[node.inputs[1]]
    assert weight.quantized
    np.testing.assert_array_equal(weight.dense().ravel(), net.effective_weight().asnumpy().ravel())
