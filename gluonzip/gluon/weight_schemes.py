"""Weights fake-quantized in training: the scale of every scheme from the present values.

The arithmetic is that of :mod:`gluonzip.passes.quantize.schemes`, in MXNet's float32. Gradients
pass straight through to the weights, whatever the scheme (ternary: arXiv:1605.04711, section 2.4).
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

from gluonzip.gluon import tags
from gluonzip.gluon.extension import operators
from gluonzip.gluon.fake_quantize import SMALLEST, fake_quantize
from gluonzip.gluon.learned_scale import LearnedScale
from gluonzip.spec import (
    Binary,
    PerChannel,
    PerTensor,
    Ternary,
    WeightQuantization,
    max_code,
)

Shape = tuple[int, ...]


class Parts:
    """The parts of a weight that have a scale each: how to reduce them, how to spread a scale.

    ``axis`` of the output channels, None for one scale in all; ``groups`` of each channel.
    """

    def __init__(self, shape: Shape, axis: int | None, groups: int = 1) -> None:
        self.shape, self.axis, self.groups = tuple(shape), axis, groups

    @classmethod
    def of(cls, what: WeightQuantization, shape: Shape, channel_axis: int, layer: str) -> Parts:
        """Those that ``what`` asks for. ConfigError, naming the layer, for groups that do not
        divide its weights."""
        granularity = what.granularity
        if isinstance(granularity, PerTensor):
            return cls(shape, None)
        # The default axis means "output channel", which transposed convolutions keep at 1.
        given = granularity.axis if isinstance(granularity, PerChannel) else 0
        axis = (given or channel_axis) % len(shape)
        if isinstance(granularity, PerChannel):
            return cls(shape, axis)
        inputs = prod(n for at, n in enumerate(shape) if at != axis)
        return cls(shape, axis, granularity.count(inputs, layer))

    def reduce(self, F: Any, function: Callable, x: Any) -> Any:
        """``function`` (F.max, F.sum, F.mean) over each part; axes of length 1 stay."""
        if self.groups > 1:
            return function(self._rows(F, x), axis=1, keepdims=True)
        if self.axis is None:
            return function(x, keepdims=True)
        return function(x, axis=self.axis, exclude=True, keepdims=True)

    def spread(self, F: Any, scale: Any, like: Any) -> Any:
        """``scale`` in the shape of the weight, without gradient."""
        ones = F.ones_like(self._rows(F, like) if self.groups > 1 else like)
        with tags.tag(F, tags.SCALE):
            full = F.broadcast_mul(ones, scale)
        return F.BlockGrad(self._whole(F, full) if self.groups > 1 else full)

    def facts(self) -> dict[str, Any]:
        """What the tracer has to know of the scale."""
        return {"axis": self.axis, **({"groups": self.groups} if self.groups > 1 else {})}

    def _rows(self, F: Any, x: Any) -> Any:
        x = F.SwapAxis(x, dim1=0, dim2=self.axis) if self.axis else x
        return F.reshape(x, shape=(self.shape[self.axis] * self.groups, -1))

    def _whole(self, F: Any, rows: Any) -> Any:
        swapped = list(self.shape)
        if self.axis:
            swapped[0], swapped[self.axis] = swapped[self.axis], swapped[0]
        x = F.reshape(rows, shape=tuple(swapped))
        return F.SwapAxis(x, dim1=0, dim2=self.axis) if self.axis else x


def quantize_weight(
    F: Any,
    weight: Any,
    what: WeightQuantization,
    shape: Shape,
    channel_axis: int,
    scale: LearnedScale | None = None,
    layer: str = "",
) -> Any:
    """``weight``, of ``shape``, fake-quantized with its learned ``scale``, or one of its present
    values."""
    parts = Parts.of(what, shape, channel_axis, layer)
    if scale is not None:
        return fake_quantize(F, weight, scale, what.bits, parts.axis)
    if isinstance(what, Ternary):
        return _ternary(F, weight, what, parts)
    if isinstance(what, Binary):
        scale = parts.reduce(F, F.mean, F.abs(weight))
        return binary(F, weight, scale, parts)
    limit = max_code(what.bits)
    if parts.groups == 1 and operators.suits(F, weight):
        return operators.quantize_weight(F, weight, limit, parts.axis)
    scale = parts.reduce(F, F.max, F.abs(weight)) / limit
    scale = scale + (scale <= SMALLEST)
    facts = {} if parts.groups == 1 else {"spread": parts.spread, "groups": parts.groups}
    return fake_quantize(F, weight, scale, what.bits, parts.axis, inside=True, **facts)


def _ternary(F: Any, weight: Any, what: Ternary, parts: Parts) -> Any:
    magnitude = F.abs(weight)
    border = F.maximum(parts.reduce(F, F.mean, magnitude) * what.threshold, SMALLEST)
    large = magnitude > parts.spread(F, border, weight)
    count = parts.reduce(F, F.sum, large)
    scale = parts.reduce(F, F.sum, magnitude * large) / (count + (count == 0))
    scale = scale + (scale <= SMALLEST)
    return _straight_through(F, weight, F.sign(weight) * large, scale, 2, parts)


def binary(F: Any, weight: Any, scale: Any, parts: Parts) -> Any:
    """The signs of ``weight`` (that of 0 is +) times ``scale``."""
    return _straight_through(F, weight, 1 - 2 * (weight < 0), scale, 1, parts)


def _straight_through(F: Any, weight: Any, codes: Any, scale: Any, bits: int, parts: Parts) -> Any:
    """``codes * scale``, with the gradient of ``weight``.

    Traced as the quantizer of these very values: where the codes change is the scheme's business.
    """
    nothing = weight - F.BlockGrad(weight)
    spread = parts.spread(F, scale, weight)
    values = spread * F.BlockGrad(codes)  # the tracer follows first inputs, to the scale
    with tags.tag(F, tags.VALUES, bits=bits, **parts.facts()):
        return values + nothing
