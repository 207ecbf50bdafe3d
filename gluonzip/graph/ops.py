"""THE op table: every operator that a graph may hold, with its inputs, attributes and meaning.

One row per operator. A row says which inputs it takes ("name?" is optional, "name*" is one or
more), its attributes with their defaults, and how shapes follow. What an operator computes is
defined by its function in ``interpret.py``, which the engine and every exporter must match.

Integer semantics (all float arithmetic is float32, each step rounded; no fused multiply-add):

* An int8 tensor holds codes in [-127, 127]; real value = code * scale.
* ``quantize``: ``code = rint(clip(x * (float32(1) / scale), -127, 127))``; rint rounds ties to even.
* conv2d, conv_transpose2d, dense on int8 input and int8 weight: the accumulator is exact int32.
  With ``out_scale`` so (output is int8)::

      m[c] = float32(float64(sx) * float64(sw[c]) / float64(so))    b[c] = float32(bias[c] / so)
      y = float32(acc) * m[c] + b[c]
      y = y + float32(residual code) * float32(float64(sr) / float64(so))     int8 residual
      y = y + residual * (float32(1) / so)                                    float32 residual
      y = act(y)   with act_min/act_max divided by so (float32(float64(v) / float64(so)))
      code = rint(clip(y, -127, 127))

  Without ``out_scale`` (output is float32) the same with so = 1. An absent bias counts as 0.
* On float32 input with a quantized weight the weight counts as its real values (weight-only).
* relu, max_pool, global_max_pool, flatten, reshape, transpose, slice_axis, identity, pad on int8
  act on codes and keep the scale (pad's value must then be 0).
* Every other operator on int8 input dequantizes (code * scale), computes in float32, and, if
  ``out_scale`` is set, quantizes the result (as ``quantize``); else its output is float32. concat
  on int8 inputs requires ``out_scale``; an input whose scale equals it is copied.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

REQUIRED = object()
"""Default of an attribute that has none."""


@dataclass(frozen=True)
class OpSpec:
    """A row of the table.

    ``inputs``: names, with "?" for optional and "*" for variadic. ``attrs``: default values, the
    type of a default is the type of the attribute (REQUIRED: see ``doc``). ``shape``: rule from
    (input types, attrs) to output types, set by :func:`shape_rule`.
    """

    name: str
    inputs: tuple[str, ...]
    attrs: dict[str, Any] = field(default_factory=dict)
    doc: str = ""


OPS: dict[str, OpSpec] = {}


def _op(name: str, inputs: str, doc: str = "", **attrs: Any) -> None:
    OPS[name] = OpSpec(name, tuple(inputs.split()), attrs, doc)


_EPILOGUE: dict[str, Any] = {
    # Fused behind the sum: residual add, then activation, then requantization.
    "act": "none",  # none | relu | clip (act_min, act_max) | leaky_relu (act_slope)
    "act_min": 0.0,
    "act_max": 0.0,
    "act_slope": 0.0,
    "out_scale": None,  # float: output is int8 with this scale
}

# ---------------------------------------------------------------- weighted
_op(
    "conv2d",
    "x weight bias? residual?",
    "x (N,C,H,W), weight (O,C/groups,KH,KW), bias (O,), residual as the output; pad is (top, left, "
    "bottom, right), zeros.",
    stride=[1, 1],
    pad=[0, 0, 0, 0],
    dilation=[1, 1],
    groups=1,
    **_EPILOGUE,
)
_op(
    "conv_transpose2d",
    "x weight bias? residual?",
    "x (N,C,H,W), weight (C,O/groups,KH,KW); output_pad adds rows and columns at the bottom right.",
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
    flatten=True,
    **_EPILOGUE,
)
_op("embedding", "x weight", "rows of weight (V, D) by the indices in x (rounded down, clipped).")

# ---------------------------------------------------------------- normalization
_op(
    "batch_norm",
    "x gamma beta mean var",
    "(x - mean) / sqrt(var + eps) * gamma + beta along axis; constants (C,).",
    eps=1e-5,
    axis=1,
)
_op(
    "scale_shift",
    "x scale shift",
    "x * scale[c] + shift[c] along axis, then the activation: what is left of a batch norm that "
    "cannot fold into a neighbour.",
    axis=1,
    **_EPILOGUE,
)
_op("layer_norm", "x gamma beta", "over one axis.", eps=1e-5, axis=-1)
_op(
    "l2_normalize",
    "x",
    "x / sqrt(sum(x^2) + eps); mode: instance | channel | spatial.",
    eps=1e-10,
    mode="instance",
)

# ---------------------------------------------------------------- element-wise, one input
for _name in (
    "relu",
    "sigmoid",
    "tanh",
    "softplus",
    "softsign",
    "gelu",
    "exp",
    "log",
    "sqrt",
    "rsqrt",
    "abs",
    "negative",
    "square",
    "floor",
    "ceil",
    "erf",
):
    _op(_name, "x", out_scale=None)
_op("leaky_relu", "x", "x if x > 0 else slope * x.", slope=0.25, out_scale=None)
_op("elu", "x", "x if x > 0 else slope * (exp(x) - 1).", slope=1.0, out_scale=None)
_op("selu", "x", "scaled ELU with the constants of Klambauer et al. 2017.", out_scale=None)
_op("prelu", "x slope", "slope (C,) along axis 1, or (1,).", out_scale=None)
_op("hard_sigmoid", "x", "clip(alpha * x + beta, 0, 1).", alpha=0.2, beta=0.5, out_scale=None)
_op("hard_swish", "x", "x * clip(x + 3, 0, 6) / 6.", out_scale=None)
_op("swish", "x", "x * sigmoid(beta * x).", beta=1.0, out_scale=None)
_op("clip", "x", min=REQUIRED, max=REQUIRED, out_scale=None)
_op("add_scalar", "x", value=REQUIRED, out_scale=None)
_op("mul_scalar", "x", value=REQUIRED, out_scale=None)
_op("rsub_scalar", "x", "value - x.", value=REQUIRED, out_scale=None)
_op("rdiv_scalar", "x", "value / x.", value=REQUIRED, out_scale=None)
_op("pow_scalar", "x", "x ** value.", value=REQUIRED, out_scale=None)
_op("max_scalar", "x", value=REQUIRED, out_scale=None)
_op("min_scalar", "x", value=REQUIRED, out_scale=None)
_op("identity", "x", "Dropout and the like, at inference.")

# ---------------------------------------------------------------- element-wise, two inputs
_op(
    "add",
    "a b",
    "NumPy broadcasting.",
    act="none",
    act_min=0.0,
    act_max=0.0,
    act_slope=0.0,
    out_scale=None,
)
for _name in ("sub", "mul", "div", "maximum", "minimum"):
    _op(_name, "a b", "NumPy broadcasting.", out_scale=None)

# ---------------------------------------------------------------- pooling
_POOL: dict[str, Any] = {
    "kernel": REQUIRED,  # [kh, kw]
    "stride": [1, 1],
    "pad": [0, 0, 0, 0],  # top, left, bottom, right
    "ceil_mode": False,  # MXNet's pooling_convention "full"
}
_op("max_pool", "x", "(N,C,H,W); padding never wins.", **_POOL)
_op(
    "avg_pool",
    "x",
    "(N,C,H,W); count_pad: padding counts in the divisor (but not cells past it).",
    count_pad=True,
    out_scale=None,
    **_POOL,
)
_op("global_max_pool", "x", "(N,C,H,W) to (N,C,1,1).")
_op("global_avg_pool", "x", "(N,C,H,W) to (N,C,1,1).", out_scale=None)
_op(
    "adaptive_avg_pool",
    "x",
    "output [oh, ow]; MXNet's AdaptiveAvgPooling2D.",
    output=REQUIRED,
    out_scale=None,
)
_op("upsample", "x", "nearest, by an integer factor on H and W.", factor=2)
_op(
    "resize_bilinear",
    "x",
    "to [h, w]; align_corners as in MXNet's BilinearResize2D.",
    size=REQUIRED,
    align_corners=True,
    out_scale=None,
)

# ---------------------------------------------------------------- shape
_op("concat", "x*", axis=1, out_scale=None)
_op("flatten", "x", "(N, ...) to (N, rest).")
_op(
    "reshape",
    "x",
    "MXNet's codes: 0 copies an axis, -1 is inferred, -2 the rest, -3 merges two, -4 splits one.",
    shape=REQUIRED,
)
_op("transpose", "x", axes=REQUIRED)
_op("expand_dims", "x", axis=REQUIRED)
_op("squeeze", "x", "axes: [] squeezes every axis of length 1.", axes=[])
_op(
    "slice_axis",
    "x",
    "x[begin:end] along axis; end of 2**31 - 1 means to the end.",
    axis=REQUIRED,
    begin=0,
    end=2**31 - 1,
)
_op(
    "split",
    "x",
    "into equal parts along axis: as many as the node has outputs.",
    axis=1,
    squeeze=False,
)
_op(
    "pad",
    "x",
    "constant padding; width is (before, after) for each axis.",
    width=REQUIRED,
    value=0.0,
)

# ---------------------------------------------------------------- reductions and the like
_op("softmax", "x", axis=-1, temperature=1.0)
_op("log_softmax", "x", axis=-1, temperature=1.0)
_op("mean", "x", "axes: [] reduces all.", axes=[], keepdims=False, out_scale=None)
_op("sum", "x", axes=[], keepdims=False)
_op("max", "x", axes=[], keepdims=False)
_op(
    "matmul",
    "a b",
    "batched; transpose_a and transpose_b swap the last two axes.",
    transpose_a=False,
    transpose_b=False,
)

# ---------------------------------------------------------------- quantization
_op("quantize", "x", "float32 to int8 codes.", scale=REQUIRED)
_op("dequantize", "x", "int8 to float32: code * scale.")
_op(
    "fake_quantize",
    "x scale",
    "What quantization will do, in float32: quantize to bits with the constant scale, () or (C,) "
    "along axis, then multiply back. Trained and calibrated graphs hold these; "
    "passes.quantize.lower turns them into integers.",
    bits=8,
    axis=0,
)
_op(
    "opaque",
    "x*",
    "An operator the table lacks: operator is its foreign name, attrs its own.",
    operator=REQUIRED,
    attrs={},
)

ShapeRule = Callable[..., Any]
