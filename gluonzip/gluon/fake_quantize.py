"""Quantization simulated in float32 with straight-through gradients, for arrays and symbols alike.

What the simulation computes is what the engine computes, to the bit: ``code = rint(clip(x * (1 /
scale), low, high))`` in float32, ties to even, then ``code * scale``
(:mod:`gluonzip.graph.ops`). Gradients pass unchanged inside the clipping range and are zero
outside (Jacob et al. 2018, https://arxiv.org/abs/1712.05877); weights lie inside by construction.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gluonzip.gluon import tags
from gluonzip.gluon.extension import operators
from gluonzip.gluon.learned_scale import LearnedScale
from gluonzip.spec import code_range, max_code

SMALLEST = 1.1754944e-38
"""Smallest normal float32: an all-zero or subnormal weight gets scale 1 on top."""


_MAGIC = 1.5 * 2.0**23


def fake_quantize(
    F: Any,
    x: Any,
    scale: Any,
    bits: int,
    axis: int | None = None,
    inside: bool = False,
    spread: Callable[[Any, Any, Any], Any] | None = None,
    unsigned: bool = False,
    **facts: Any,
) -> Any:
    """``x`` (float32) rounded to ``bits``-bit codes times ``scale``, of the same shape.

    ``scale`` broadcasts against ``x``; ``axis`` is the axis it runs along, None for one scale for
    the whole tensor. ``inside``: no code can be out of range, so nothing is clipped and every
    gradient passes (or the largest value, a rounding error above the limit, would never be
    trained). A :class:`LearnedScale` takes a gradient: the plain derivative of this composition is
    LSQ's. ``unsigned``: codes from 0 up. ``spread(F, scale, x)``: the scale in the shape of x, if
    it does not broadcast. ``facts``: more for the tracer. ``F`` is mx.nd or mx.sym.

    One operator where :func:`gluonzip.gluon.load_extension` has brought it, else the composition
    below, which is also what symbols keep.
    """
    low, high = code_range(bits, unsigned)
    learned = scale if isinstance(scale, LearnedScale) else None
    if spread is None and not facts and operators.suits(F, x):
        growth = (learned.growth, learned.count is None) if learned else ()
        value = learned.value(F) if learned else scale
        return operators.fake_quantize(F, x, value, low, high, axis, not inside, *growth)
    if learned:
        scale = learned.with_gradient(F, x, high)
    spread = spread or (_spread_learned if learned else _spread)
    inverses, scales = spread(F, 1.0 / scale, x), spread(F, scale, x)
    with tags.tag(F, tags.BEGIN):
        scaled = x * inverses
    if not inside:
        scaled = F.clip(scaled, a_min=low, a_max=high)
    codes = _rint(scaled)
    if unsigned:
        facts["unsigned"] = True
    with tags.tag(F, tags.END, bits=bits, axis=axis, **facts):
        return codes * scales


def _spread(F: Any, scale: Any, x: Any) -> Any:
    """``scale`` in the shape of x, without gradient.

    A plain product is what makes this fast: the gradient of broadcast_mul takes ten times as long.
    """
    ones = F.ones_like(x)
    with tags.tag(F, tags.SCALE):
        spread = F.broadcast_mul(ones, scale)
    return F.BlockGrad(spread)


def _spread_learned(F: Any, scale: Any, x: Any) -> Any:
    """``scale`` in the shape of x, with a gradient: that of a sum is no more than a sum."""
    with tags.tag(F, tags.SCALE):
        return F.broadcast_add(F.zeros_like(x), scale)


def _rint(x: Any) -> Any:
    """Nearest integers of small numbers, ties to even (MXNet's rint and round are not).

    Beside 1.5 * 2^23 the spacing of floats is 1, so the addition rounds; and being an addition it
    passes gradients straight through.
    """
    return (x + _MAGIC) - _MAGIC


def fake_quantize_dynamic(F: Any, x: Any, bits: int) -> Any:
    """``x`` rounded to ``bits``-bit codes times the scale of its own largest magnitude."""
    scale = F.max(F.abs(x), keepdims=True) / max_code(bits)
    scale = scale + (scale <= SMALLEST)
    return fake_quantize(F, x, scale, bits, inside=True, dynamic=True)
