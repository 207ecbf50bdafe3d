"""THE op table: every operator that a graph may hold, with its inputs, attributes and meaning.

One row per operator. A row says which inputs it takes ("name?" is optional, "name*" is one or
more), its attributes with their defaults, how shapes follow and what it costs. What an operator
computes is defined by its function in ``reference/``: engine and exporters must match it.

Integer semantics (all float arithmetic is float32, each step rounded; no fused multiply-add):

* A tensor of codes is int8, codes in [-127, 127], or uint8, codes in [0, 255], as its dtype says.
  Either way real value = code * scale and the zero point is 0. Below, "codes" are of either type,
  operands may differ in it, and [low, high] is the range of the output's. Codes that a node makes
  are int8, or uint8 if its attribute ``unsigned`` is set; it means nothing without ``out_scale``.
* Scales are float32 numbers: a scale attribute is rounded to float32 before anything else happens.
* ``quantize``: ``code = rint(clip(x * (float32(1) / scale), low, high))``; ties go to even.
* conv2d, conv_transpose2d, dense on codes and an int8 weight: the accumulator is exact int32.
  With ``out_scale`` so (the output holds codes)::

      m[c] = float32(float64(sx) * float64(sw[c]) / float64(so))    b[c] = float32(bias[c] / so)
      y = float32(acc) * m[c] + b[c]
      y = y + float32(residual code) * float32(float64(sr) / float64(so))     residual of codes
      y = y + residual * (float32(1) / so)                                    float32 residual
      y = act(y)   with act_min/act_max divided by so (float32(float64(v) / float64(so)))
      code = rint(clip(y, low, high))

  Without ``out_scale`` (output is float32) the same with so = 1. An absent bias counts as 0.
* A weight with a scale for each group of weights of an output (per group) counts as its real
  values, whatever the input.
* conv2d and dense with ``dynamic``, and a weight of codes with one scale an output at most, make
  codes of the real values of their input, of the scale of the largest; then all is as on int8
  input::

      sx = float32(max|x|) / float32(127), or 1 if that is not above 2^-126
      code = rint(clip(x * (float32(1) / sx), -127, 127))

* On float32 input with a quantized weight the weight counts as its real values (weight-only). On
  codes with a float32 weight the input counts as its real values. In both, ``out_scale``
  quantizes the float32 result as ``quantize`` does.
* add on two inputs of codes, with so = 1 if there is no ``out_scale``::

      y = a * float32(float64(sa) / float64(so)) + b * float32(float64(sb) / float64(so))

  then act and rounding as above.
* mul on two inputs of codes, with so = 1 if there is no ``out_scale``, then rounding as above::

      y = float32(a * b) * float32(float64(sa) * float64(sb) / float64(so))

* avg_pool, global_avg_pool, adaptive_avg_pool and mean on codes, with so = 1 if there is no
  ``out_scale``::

      y = float32(sum of codes) * (float32(float64(sx) / float64(so)) / float32(count))

  then rounding as above.
* resize_bilinear on codes mixes four codes, of two rows r0, r1 and two columns c0, c1 with
  weights wr and wc of the second, with so = 1 if there is no ``out_scale``::

      t[c] = x[r0, c] * (1 - wr) + x[r1, c] * wr          for c = c0 and c = c1
      y = (t[c0] * (1 - wc) + t[c1] * wc) * float32(float64(sx) / float64(so))

  then rounding as above.
* relu, max_pool, global_max_pool, flatten, reshape, expand_dims, squeeze, transpose, slice_axis,
  split, upsample, max, identity, pad act on codes and keep dtype and scale (pad's value must be
  0 then). relu with an ``out_scale`` and codes other than its input's falls under the next rule.
* Every other operator on codes dequantizes (code * scale), computes in float32, and, if
  ``out_scale`` is set, quantizes the result (as ``quantize``); else its output is float32. concat
  on codes requires ``out_scale``; an input whose dtype and scale are the output's is copied.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from gluonzip.graph import shapes

REQUIRED = object()
"""Default of an attribute that has none."""

_TYPE_WITHOUT_DEFAULT = {
    "kernel": "ints", "output": "ints", "size": "ints", "shape": "ints", "axes": "ints",
    "width": "ints", "axis": "int", "operator": "str",
    "min": "float", "max": "float", "value": "float", "scale": "float", "out_scale": "float",
}  # fmt: skip
_TYPE_OF_DEFAULT = {bool: "bool", int: "int", float: "float", str: "str", list: "ints", dict: "map"}


@dataclass(frozen=True)
class OpSpec:
    """A row of the table.

    ``inputs``: names, with "?" for optional and "*" for variadic. ``attrs``: default values.
    ``shape``: rule from attributes and input shapes to output shapes, ``macs``: rule for the
    multiply-accumulates (see :mod:`gluonzip.graph.shapes`). ``on_codes``: acts on codes and keeps
    their dtype and scale. ``weight_axis``: axis of the weight that counts output channels (None: no
    weight); the weight is always ``inputs[1]``.
    """

    name: str
    inputs: tuple[str, ...]
    shape: Callable[..., Any]
    attrs: dict[str, Any] = field(default_factory=dict)
    doc: str = ""
    macs: Callable[..., int] | None = None
    on_codes: bool = False
    weight_axis: int | None = None

    @property
    def required(self) -> tuple[str, ...]:
        """Names of the attributes that have no default."""
        return tuple(name for name, default in self.attrs.items() if default is REQUIRED)

    def type_of(self, attr: str) -> str:
        """``bool``, ``int``, ``float``, ``str``, ``ints`` or ``map`` (opaque's own attributes)."""
        default = self.attrs[attr]
        if default is REQUIRED or default is None:
            return _TYPE_WITHOUT_DEFAULT[attr]
        return _TYPE_OF_DEFAULT[type(default)]

    def fill(self, attrs: Mapping[str, Any], n_outputs: int = 1) -> SimpleNamespace:
        """``attrs`` with the defaults filled in, as a namespace; required ones must be there."""
        return SimpleNamespace(**{**self.attrs, **attrs}, n_outputs=n_outputs)


OPS: dict[str, OpSpec] = {}


def _op(
    name: str,
    inputs: str,
    doc: str = "",
    *,
    rule: Callable[..., Any] = shapes.same,
    macs: Callable[..., int] | None = None,
    on_codes: bool = False,
    weight_axis: int | None = None,
    **attrs: Any,
) -> None:
    OPS[name] = OpSpec(name, tuple(inputs.split()), rule, attrs, doc, macs, on_codes, weight_axis)


_CODES: dict[str, Any] = {
    "out_scale": None,  # float: the output holds codes of this scale, else float32
    "unsigned": False,  # those codes are uint8
}
_ACTIVATION: dict[str, Any] = {
    "act": "none",  # none | relu | clip (act_min, act_max) | leaky_relu (act_slope)
    "act_min": 0.0,
    "act_max": 0.0,
    "act_slope": 0.0,
    **_CODES,
}
# Fused behind a weighted sum: residual add, then activation, then requantization.
_EPILOGUE = _ACTIVATION

ACTIVATIONS = ("none", "relu", "clip", "leaky_relu")
"""Values of the attribute ``act``."""

# ---------------------------------------------------------------- weighted
_op(
    "conv2d",
    "x weight bias? residual?",
    "x (N,C,H,W), weight (O,C/groups,KH,KW), bias (O,), residual as the output; pad is (top, left, "
    "bottom, right), zeros.",
    rule=shapes.conv2d,
    macs=shapes.conv2d_macs,
    weight_axis=0,
    stride=[1, 1],
    pad=[0, 0, 0, 0],
    dilation=[1, 1],
    groups=1,
    dynamic=False,
    **_EPILOGUE,
)
_op(
    "conv_transpose2d",
    "x weight bias? residual?",
    "x (N,C,H,W), weight (C,O/groups,KH,KW); output_pad adds rows and columns at the bottom right.",
    rule=shapes.conv_transpose2d,
    macs=shapes.conv_transpose2d_macs,
    weight_axis=1,
    stride=[1, 1],
    pad=[0, 0, 0, 0],
    dilation=[1, 1],
    output_pad=[0, 0],
    groups=1,
    **_EPILOGUE,
)
_op(
    "dense",
    "x weight bias? residual?",
    "y = x weight^T + bias; weight (O,I). flatten: x (N, ...) is taken as (N, I) in row-major "
    "order, output (N,O); otherwise the last axis is I and the others stay.",
    rule=shapes.dense,
    macs=shapes.conv2d_macs,
    weight_axis=0,
    flatten=True,
    dynamic=False,
    **_EPILOGUE,
)
_op(
    "embedding",
    "x weight",
    "rows of weight (V, D) by the indices in x (rounded down, clipped).",
    rule=shapes.embedding,
    weight_axis=0,
)

# ---------------------------------------------------------------- normalization
_op(
    "batch_norm",
    "x gamma beta mean var",
    "(x - mean) / sqrt(var + eps) * gamma + beta along axis; constants (C,).",
    rule=shapes.per_channel,
    eps=1e-5,
    axis=1,
)
_op(
    "scale_shift",
    "x scale shift",
    "x * scale[c] + shift[c] along axis, then the activation: what is left of a batch norm that "
    "cannot fold into a neighbour.",
    rule=shapes.per_channel,
    axis=1,
    **_EPILOGUE,
)
_op(
    "layer_norm",
    "x gamma beta",
    "(x - mean) / sqrt(variance + eps) * gamma + beta, mean and variance over one axis.",
    rule=shapes.per_channel,
    eps=1e-5,
    axis=-1,
)
_op(
    "l2_normalize",
    "x",
    "x / sqrt(sum(x^2) + eps), the sum over all axes but the first (mode instance), over axis 1 "
    "(channel) or over axes 2 and up (spatial).",
    eps=1e-10,
    mode="instance",
)

# ---------------------------------------------------------------- element-wise, one input
_op("relu", "x", "max(x, 0).", on_codes=True, **_CODES)
for _name, _doc in {
    "sigmoid": "1 / (1 + exp(-x)).",
    "tanh": "",
    "softplus": "log(1 + exp(x)).",
    "softsign": "x / (1 + |x|).",
    "gelu": "x * (1 + erf(x / sqrt 2)) / 2.",
    "exp": "",
    "log": "",
    "sqrt": "",
    "rsqrt": "1 / sqrt(x).",
    "abs": "",
    "negative": "",
    "square": "",
    "floor": "",
    "ceil": "",
    "erf": "",
}.items():
    _op(_name, "x", _doc, **_CODES)
_op("leaky_relu", "x", "x if x > 0 else slope * x.", slope=0.25, **_CODES)
_op("elu", "x", "x if x > 0 else slope * (exp(x) - 1).", slope=1.0, **_CODES)
_op("selu", "x", "scaled ELU with the constants of Klambauer et al. 2017.", **_CODES)
_op(
    "prelu",
    "x slope",
    "x if x > 0 else slope * x; slope (C,) along axis 1, or (1,).",
    rule=shapes.prelu,
    **_CODES,
)
_op("hard_sigmoid", "x", "clip(alpha * x + beta, 0, 1).", alpha=0.2, beta=0.5, **_CODES)
_op("hard_swish", "x", "x * clip(x + 3, 0, 6) / 6.", **_CODES)
_op("swish", "x", "x * sigmoid(beta * x).", beta=1.0, **_CODES)
_op("clip", "x", "min(max(x, min), max).", min=REQUIRED, max=REQUIRED, **_CODES)
_op("add_scalar", "x", "x + value.", value=REQUIRED, **_CODES)
_op("mul_scalar", "x", "x * value.", value=REQUIRED, **_CODES)
_op("rsub_scalar", "x", "value - x.", value=REQUIRED, **_CODES)
_op("rdiv_scalar", "x", "value / x.", value=REQUIRED, **_CODES)
_op("pow_scalar", "x", "x ** value.", value=REQUIRED, **_CODES)
_op("max_scalar", "x", "max(x, value).", value=REQUIRED, **_CODES)
_op("min_scalar", "x", "min(x, value).", value=REQUIRED, **_CODES)
_op("identity", "x", "Dropout and the like, at inference.", on_codes=True)

# ---------------------------------------------------------------- element-wise, two inputs
_op(
    "add",
    "a b",
    "a + b with NumPy broadcasting, then the activation.",
    rule=shapes.broadcast,
    **_ACTIVATION,
)
for _name in ("sub", "mul", "div", "maximum", "minimum"):
    _op(_name, "a b", "NumPy broadcasting.", rule=shapes.broadcast, **_CODES)

# ---------------------------------------------------------------- pooling
_POOL: dict[str, Any] = {
    "kernel": REQUIRED,  # [kh, kw]
    "stride": [1, 1],
    "pad": [0, 0, 0, 0],  # top, left, bottom, right
    "ceil_mode": False,  # MXNet's pooling_convention "full"
}
_op(
    "max_pool",
    "x",
    "(N,C,H,W); padding never wins. ceil_mode: the last window may hang over the end (MXNet's "
    'pooling_convention "full").',
    rule=shapes.pool,
    on_codes=True,
    **_POOL,
)
_op(
    "avg_pool",
    "x",
    "(N,C,H,W); count_pad: padding counts in the divisor (but not cells past it).",
    rule=shapes.pool,
    count_pad=True,
    **_CODES,
    **_POOL,
)
_op("global_max_pool", "x", "(N,C,H,W) to (N,C,1,1).", rule=shapes.global_pool, on_codes=True)
_op("global_avg_pool", "x", "(N,C,H,W) to (N,C,1,1).", rule=shapes.global_pool, **_CODES)
_op(
    "adaptive_avg_pool",
    "x",
    "output [oh, ow]; cell i averages input rows floor(i H / oh) to ceil((i + 1) H / oh) (MXNet's "
    "AdaptiveAvgPooling2D).",
    rule=shapes.adaptive_pool,
    output=REQUIRED,
    **_CODES,
)
_op(
    "upsample",
    "x",
    "nearest, by an integer factor on H and W.",
    rule=shapes.upsample,
    on_codes=True,
    factor=2,
)
_op(
    "resize_bilinear",
    "x",
    "to [h, w]; align_corners as in MXNet's BilinearResize2D, otherwise half-pixel centres.",
    rule=shapes.resize,
    size=REQUIRED,
    align_corners=True,
    **_CODES,
)

# ---------------------------------------------------------------- shape
_op("concat", "x*", "along axis.", rule=shapes.concat, axis=1, **_CODES)
_op("flatten", "x", "(N, ...) to (N, rest).", rule=shapes.flatten, on_codes=True)
_op(
    "reshape",
    "x",
    "MXNet's codes: 0 copies an axis, -1 is inferred, -2 the rest, -3 merges two, -4 splits one.",
    rule=shapes.reshape,
    on_codes=True,
    shape=REQUIRED,
)
_op(
    "transpose",
    "x",
    "output axis i is input axis axes[i].",
    rule=shapes.transpose,
    on_codes=True,
    axes=REQUIRED,
)
_op(
    "expand_dims",
    "x",
    "a new axis of length 1.",
    rule=shapes.expand_dims,
    on_codes=True,
    axis=REQUIRED,
)
_op(
    "squeeze",
    "x",
    "axes: [] squeezes every axis of length 1.",
    rule=shapes.squeeze,
    on_codes=True,
    axes=[],
)
_op(
    "slice_axis",
    "x",
    "x[begin:end] along axis; end of 2**31 - 1 means to the end.",
    rule=shapes.slice_axis,
    on_codes=True,
    axis=REQUIRED,
    begin=0,
    end=2**31 - 1,
)
_op(
    "split",
    "x",
    "into equal parts along axis: as many as the node has outputs; squeeze drops the axis.",
    rule=shapes.split,
    on_codes=True,
    axis=1,
    squeeze=False,
)
_op(
    "pad",
    "x",
    "constant padding; width is a flat list, (before, after) for each axis.",
    rule=shapes.pad,
    on_codes=True,
    width=REQUIRED,
    value=0.0,
)

# ---------------------------------------------------------------- reductions and the like
_op("softmax", "x", "of x / temperature.", rule=shapes.on_axis, axis=-1, temperature=1.0)
_op("log_softmax", "x", "of x / temperature.", rule=shapes.on_axis, axis=-1, temperature=1.0)
_op(
    "mean",
    "x",
    "axes: [] reduces all.",
    rule=shapes.reduce,
    axes=[],
    keepdims=False,
    **_CODES,
)
_op("sum", "x", "axes: [] reduces all.", rule=shapes.reduce, axes=[], keepdims=False)
_op(
    "max",
    "x",
    "axes: [] reduces all.",
    rule=shapes.reduce,
    on_codes=True,
    axes=[],
    keepdims=False,
)
_op(
    "peak",
    "x",
    "x (N, ...), output (N, 2): the lowest and the highest value of each row and 0.",
    rule=shapes.extremes,
)
_op(
    "matmul",
    "a b",
    "batched; transpose_a and transpose_b swap the last two axes.",
    rule=shapes.matmul,
    macs=shapes.matmul_macs,
    transpose_a=False,
    transpose_b=False,
)

# ---------------------------------------------------------------- quantization
_op("quantize", "x", "float32 to int8 or uint8 codes.", scale=REQUIRED, unsigned=False)
_op("dequantize", "x", "Codes to float32: code * scale.")
_op(
    "fake_quantize",
    "x scale",
    "What quantization will do, in float32: quantize to bits with the constant scale, () or (C,) "
    "along axis or (C, groups) of consecutive elements, codes in [0, 2^bits - 1] if unsigned, then "
    "multiply back; of 1 bit the sign (that of 0 is +) times the scale. Trained and calibrated "
    "graphs hold these; "
    "passes.quantize.lower turns them into integers.",
    rule=shapes.fake_quantize,
    bits=8,
    axis=0,
    unsigned=False,
)
_op(
    "fake_quantize_dynamic",
    "x",
    "The same with the scale of the largest magnitude in x; lowered, layers with the attribute "
    "dynamic do it.",
    bits=8,
)
_op(
    "opaque",
    "x*",
    "An operator the table lacks: operator is its foreign name, attrs its own.",
    rule=shapes.opaque,
    operator=REQUIRED,
    attrs={},
)
