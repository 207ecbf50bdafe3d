"""Learned step sizes: scales of quantizers that train with the network (LSQ, arXiv:1902.08153).

A learned scale is two parameters: ``start`` (no gradient), where it started, and ``growth``
(trained, 0 at first), how it has moved since: ``start * (1 + growth)`` above 0, ``start *
exp(growth)`` below. So it stays positive whatever the optimizer does, and weight decay pulls it to
where it started. The gradient of ``growth`` is such that a step of SGD moves the scale as LSQ does
(to first order where it shrinks, exactly where it grows): LSQ's ``dL/dscale / sqrt(n * limit)``
over the derivative of the scale by ``growth``. A step of Adam moves it by a share of itself, be it
1 or 0.001; LSQ's own parameter would jump below zero (compare arXiv:1903.08066). ``n``: weights
that share the scale; of an input, values of one sample, as Gluon's gradients are means over them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gluonzip.gluon import tags
from gluonzip.spec import PerChannel, WeightQuantization, max_code

SMALLEST = 1.1754944e-38
"""Smallest normal float32: below it a scale has no inverse."""

_TRIALS = 100


def learned_names(attribute: str) -> tuple[str, str]:
    """Attributes of the learned scale of a weight (or of ``input``): start and growth."""
    return f"{attribute}_scale", f"{attribute}_scale_growth"


@dataclass(frozen=True, eq=False)
class LearnedScale:
    """Arrays or symbols of ``start`` and ``growth``, of one shape. ``count``: of the values that
    share a scale; None: those of one sample of whatever is quantized."""

    start: Any
    growth: Any
    count: float | None = None

    def value(self, F: Any) -> Any:
        """The scale, without a gradient. ``F`` is mx.nd or mx.sym."""
        grown = self._shrunk(F) + F.maximum(self.growth, 0.0)
        return F.BlockGrad(F.maximum(self.start * grown, SMALLEST))

    def with_gradient(self, F: Any, x: Any, limit: int) -> Any:
        """The scale for ``x``, whose gradient goes to ``growth`` as said above. ``limit``: the
        largest code."""
        count = values_of_a_sample(F, x) if self.count is None else self.count
        slope = F.maximum(self.start * self._shrunk(F), SMALLEST)
        step = (count * limit) ** -0.5 / slope
        still = self.growth - F.BlockGrad(self.growth)  # zero, with a gradient
        value, moved = self.value(F), still * F.BlockGrad(step)
        with tags.tag(F, tags.LEARNED):
            return value + moved

    def _shrunk(self, F: Any) -> Any:
        return F.exp(F.minimum(self.growth, 0.0))


def values_of_a_sample(F: Any, x: Any) -> Any:
    """How many values of ``x`` share an index of axis 0: float32 of shape (1,)."""
    rows = F.slice_axis(F.shape_array(x), axis=0, begin=0, end=1)
    return F.cast(F.size_array(x), "float32") / F.cast(rows, "float32")


def scale_shape(what: WeightQuantization, shape: tuple[int, ...], channel_axis: int) -> tuple:
    """Shape of a weight's scale: (1, 1, 1, 1), or (20, 1, 1, 1) with one for each of 20 filters."""
    axis = weight_axis(what, channel_axis, len(shape))
    return tuple(n if i == axis else 1 for i, n in enumerate(shape))


def weight_axis(what: WeightQuantization, channel_axis: int, rank: int) -> int | None:
    """The axis along which a weight's scales run; None for one scale."""
    if not isinstance(what.granularity, PerChannel):
        return None
    # The default axis means "output channel", which transposed convolutions keep at 1.
    return (what.granularity.axis or channel_axis) % rank


def first_scale(weight: np.ndarray, what: WeightQuantization, channel_axis: int) -> np.ndarray:
    """Where a learned scale starts: the least squared error of rounding and saturation, among even
    fractions of ``max|w| / limit``; in the shape of :func:`scale_shape`, float32.

    LSQ starts at ``2 mean|w| / sqrt(limit)``, which suits few bits but wastes most codes of eight.
    """
    shape = scale_shape(what, weight.shape, channel_axis)
    axes = tuple(i for i, n in enumerate(shape) if n == 1)
    limit = max_code(what.bits)
    top = np.abs(weight).max(axis=axes, keepdims=True).astype(np.float32) / np.float32(limit)
    top[top < SMALLEST] = 1
    best, least = top, np.full(shape, np.inf)
    for share in np.arange(_TRIALS, 0, -1) / _TRIALS:
        scale = np.maximum(top * np.float32(share), np.float32(SMALLEST))
        codes = np.clip(np.rint(weight * (np.float32(1) / scale)), -limit, limit)
        error = np.square(weight - codes * scale).sum(axis=axes, keepdims=True)
        best = np.where(error < least, scale, best)
        least = np.minimum(error, least)
    return best.astype(np.float32)
