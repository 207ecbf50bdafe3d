"""Every operator of the table in MXNet operators, for arrays and symbols alike.

An entry is ``f(c, *inputs)``: ``c`` is the :class:`Call`, inputs are NDArrays or Symbols (None for
an absent one), the result one output or a list. An int8 tensor of the graph is carried as its real
values (code * scale), so a lowered graph runs as its own simulation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from gluonzip.errors import UnsupportedError
from gluonzip.gluon._mxnet import mx
from gluonzip.gluon.fake_quantize import fake_quantize, fake_quantize_dynamic
from gluonzip.gluon.precision import in_float32
from gluonzip.gluon.weight_schemes import Parts, binary

TO_THE_END = 2**31 - 1
CONTROL_FLOW = ("_foreach", "_while_loop", "_cond")
_PREFIXES = {
    "_contrib_": "contrib",
    "_linalg_": "linalg",
    "_sparse_": "sparse",
    "_image_": "image",
    "_random_": "random",
}


@dataclass(frozen=True, eq=False)
class Call:
    """One node's evaluation: ``F`` is mx.nd or mx.sym, ``a`` the attributes, ``shapes`` those of
    the node's inputs as far as they are known."""

    F: Any
    name: str
    a: SimpleNamespace
    shapes: list[tuple[int, ...] | None]

    def __call__(self, operator: str, *inputs: Any, name: str | None = None, **attrs: Any) -> Any:
        """An MXNet operator by its registered name; the node's name goes to ``name="="``."""
        given = {"name": self.name} if name == "=" else {}
        return find_operator(self.F, operator)(*inputs, **attrs, **given)

    def shape(self, index: int) -> tuple[int, ...]:
        shape = self.shapes[index]
        if shape is None:
            raise UnsupportedError(
                f"node {self.name!r} lies behind an opaque operator, and its shape is needed to "
                "rebuild it"
            )
        return shape


def find_operator(F: Any, operator: str) -> Callable[..., Any]:
    """The function of a registered MXNet operator; UnsupportedError when there is none."""
    for prefix, module in _PREFIXES.items():
        if operator.startswith(prefix):
            found = getattr(getattr(F, module), operator.removeprefix(prefix), None)
            if found is not None:
                return found
    for module in (F.op, F._internal):
        found = getattr(module, operator, None)
        if found is not None:
            return found
    if operator.startswith(("_sg_mkldnn", "_contrib_quantized")):
        raise UnsupportedError(
            f"operator {operator!r} needs an MXNet built with oneDNN (mx.runtime.Features() says "
            "MKLDNN); compress the network that MXNet quantized instead"
        )
    raise UnsupportedError(
        f"operator {operator!r} is not registered with MXNet {mx.__version__}: load the library "
        "that brings it (mx.library.load) before rebuilding"
    )


def check_operator(name: str, operator: str, attrs: Mapping[str, str]) -> None:
    """UnsupportedError for an operator of node ``name`` that MXNet cannot be asked for again."""
    if operator in CONTROL_FLOW:
        raise UnsupportedError(
            f"node {name!r} is control flow ({operator.lstrip('_')}), whose body is no part of the "
            "graph: unroll it (cell.unroll, a Python loop of fixed length), or compress the blocks "
            "inside it one by one"
        )
    if operator == "Custom" and not _registered(attrs.get("op_type", "")):
        kind = attrs.get("op_type", "?")
        raise UnsupportedError(
            f"node {name!r} is the custom operator {kind!r}, which this process has not "
            f"registered: import the module with @mx.operator.register({kind!r}) first"
        )
    find_operator(mx.sym, operator)


def _registered(kind: str) -> bool:
    """Does MXNet know a custom operator?"""
    try:
        mx.sym.Custom(mx.sym.var("x"), op_type=kind)
    except mx.MXNetError as error:
        return "Cannot find" not in str(error)
    return True


OPERATORS: dict[str, Callable[..., Any]] = {}


def _rebuilds(*ops: str) -> Callable:
    def register(function: Callable) -> Callable:
        for op in ops:
            assert op not in OPERATORS, op
            OPERATORS[op] = function
        return function

    return register


def run(c: Call, op: str, inputs: list[Any]) -> list[Any]:
    """Outputs of one node; the fused activation and the rounding to ``out_scale`` included."""
    outputs = OPERATORS[op](c, *inputs)
    outputs = list(outputs) if isinstance(outputs, (list, tuple)) else [outputs]
    return [finish(c, y) for y in outputs]


def finish(c: Call, y: Any, residual: Any = None) -> Any:
    """What the table's epilogue adds behind an operator."""
    a = c.a
    if residual is not None:
        y = c("broadcast_add", y, residual)
    act = getattr(a, "act", "none")
    if act == "relu":
        y = c("relu", y)
    elif act == "clip":
        y = c("clip", y, a_min=a.act_min, a_max=a.act_max)
    elif act == "leaky_relu":
        y = c("LeakyReLU", y, act_type="leaky", slope=a.act_slope)
    if getattr(a, "out_scale", None) is not None:
        y = _round(c, y, a.out_scale, a.unsigned)
    return y


def _round(c: Call, x: Any, scale: float, unsigned: bool) -> Any:
    """``x`` as codes times a fixed ``scale``."""
    step = c.F.full((1,), float(np.float32(scale)))
    return in_float32(
        c.F, x, "float32", lambda x: fake_quantize(c.F, x, step, 8, unsigned=unsigned)
    )


# ---------------------------------------------------------------- weighted, weight computed
@_rebuilds("conv2d")
def conv2d(c: Call, x: Any, weight: Any, bias: Any = None, residual: Any = None) -> Any:
    a, shape = c.a, c.shape(1)
    x, pad = same_on_both_sides(c, x, a.pad)
    y = c(
        "Convolution",
        *_present(x, weight, bias),
        name="=",
        kernel=shape[2:],
        stride=tuple(a.stride),
        pad=pad,
        dilate=tuple(a.dilation),
        num_filter=shape[0],
        num_group=a.groups,
        no_bias=bias is None,
    )
    return y if residual is None else c("broadcast_add", y, residual)


@_rebuilds("conv_transpose2d")
def conv_transpose2d(c: Call, x: Any, weight: Any, bias: Any = None, residual: Any = None) -> Any:
    a, shape = c.a, c.shape(1)
    y = c(
        "Deconvolution",
        *_present(x, weight, bias),
        name="=",
        kernel=shape[2:],
        stride=tuple(a.stride),
        pad=(0, 0) if uneven(a.pad) else tuple(a.pad[:2]),
        dilate=tuple(a.dilation),
        adj=tuple(a.output_pad),
        num_filter=shape[1] * a.groups,
        num_group=a.groups,
        no_bias=bias is None,
    )
    y = cropped(c, y, a.pad) if uneven(a.pad) else y
    return y if residual is None else c("broadcast_add", y, residual)


@_rebuilds("dense")
def dense(c: Call, x: Any, weight: Any, bias: Any = None, residual: Any = None) -> Any:
    y = c(
        "FullyConnected",
        *_present(x, weight, bias),
        name="=",
        num_hidden=c.shape(1)[0],
        flatten=c.a.flatten,
        no_bias=bias is None,
    )
    return y if residual is None else c("broadcast_add", y, residual)


@_rebuilds("embedding")
def embedding(c: Call, x: Any, weight: Any) -> Any:
    rows, units = c.shape(1)
    return c("Embedding", x, weight, name="=", input_dim=rows, output_dim=units)


def _present(*inputs: Any) -> list[Any]:
    return [x for x in inputs if x is not None]


def uneven(pad: list[int]) -> bool:
    """Whether padding differs between the two ends of an axis."""
    return list(pad[:2]) != list(pad[2:])


def same_on_both_sides(
    c: Call, x: Any, pad: list[int], value: float = 0.0
) -> tuple[Any, tuple[int, int]]:
    """``x`` and what is left to pad for an operator that pads both ends alike."""
    if not uneven(pad):
        return x, tuple(pad[:2])
    top, left, bottom, right = pad
    width = (0, 0, 0, 0, top, bottom, left, right)
    return c("Pad", x, mode="constant", pad_width=width, constant_value=value), (0, 0)


def cropped(c: Call, y: Any, pad: list[int]) -> Any:
    """``y`` without ``pad`` rows and columns."""
    top, left, bottom, right = pad
    y = c("slice_axis", y, axis=2, begin=top, end=-bottom or None)
    return c("slice_axis", y, axis=3, begin=left, end=-right or None)


# ---------------------------------------------------------------- normalization
@_rebuilds("batch_norm")
def batch_norm(c: Call, x: Any, gamma: Any, beta: Any, mean: Any, var: Any) -> Any:
    """Of parameters that are computed: as at inference."""
    scale = c("broadcast_div", gamma, c("sqrt", var + c.a.eps))
    shift = c("broadcast_sub", beta, c("broadcast_mul", mean, scale))
    return _along(c, x, scale, shift)


@_rebuilds("scale_shift")
def scale_shift(c: Call, x: Any, scale: Any, shift: Any) -> Any:
    return _along(c, x, scale, shift)


def _along(c: Call, x: Any, scale: Any, shift: Any) -> Any:
    shape = [1] * len(c.shape(0))
    shape[c.a.axis] = -1
    y = c("broadcast_mul", x, c("reshape", scale, shape=tuple(shape)))
    return c("broadcast_add", y, c("reshape", shift, shape=tuple(shape)))


@_rebuilds("layer_norm")
def layer_norm(c: Call, x: Any, gamma: Any, beta: Any) -> Any:
    return c("LayerNorm", x, gamma, beta, name="=", axis=c.a.axis, eps=c.a.eps)


@_rebuilds("l2_normalize")
def l2_normalize(c: Call, x: Any) -> Any:
    return c("L2Normalization", x, name="=", eps=c.a.eps, mode=c.a.mode)


# ---------------------------------------------------------------- element-wise
_SAME_NAME = ("relu", "sigmoid", "tanh", "softsign", "exp", "log", "sqrt", "rsqrt", "abs", "erf")
_SAME_NAME += ("negative", "square", "floor", "ceil")
for _op in _SAME_NAME:
    OPERATORS[_op] = lambda c, x, operator=_op: c(operator, x, name="=")
_SCALAR = {
    "add_scalar": "_plus_scalar",
    "mul_scalar": "_mul_scalar",
    "rsub_scalar": "_rminus_scalar",
    "rdiv_scalar": "_rdiv_scalar",
    "pow_scalar": "_power_scalar",
    "max_scalar": "_maximum_scalar",
    "min_scalar": "_minimum_scalar",
}
for _op, _operator in _SCALAR.items():
    OPERATORS[_op] = lambda c, x, operator=_operator: c(operator, x, name="=", scalar=c.a.value)
_BINARY = ("add", "sub", "mul", "div", "maximum", "minimum")
for _op in _BINARY:
    OPERATORS[_op] = lambda c, x, y, operator=f"broadcast_{_op}": c(operator, x, y, name="=")


@_rebuilds("softplus")
def softplus(c: Call, x: Any) -> Any:
    return c("Activation", x, name="=", act_type="softrelu")


@_rebuilds("gelu")
def gelu(c: Call, x: Any) -> Any:
    return c("LeakyReLU", x, name="=", act_type="gelu")


@_rebuilds("leaky_relu")
def leaky_relu(c: Call, x: Any) -> Any:
    return c("LeakyReLU", x, name="=", act_type="leaky", slope=c.a.slope)


@_rebuilds("elu")
def elu(c: Call, x: Any) -> Any:
    return c("LeakyReLU", x, name="=", act_type="elu", slope=c.a.slope)


@_rebuilds("selu")
def selu(c: Call, x: Any) -> Any:
    return c("LeakyReLU", x, name="=", act_type="selu")


@_rebuilds("prelu")
def prelu(c: Call, x: Any, slope: Any) -> Any:
    return c("LeakyReLU", x, slope, name="=", act_type="prelu")


@_rebuilds("hard_sigmoid")
def hard_sigmoid(c: Call, x: Any) -> Any:
    return c("hard_sigmoid", x, name="=", alpha=c.a.alpha, beta=c.a.beta)


@_rebuilds("hard_swish")
def hard_swish(c: Call, x: Any) -> Any:
    return c("broadcast_mul", x, c("clip", x + 3, a_min=0, a_max=6)) / 6


@_rebuilds("swish")
def swish(c: Call, x: Any) -> Any:
    return c("broadcast_mul", x, c("sigmoid", x * c.a.beta))


@_rebuilds("clip")
def clip(c: Call, x: Any) -> Any:
    return c("clip", x, name="=", a_min=c.a.min, a_max=c.a.max)


@_rebuilds("identity")
def identity(c: Call, x: Any) -> Any:
    rate = getattr(c.a, "dropout", None)
    if rate is not None:
        return c("Dropout", x, name="=", p=rate)
    if getattr(c.a, "cast", False):
        return c("Cast", x, name="=", dtype="float32")
    return c("identity", x, name="=")


# ---------------------------------------------------------------- pooling
@_rebuilds("max_pool")
def max_pool(c: Call, x: Any) -> Any:
    x, pad = same_on_both_sides(c, x, c.a.pad, value=-3.4028235e38)
    return _pool(c, x, pad, pool_type="max")


@_rebuilds("avg_pool")
def avg_pool(c: Call, x: Any) -> Any:
    a = c.a
    if a.count_pad or not uneven(a.pad):
        x, pad = same_on_both_sides(c, x, a.pad)
        return _pool(c, x, pad, pool_type="avg", count_include_pad=a.count_pad)
    ones, _ = same_on_both_sides(c, c("ones_like", x), a.pad)
    x, pad = same_on_both_sides(c, x, a.pad)
    total, inside = (_pool(c, y, pad, pool_type="avg") for y in (x, ones))
    return c("broadcast_div", total, inside)


def _pool(c: Call, x: Any, pad: tuple[int, int], **attrs: Any) -> Any:
    a = c.a
    convention = "full" if a.ceil_mode else "valid"
    kernel, stride = tuple(a.kernel), tuple(a.stride)
    attrs |= {"kernel": kernel, "stride": stride, "pad": pad, "pooling_convention": convention}
    return c("Pooling", x, name="=", **attrs)


@_rebuilds("global_max_pool")
def global_max_pool(c: Call, x: Any) -> Any:
    return c("Pooling", x, name="=", pool_type="max", global_pool=True, kernel=(1, 1))


@_rebuilds("global_avg_pool")
def global_avg_pool(c: Call, x: Any) -> Any:
    return c("Pooling", x, name="=", pool_type="avg", global_pool=True, kernel=(1, 1))


@_rebuilds("adaptive_avg_pool")
def adaptive_avg_pool(c: Call, x: Any) -> Any:
    return c("_contrib_AdaptiveAvgPooling2D", x, name="=", output_size=tuple(c.a.output))


@_rebuilds("upsample")
def upsample(c: Call, x: Any) -> Any:
    return c("UpSampling", x, name="=", scale=c.a.factor, sample_type="nearest")


@_rebuilds("resize_bilinear")
def resize_bilinear(c: Call, x: Any) -> Any:
    height, width = c.a.size
    size = {"height": height, "width": width, "align_corners": c.a.align_corners}
    return c("_contrib_BilinearResize2D", x, name="=", **size)


# ---------------------------------------------------------------- shape
@_rebuilds("concat")
def concat(c: Call, *xs: Any) -> Any:
    return c("Concat", *xs, name="=", dim=c.a.axis)


@_rebuilds("flatten")
def flatten(c: Call, x: Any) -> Any:
    return c("Flatten", x, name="=")


@_rebuilds("reshape")
def reshape(c: Call, x: Any) -> Any:
    return c("Reshape", x, name="=", shape=tuple(c.a.shape))


@_rebuilds("transpose")
def transpose(c: Call, x: Any) -> Any:
    return c("transpose", x, name="=", axes=tuple(c.a.axes))


@_rebuilds("expand_dims")
def expand_dims(c: Call, x: Any) -> Any:
    return c("expand_dims", x, name="=", axis=c.a.axis)


@_rebuilds("squeeze")
def squeeze(c: Call, x: Any) -> Any:
    return c("squeeze", x, name="=", axis=tuple(c.a.axes) or None)


@_rebuilds("slice_axis")
def slice_axis(c: Call, x: Any) -> Any:
    end = None if c.a.end == TO_THE_END else c.a.end
    return c("slice_axis", x, name="=", axis=c.a.axis, begin=c.a.begin, end=end)


@_rebuilds("split")
def split(c: Call, x: Any) -> Any:
    a = c.a
    attrs = {"num_outputs": a.n_outputs, "axis": a.axis, "squeeze_axis": a.squeeze}
    y = c("SliceChannel", x, name="=", **attrs)
    return list(y) if a.n_outputs > 1 else y


@_rebuilds("pad")
def pad(c: Call, x: Any) -> Any:
    width, value = list(c.a.width), c.a.value
    if len(width) in (8, 10) and not any(width[:4]):
        attrs = {"mode": "constant", "pad_width": tuple(width), "constant_value": value}
        return c("Pad", x, name="=", **attrs)
    for axis, sides in enumerate(zip(width[::2], width[1::2], strict=True)):
        slab = c("slice_axis", x, axis=axis, begin=0, end=1)
        slab = c("zeros_like", slab) + value
        parts = [c("broadcast_axis", slab, axis=axis, size=n) if n else None for n in sides]
        parts = _present(parts[0], x, parts[1])
        x = c("Concat", *parts, dim=axis) if len(parts) > 1 else x
    return x


# ---------------------------------------------------------------- reductions and the like
for _op in ("softmax", "log_softmax"):
    OPERATORS[_op] = lambda c, x, operator=_op: c(
        operator, x, name="=", axis=c.a.axis, temperature=c.a.temperature
    )
for _op in ("mean", "sum", "max"):
    OPERATORS[_op] = lambda c, x, operator=_op: c(
        operator, x, name="=", axis=tuple(c.a.axes), keepdims=c.a.keepdims
    )


@_rebuilds("peak")
def peak(c: Call, x: Any) -> Any:
    flat = c("reshape", x, shape=(0, -1))
    zeros = c("zeros_like", c("slice_axis", flat, axis=1, begin=0, end=1))
    rows = c("concat", flat, zeros, dim=1)
    return c("stack", c("min", rows, axis=1), c("max", rows, axis=1), name="=", axis=1)


@_rebuilds("matmul")
def matmul(c: Call, x: Any, y: Any) -> Any:
    flags = {"transpose_a": c.a.transpose_a, "transpose_b": c.a.transpose_b}
    if None in c.shapes:  # behind an opaque operator: by far the commonest, and it checks the rank
        return c("batch_dot", x, y, name="=", **flags)
    ranks = {len(c.shape(0)), len(c.shape(1))}
    if ranks in ({2}, {3}) and c.shape(0)[:-2] == c.shape(1)[:-2]:
        return c("dot" if ranks == {2} else "batch_dot", x, y, name="=", **flags)
    if len(ranks) == 1 and c.shape(0)[:-2] == c.shape(1)[:-2]:
        return c("_linalg_gemm2", x, y, name="=", **flags)
    raise UnsupportedError(
        f"matmul {c.name!r} broadcasts its batch axes {c.shape(0)[:-2]} and {c.shape(1)[:-2]}, "
        "which no MXNet operator does"
    )


# ---------------------------------------------------------------- quantization
@_rebuilds("quantize")
def quantize(c: Call, x: Any) -> Any:
    return _round(c, x, c.a.scale, c.a.unsigned)


@_rebuilds("dequantize")
def dequantize(c: Call, x: Any) -> Any:
    return c("identity", x, name="=")


@_rebuilds("fake_quantize")
def fake_quantizer(c: Call, x: Any, scale: Any) -> Any:
    axis = None
    shape = [1]
    if c.a.bits == 1 or len(c.shape(1)) == 2:
        return _weight_quantizer(c, x, scale)
    if c.shape(1) not in ((), (1,)) or (c.shape(1) == (1,) and len(c.shape(0)) > 1):
        axis = c.a.axis
        shape = [1] * len(c.shape(0))
        shape[axis] = -1
    scale = c("reshape", scale, shape=tuple(shape))

    def quantizer(x: Any) -> Any:
        return fake_quantize(c.F, x, scale, c.a.bits, axis, unsigned=c.a.unsigned)

    return in_float32(c.F, x, "float32", quantizer)


def _weight_quantizer(c: Call, x: Any, scale: Any) -> Any:
    """Of binary weights, and of those with scales per group."""
    groups = c.shape(1)[1] if len(c.shape(1)) == 2 else 1
    parts = Parts(c.shape(0), c.a.axis if c.shape(1) else None, groups)
    shape = [1] * len(c.shape(0))
    if groups > 1:
        shape = [-1, 1]
    elif c.shape(1):
        shape[c.a.axis] = -1
    scale = c("reshape", scale, shape=tuple(shape))
    if c.a.bits == 1:
        return binary(c.F, x, scale, parts)
    return fake_quantize(c.F, x, scale, c.a.bits, spread=parts.spread, **parts.facts())


@_rebuilds("fake_quantize_dynamic")
def dynamic_quantizer(c: Call, x: Any) -> Any:
    return in_float32(c.F, x, "float32", lambda x: fake_quantize_dynamic(c.F, x, c.a.bits))


# ---------------------------------------------------------------- foreign
@_rebuilds("opaque")
def opaque(c: Call, *xs: Any) -> Any:
    """Called by its MXNet name with its own (string) attributes."""
    attrs = {k: v for k, v in c.a.attrs.items() if not (k == "dtype" and v == "None")}
    y = find_operator(c.F, c.a.operator)(*xs, name=c.name, **attrs)
    if isinstance(y, (list, tuple)):
        return list(y)[: c.a.n_outputs]
    if c.F is mx.sym and len(y.list_outputs()) > 1:
        return [y[i] for i in range(c.a.n_outputs)]
    return y
