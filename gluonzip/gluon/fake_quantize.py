"""Quantization simulated in float32 with straight-through gradients, for arrays and symbols alike.

What the simulation computes is what the engine computes, to the bit: ``code = rint(clip(x * (1 /
scale), -limit, limit))`` in float32, ties to even, then ``code * scale``
(:mod:`gluonzip.graph.ops`). Gradients pass unchanged inside the clipping range and are zero
outside (Jacob et al. 2018, https://arxiv.org/abs/1712.05877); weights lie inside by construction.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import numpy as np

from gluonzip.gluon import tags
from gluonzip.gluon._mxnet import mx
from gluonzip.spec import PerChannel, WeightQuantization, max_code

SMALLEST = 1.1754944e-38
"""Smallest normal float32: an all-zero or subnormal weight gets scale 1 on top."""


def fake_quantize(
    F: Any,
    x: Any,
    scale: Any,
    bits: int,
    axis: int | None = None,
    inside: bool = False,
    dtype: Any = np.float32,
) -> Any:
    """``x`` rounded to ``bits``-bit codes times ``scale``, of the same shape.

    ``scale`` broadcasts against ``x``; ``axis`` is the axis it runs along, None for one scale for
    the whole tensor. ``inside``: x is known to be in range, so every gradient passes (or the
    largest value, a rounding error above the limit, would never be trained). ``dtype``: of x.
    ``F`` is mx.nd or mx.sym.
    """
    limit = max_code(bits)
    inverse = 1.0 / scale
    with _tag(F, tags.BEGIN):
        scaled = F.broadcast_mul(x, inverse)
    clipped = F.clip(scaled, a_min=-limit, a_max=limit)
    base = scaled if inside else clipped
    # base + (code - base) is exactly the code: the difference is representable.
    codes = base + F.BlockGrad(_rint(clipped, dtype) - base)
    with _tag(F, tags.END, bits=bits, axis=axis):
        return F.broadcast_mul(codes, scale)


def _rint(x: Any, dtype: Any) -> Any:
    """Nearest integers of small numbers, ties to even (MXNet's rint and round are not).

    Beside 1.5 * 2^(mantissa bits) the spacing of floats is 1, so the addition rounds.
    """
    magic = 1.5 * 2.0 ** np.finfo(dtype).nmant
    return (x + magic) - magic


def quantize_weight(
    F: Any, weight: Any, what: WeightQuantization, channel_axis: int, dtype: Any = np.float32
) -> Any:
    """``weight`` fake-quantized with ``scale = max|w| / limit`` of its present values."""
    axis = None
    if isinstance(what.granularity, PerChannel):
        # The default axis means "output channel", which transposed convolutions keep at 1.
        axis = what.granularity.axis or channel_axis
    magnitude = F.abs(F.BlockGrad(weight))
    if axis is None:
        peak = F.max(magnitude, keepdims=True)
    else:
        peak = F.max(magnitude, axis=axis, exclude=True, keepdims=True)
    scale = peak / max_code(what.bits)
    scale = scale + (scale <= SMALLEST)
    return fake_quantize(F, weight, scale, what.bits, axis, inside=True, dtype=dtype)


def _tag(F: Any, role: str, **facts: Any) -> Any:
    return tags.tag(role, **facts) if F is mx.sym or F is mx.symbol else nullcontext()
