"""How a weight looks at a level of compression: the methods that sensitivity can vary.

A method is one function from a weight (output channels first) and a level to a new weight; a row in
``METHODS`` gives it a name and default levels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gluonzip.errors import ConfigError
from gluonzip.graph.scales import spread
from gluonzip.passes.quantize.schemes import quantized_codes, scale_of
from gluonzip.spec import (
    NM,
    Granularity,
    PerChannel,
    PerGroup,
    PerTensor,
    SparsityPattern,
    WeightQuantization,
    max_code,
    sparsity_pattern,
)

Change = Callable[[np.ndarray, float], np.ndarray]


@dataclass(frozen=True)
class Method:
    """``levels``: from mild to harsh. ``make``: the change, for a pattern and a granularity.
    ``check``: raises ConfigError for a level that makes no sense."""

    levels: tuple[float, ...]
    make: Callable[[SparsityPattern, Granularity], Change]
    check: Callable[[float], None]


def sparsify(pattern: SparsityPattern, granularity: Granularity = PerTensor()) -> Change:  # noqa: B008
    """The smallest weights (or blocks, by mean magnitude) become zero; ``level``: their share."""
    from gluonzip.gluon import masks

    if isinstance(pattern, NM):
        raise ConfigError(f"pattern {pattern} sets the sparsity itself: it has no levels")

    def change(weight: np.ndarray, level: float) -> np.ndarray:
        keep = masks.keep_largest(masks.scores(weight, pattern), level)
        return weight * masks.expand(keep, weight.shape, pattern)

    return change


def round_to_bits(pattern: SparsityPattern, granularity: Granularity) -> Change:
    """Symmetric integers of ``level`` bits times ``max|w| / max_code``; 32 leaves it alone."""

    def change(weight: np.ndarray, level: float) -> np.ndarray:
        if level == 32:
            return weight
        bits = int(level)
        if isinstance(granularity, PerGroup):
            what = WeightQuantization(bits, granularity)
            codes, scale = quantized_codes(weight, what, 0, "under test")
            return codes * spread(scale, weight.shape, 0)
        others = tuple(range(1, weight.ndim)) if isinstance(granularity, PerChannel) else None
        peak = np.abs(weight).max(axis=others, keepdims=True, initial=0)
        scale = scale_of(peak, bits)
        limit = max_code(bits)
        return np.clip(np.rint(weight / scale), -limit, limit).astype(np.float32) * scale

    return change


def _check_sparsity(level: float) -> None:
    if not 0 <= level < 1:
        raise ConfigError(f"level {level!r} is not a sparsity: it must lie in [0, 1)")


def _check_bits(level: float) -> None:
    if level != 32:
        max_code(int(level) if level == int(level) else level)


METHODS: dict[str, Method] = {
    "sparsity": Method((0.5, 0.7, 0.8, 0.9, 0.95, 0.98), sparsify, _check_sparsity),
    "bits": Method((8, 6, 5, 4, 3, 2), round_to_bits, _check_bits),
}


def change_of(
    method: str | Change,
    levels: tuple[float, ...] | None,
    pattern: str | SparsityPattern | None,
    granularity: Granularity,
) -> tuple[str, Change, tuple[float, ...]]:
    """Name, function and levels of a method; ConfigError for what cannot be used."""
    if callable(method):
        if not levels:
            raise ConfigError("a method of your own needs levels=(mild, ..., harsh)")
        return getattr(method, "__name__", "level"), method, tuple(levels)
    if method not in METHODS:
        raise ConfigError(
            f"method {method!r} is unknown; use one of {sorted(METHODS)}, or your own"
        )
    chosen = METHODS[method]
    levels = tuple(levels) if levels is not None else chosen.levels
    if not levels or len(set(levels)) != len(levels):
        raise ConfigError(f"levels = {levels} must be different, and at least one")
    for level in levels:
        chosen.check(level)
    levels = tuple(sorted(levels, reverse=chosen.levels[0] > chosen.levels[-1]))
    return method, chosen.make(sparsity_pattern(pattern), granularity), levels
