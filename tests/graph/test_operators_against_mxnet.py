"""Every operator of the table against MXNet 1.9.1."""

from __future__ import annotations

import numpy as np
import pytest

from gluonzip.graph import Constant, Graph, Input, Node, infer_types, interpret, validate
from gluonzip.graph.reference.elementwise import sigmoid

mx = pytest.importorskip("mxnet")

RNG = np.random.default_rng(7)


def array(*shape: int, low: float = -2.0, high: float = 2.0) -> np.ndarray:
    return RNG.uniform(low, high, shape).astype(np.float32)


def run(op: str, attrs: dict, *arrays: np.ndarray | None, outputs: int = 1) -> list[np.ndarray]:
    """One node's outputs; the first array is the graph's input, the others are constants."""
    names = ["" if x is None else f"x{i}" for i, x in enumerate(arrays)]
    outs = [f"y{i}" for i in range(outputs)]
    graph = Graph(
        inputs=[Input("x0", (0,) * arrays[0].ndim)],
        outputs=outs,
        nodes=[Node(op, "node", names, outs, attrs)],
        constants={n: Constant(x) for n, x in zip(names, arrays, strict=True) if n and n != "x0"},
    )
    validate(graph)
    result = interpret(graph, arrays[0])
    types = infer_types(graph, {"x0": arrays[0].shape})
    assert [types[name].shape for name in outs] == [y.shape for y in result]
    assert all(y.dtype == np.float32 for y in result)
    return result


def check(op: str, attrs: dict, arrays: tuple, expected, rtol=1e-5, atol=1e-5) -> None:
    expected = expected if isinstance(expected, list) else [expected]
    results = run(op, attrs, *arrays, outputs=len(expected))
    for result, want in zip(results, expected, strict=True):
        assert result.shape == want.shape
        np.testing.assert_allclose(result, want.asnumpy(), rtol=rtol, atol=atol)


def nd(x: np.ndarray):
    return mx.nd.array(x)


# ---------------------------------------------------------------- element-wise
UNARY = {
    "relu": (mx.nd.relu, {}),
    "sigmoid": (mx.nd.sigmoid, {}),
    "tanh": (mx.nd.tanh, {}),
    "softplus": (lambda x: mx.nd.Activation(x, act_type="softrelu"), {}),
    "softsign": (mx.nd.softsign, {}),
    "gelu": (lambda x: mx.nd.LeakyReLU(x, act_type="gelu"), {}),
    "exp": (mx.nd.exp, {}),
    "abs": (mx.nd.abs, {}),
    "negative": (mx.nd.negative, {}),
    "square": (mx.nd.square, {}),
    "floor": (mx.nd.floor, {}),
    "ceil": (mx.nd.ceil, {}),
    "erf": (mx.nd.erf, {}),
    "leaky_relu": (lambda x: mx.nd.LeakyReLU(x, slope=0.1), {"slope": 0.1}),
    "elu": (lambda x: mx.nd.LeakyReLU(x, act_type="elu", slope=0.7), {"slope": 0.7}),
    "selu": (lambda x: mx.nd.LeakyReLU(x, act_type="selu"), {}),
    "hard_sigmoid": (lambda x: mx.nd.hard_sigmoid(x, alpha=0.3), {"alpha": 0.3}),
    "hard_swish": (lambda x: x * mx.nd.clip(x + 3, 0, 6) / 6, {}),
    "swish": (lambda x: x * mx.nd.sigmoid(1.5 * x), {"beta": 1.5}),
    "clip": (lambda x: mx.nd.clip(x, -0.5, 1), {"min": -0.5, "max": 1.0}),
    "add_scalar": (lambda x: x + 0.3, {"value": 0.3}),
    "mul_scalar": (lambda x: x * 0.3, {"value": 0.3}),
    "rsub_scalar": (lambda x: 0.3 - x, {"value": 0.3}),
    "rdiv_scalar": (lambda x: 0.3 / x, {"value": 0.3}),
    "max_scalar": (lambda x: mx.nd.maximum(x, 0.3), {"value": 0.3}),
    "min_scalar": (lambda x: mx.nd.minimum(x, 0.3), {"value": 0.3}),
    "identity": (mx.nd.identity, {}),
}


@pytest.mark.parametrize("op", UNARY)
def test_unary(op):
    function, attrs = UNARY[op]
    x = array(2, 3, 4, 5, low=-4, high=4)
    check(op, attrs, (x,), function(nd(x)))


@pytest.mark.parametrize("op", ["log", "sqrt", "rsqrt"])
def test_unary_of_positive_numbers(op):
    x = array(2, 3, low=0.1)
    x = np.abs(x)
    check(op, {}, (x,), getattr(mx.nd, op)(nd(x)))


def test_pow_scalar():
    x = array(2, 3, low=0.1, high=2)
    check("pow_scalar", {"value": 1.7}, (x,), nd(x) ** 1.7)


def test_sigmoid_of_large_numbers_does_not_overflow():
    with np.errstate(over="raise"):
        y = sigmoid(np.array([-200, 200], np.float32))
    np.testing.assert_array_equal(y, [0, 1])


@pytest.mark.parametrize("size", [3, 1])
def test_prelu(size):
    x, slope = array(2, 3, 4, 5), array(size)
    check("prelu", {}, (x, slope), mx.nd.LeakyReLU(nd(x), nd(slope), act_type="prelu"))


BINARY = {
    "add": mx.nd.broadcast_add,
    "sub": mx.nd.broadcast_sub,
    "mul": mx.nd.broadcast_mul,
    "div": mx.nd.broadcast_div,
    "maximum": mx.nd.broadcast_maximum,
    "minimum": mx.nd.broadcast_minimum,
}


@pytest.mark.parametrize("op", BINARY)
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (1, 3, 1, 1), (1, 1, 4, 5)])
def test_binary(op, shape):
    x, y = array(2, 3, 4, 5), array(*shape)
    check(op, {}, (x, y), BINARY[op](nd(x), nd(y)))


ACTIVATIONS = [
    ({"act": "relu"}, mx.nd.relu),
    ({"act": "clip", "act_min": -0.5, "act_max": 1.0}, lambda y: mx.nd.clip(y, -0.5, 1.0)),
    ({"act": "leaky_relu", "act_slope": 0.2}, lambda y: mx.nd.LeakyReLU(y, slope=0.2)),
]


@pytest.mark.parametrize(("attrs", "function"), ACTIVATIONS)
def test_add_with_activation(attrs, function):
    x, y = array(2, 3), array(2, 3)
    check("add", attrs, (x, y), function(nd(x) + nd(y)))


# ---------------------------------------------------------------- weighted
@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize(
    ("kernel", "stride", "pad", "dilation"),
    [
        ((3, 3), (1, 1), (0, 0), (1, 1)),
        ((3, 3), (2, 2), (1, 1), (1, 1)),
        ((1, 1), (2, 1), (0, 0), (1, 1)),
        ((5, 3), (1, 2), (2, 0), (2, 2)),
    ],
)
def test_conv2d(groups, kernel, stride, pad, dilation):
    x, weight, bias = array(2, 4, 12, 11), array(8, 4 // groups, *kernel), array(8)
    expected = mx.nd.Convolution(
        nd(x), nd(weight), nd(bias), kernel=kernel, stride=stride, pad=pad, dilate=dilation,
        num_filter=8, num_group=groups,
    )  # fmt: skip
    attrs = {
        "stride": list(stride),
        "pad": [*pad, *pad],
        "dilation": list(dilation),
        "groups": groups,
    }
    check("conv2d", attrs, (x, weight, bias), expected, atol=1e-4)


def test_conv2d_with_unequal_padding_equals_padding_first():
    x, weight = array(1, 3, 6, 7), array(5, 3, 3, 3)
    padded = mx.nd.pad(nd(x), mode="constant", pad_width=(0, 0, 0, 0, 1, 3, 0, 2))
    expected = mx.nd.Convolution(padded, nd(weight), kernel=(3, 3), num_filter=5, no_bias=True)
    check("conv2d", {"pad": [1, 0, 3, 2]}, (x, weight), expected, atol=1e-4)


@pytest.mark.parametrize(("attrs", "function"), ACTIVATIONS)
def test_conv2d_epilogue_adds_residual_then_acts(attrs, function):
    x, weight, bias = array(2, 3, 5, 5), array(4, 3, 1, 1), array(4)
    residual = array(2, 4, 5, 5)
    y = mx.nd.Convolution(nd(x), nd(weight), nd(bias), kernel=(1, 1), num_filter=4)
    expected = function(y + nd(residual))
    check("conv2d", attrs, (x, weight, bias, residual), expected, atol=1e-4)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize(
    ("kernel", "stride", "pad", "extra"),
    [
        ((4, 4), (2, 2), (1, 1), (0, 0)),
        ((3, 2), (2, 3), (0, 1), (1, 2)),
        ((1, 1), (1, 1), (0, 0), (0, 0)),
    ],
)
def test_conv_transpose2d(groups, kernel, stride, pad, extra):
    x, weight, bias = array(2, 4, 5, 6), array(4, 6 // groups, *kernel), array(6)
    expected = mx.nd.Deconvolution(
        nd(x), nd(weight), nd(bias), kernel=kernel, stride=stride, pad=pad, adj=extra,
        num_filter=6, num_group=groups, no_bias=False,
    )  # fmt: skip
    attrs = {
        "stride": list(stride),
        "pad": [*pad, *pad],
        "output_pad": list(extra),
        "groups": groups,
    }
    check("conv_transpose2d", attrs, (x, weight, bias), expected, atol=1e-4)


@pytest.mark.parametrize("flatten", [True, False])
def test_dense(flatten):
    x, bias = array(2, 3, 4), array(5)
    weight = array(5, 12 if flatten else 4)
    expected = mx.nd.FullyConnected(nd(x), nd(weight), nd(bias), num_hidden=5, flatten=flatten)
    check("dense", {"flatten": flatten}, (x, weight, bias), expected)


def test_embedding_clips_indices():
    x, weight = np.array([[0, 3], [9, -1]], np.float32), array(4, 3)
    expected = mx.nd.take(nd(weight), nd(x), mode="clip")
    check("embedding", {}, (x, weight), expected)


@pytest.mark.parametrize(
    ("transpose_a", "transpose_b"), [(False, False), (True, False), (False, True)]
)
def test_matmul(transpose_a, transpose_b):
    x = array(2, 4, 3) if transpose_a else array(2, 3, 4)
    y = array(2, 5, 4) if transpose_b else array(2, 4, 5)
    flags = {"transpose_a": transpose_a, "transpose_b": transpose_b}
    check("matmul", flags, (x, y), mx.nd.batch_dot(nd(x), nd(y), **flags))


# ---------------------------------------------------------------- normalization
@pytest.mark.parametrize("axis", [1, -1])
def test_batch_norm(axis):
    x = array(2, 3, 4, 5)
    c = x.shape[axis]
    gamma, beta, mean, var = array(c), array(c), array(c), array(c, low=0.1)
    var = np.abs(var)
    expected = mx.nd.BatchNorm(
        nd(x), nd(gamma), nd(beta), nd(mean), nd(var), eps=1e-3, fix_gamma=False,
        use_global_stats=True, axis=axis,
    )  # fmt: skip
    check("batch_norm", {"eps": 1e-3, "axis": axis}, (x, gamma, beta, mean, var), expected)


def test_scale_shift():
    x, scale, shift = array(2, 3, 4, 5), array(3), array(3)
    expected = mx.nd.relu(nd(x) * nd(scale).reshape((1, 3, 1, 1)) + nd(shift).reshape((1, 3, 1, 1)))
    check("scale_shift", {"act": "relu"}, (x, scale, shift), expected)


def test_layer_norm():
    x, gamma, beta = array(2, 3, 8), array(8), array(8)
    check("layer_norm", {}, (x, gamma, beta), mx.nd.LayerNorm(nd(x), nd(gamma), nd(beta)))


@pytest.mark.parametrize("mode", ["instance", "channel", "spatial"])
def test_l2_normalize(mode):
    x = array(2, 3, 4, 5)
    check("l2_normalize", {"mode": mode}, (x,), mx.nd.L2Normalization(nd(x), mode=mode))


@pytest.mark.parametrize("op", ["softmax", "log_softmax"])
def test_softmax(op):
    x = array(2, 3, 4, low=-30, high=30)
    expected = getattr(mx.nd, op)(nd(x), axis=1, temperature=3.0)
    check(op, {"axis": 1, "temperature": 3.0}, (x,), expected)


# ---------------------------------------------------------------- pooling
POOLS = [
    # kernel, stride, pad, image
    ((2, 2), (2, 2), (0, 0), (6, 7)),
    ((3, 3), (2, 2), (1, 1), (8, 9)),
    ((3, 3), (2, 2), (0, 0), (8, 8)),
    ((3, 2), (3, 1), (1, 1), (7, 5)),
    ((3, 3), (3, 3), (1, 1), (6, 6)),
    ((2, 2), (3, 3), (1, 1), (6, 9)),
    ((5, 5), (1, 1), (2, 2), (5, 6)),
]


@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize(("kernel", "stride", "pad", "image"), POOLS)
def test_max_pool(kernel, stride, pad, image, ceil_mode):
    x = array(2, 3, *image, low=-3, high=-1)
    expected = mx.nd.Pooling(
        nd(x), kernel=kernel, stride=stride, pad=pad, pool_type="max",
        pooling_convention="full" if ceil_mode else "valid",
    )  # fmt: skip
    attrs = {"kernel": list(kernel), "stride": list(stride), "pad": [*pad, *pad]}
    check("max_pool", {**attrs, "ceil_mode": ceil_mode}, (x,), expected)


@pytest.mark.parametrize("count_pad", [False, True])
@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize(("kernel", "stride", "pad", "image"), POOLS)
def test_avg_pool(kernel, stride, pad, image, ceil_mode, count_pad):
    x = array(2, 3, *image)
    expected = mx.nd.Pooling(
        nd(x), kernel=kernel, stride=stride, pad=pad, pool_type="avg",
        pooling_convention="full" if ceil_mode else "valid", count_include_pad=count_pad,
    )  # fmt: skip
    attrs = {
        "kernel": list(kernel),
        "stride": list(stride),
        "pad": [*pad, *pad],
        "ceil_mode": ceil_mode,
        "count_pad": count_pad,
    }
    check("avg_pool", attrs, (x,), expected)


@pytest.mark.parametrize("stride", [3, 5])
@pytest.mark.parametrize("count_pad", [False, True])
@pytest.mark.parametrize("kind", ["max", "avg"])
def test_windows_past_the_end_are_as_empty_as_in_mxnet(kind, count_pad, stride):
    x = array(1, 2, 5, 5)
    expected = mx.nd.Pooling(
        nd(x), kernel=(1, 1), stride=(stride, stride), pool_type=kind, pooling_convention="full",
        count_include_pad=count_pad,
    )  # fmt: skip
    attrs = {"kernel": [1, 1], "stride": [stride, stride], "ceil_mode": True}
    extra = {"count_pad": count_pad} if kind == "avg" else {}
    check(f"{kind}_pool", {**attrs, **extra}, (x,), expected)


@pytest.mark.parametrize("kind", ["max", "avg"])
def test_global_pool(kind):
    x = array(2, 3, 4, 5)
    expected = mx.nd.Pooling(nd(x), global_pool=True, pool_type=kind, kernel=(1, 1))
    check(f"global_{kind}_pool", {}, (x,), expected)


@pytest.mark.parametrize("output", [(1, 1), (3, 4), (2, 7), (9, 6)])
def test_adaptive_avg_pool(output):
    x = array(2, 3, 7, 9)
    expected = mx.nd.contrib.AdaptiveAvgPooling2D(nd(x), output_size=output)
    check("adaptive_avg_pool", {"output": list(output)}, (x,), expected)


def test_upsample():
    x = array(2, 3, 4, 5)
    check("upsample", {"factor": 3}, (x,), mx.nd.UpSampling(nd(x), scale=3, sample_type="nearest"))


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize("size", [(7, 9), (3, 11), (1, 1), (4, 5)])
def test_resize_bilinear(size, align_corners):
    x = array(2, 3, 4, 5)
    expected = mx.nd.contrib.BilinearResize2D(
        nd(x), height=size[0], width=size[1], align_corners=align_corners
    )
    check("resize_bilinear", {"size": list(size), "align_corners": align_corners}, (x,), expected)


# ---------------------------------------------------------------- shape
@pytest.mark.parametrize("axis", [1, -1])
def test_concat(axis):
    x, y = array(2, 3, 4), array(2, 5, 4) if axis == 1 else array(2, 3, 5)
    check("concat", {"axis": axis}, (x, y), mx.nd.concat(nd(x), nd(y), dim=axis))


@pytest.mark.parametrize(
    "shape",
    [
        (0, -1),
        (-1, 4),
        (-2,),
        (-3, 0),
        (0, -3),
        (-4, 2, 1, -2),
        (0, -4, -1, 3, -2),
        (4, 3, 2),
        (0, -2),
        (6, -1),
    ],
)
def test_reshape(shape):
    x = array(2, 3, 4)
    check("reshape", {"shape": list(shape)}, (x,), mx.nd.reshape(nd(x), shape=shape))


def test_flatten():
    x = array(2, 3, 4)
    check("flatten", {}, (x,), mx.nd.flatten(nd(x)))


def test_transpose():
    x = array(2, 3, 4)
    check("transpose", {"axes": [2, 0, 1]}, (x,), mx.nd.transpose(nd(x), axes=(2, 0, 1)))


@pytest.mark.parametrize("axis", [0, 2, -1])
def test_expand_dims(axis):
    x = array(2, 3)
    check("expand_dims", {"axis": axis}, (x,), mx.nd.expand_dims(nd(x), axis=axis))


@pytest.mark.parametrize("axes", [[], [1], [1, 3]])
def test_squeeze(axes):
    x = array(2, 1, 3, 1)
    expected = mx.nd.squeeze(nd(x), axis=tuple(axes) or None)
    check("squeeze", {"axes": axes}, (x,), expected)


@pytest.mark.parametrize(("axis", "begin", "end"), [(1, 1, 3), (-1, 0, 2**31 - 1), (1, -2, -1)])
def test_slice_axis(axis, begin, end):
    x = array(2, 4, 3)
    expected = mx.nd.slice_axis(nd(x), axis=axis, begin=begin, end=end if end < 2**31 - 1 else None)
    check("slice_axis", {"axis": axis, "begin": begin, "end": end}, (x,), expected)


@pytest.mark.parametrize("squeeze", [False, True])
def test_split(squeeze):
    x = array(2, 4, 3)
    parts = 4 if squeeze else 2
    expected = mx.nd.split(nd(x), num_outputs=parts, axis=1, squeeze_axis=squeeze)
    check("split", {"axis": 1, "squeeze": squeeze}, (x,), expected)


def test_pad():
    x = array(1, 2, 3, 4)
    width = (0, 0, 0, 0, 1, 2, 3, 0)
    expected = mx.nd.pad(nd(x), mode="constant", pad_width=width, constant_value=1.5)
    check("pad", {"width": list(width), "value": 1.5}, (x,), expected)


@pytest.mark.parametrize("op", ["mean", "sum", "max"])
@pytest.mark.parametrize(("axes", "keepdims"), [([1], False), ([1, 2], True), ([-1], False)])
def test_reduction(op, axes, keepdims):
    x = array(2, 3, 4)
    expected = getattr(mx.nd, op)(nd(x), axis=tuple(axes), keepdims=keepdims)
    check(op, {"axes": axes, "keepdims": keepdims}, (x,), expected)


@pytest.mark.parametrize("shape", [(3,), (2, 5), (4, 3, 2, 2)])
def test_peak(shape):
    x = array(*shape)
    rows = nd(x).reshape((shape[0], -1))
    low, high = mx.nd.minimum(rows.min(axis=1), 0), mx.nd.maximum(rows.max(axis=1), 0)
    expected = mx.nd.stack(low, high, axis=1)
    check("peak", {}, (x,), expected)


@pytest.mark.parametrize("op", ["mean", "sum", "max"])
def test_reduction_of_everything_is_a_scalar(op):
    x = array(2, 3)
    (y,) = run(op, {}, x)
    assert y.shape == ()
    np.testing.assert_allclose(y, getattr(mx.nd, op)(nd(x)).asscalar(), rtol=1e-5)
