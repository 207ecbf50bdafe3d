"""From what is wanted of a weight to its scales: the arithmetic of every scheme, in NumPy."""

from __future__ import annotations

import numpy as np

from gluonzip.errors import DataError
from gluonzip.graph.reference.integer import fake_quantized_codes
from gluonzip.graph.scales import grouped, spread
from gluonzip.spec import Binary, PerChannel, PerGroup, Ternary, WeightQuantization, code_range

SMALLEST = np.finfo(np.float32).tiny
"""Smallest normal float32: a step below it has no finite inverse."""


def scale_of(largest: float | np.ndarray, bits: int, unsigned: bool = False) -> np.ndarray:
    """float32 step for values up to ``largest`` in magnitude: largest by the highest code; 1 for
    (next to) 0.

    >>> float(scale_of(127.0, 8)), float(scale_of(255.0, 8, unsigned=True))
    (1.0, 1.0)
    """
    highest = code_range(bits, unsigned)[1]
    return usable((np.asarray(largest, np.float64) / highest).astype(np.float32))


def usable(step: np.ndarray) -> np.ndarray:
    """``step``, or 1 where it is too small to divide by."""
    return np.where(step >= SMALLEST, step, np.float32(1)).astype(np.float32)


def weight_scale(data: np.ndarray, what: WeightQuantization, axis: int | None, layer: str):
    """float32 scales of a weight: () for ``axis`` None, else (C,) or, per group, (C, groups).

    ``axis`` counts output channels. Raises DataError, naming ``layer``, for values that are not
    finite, ConfigError for groups that do not divide the weights of an output.
    """
    _check_finite(data, layer)
    parts = _parts(data, what, axis, layer)
    magnitude = np.abs(parts.astype(np.float64))
    if isinstance(what, Binary):
        scale = _mean(magnitude, np.ones(magnitude.shape, bool)).astype(np.float32)
    elif isinstance(what, Ternary):
        scale = usable(_mean(magnitude, _large(magnitude, what)).astype(np.float32))
    else:
        scale = scale_of(magnitude.max(axis=-1, initial=0), what.bits)
    if axis is None:
        return scale.reshape(())
    return scale if scale.shape[1] > 1 else scale[:, 0]


def rounded(data: np.ndarray, what: WeightQuantization, axis: int | None, layer: str):
    """What to quantize in place of ``data`` to get the scheme's codes: of ternary weights the
    values themselves (the threshold lies at no code's border), else ``data``."""
    if not isinstance(what, Ternary):
        return data
    scale = weight_scale(data, what, axis, layer)
    parts = _parts(data, what, axis, layer)
    keep = _large(np.abs(parts.astype(np.float64)), what)
    signs = np.where(keep, np.sign(parts), 0).astype(np.float32)
    return _whole(signs, data.shape, axis) * spread(scale, data.shape, axis or 0)


def quantized_codes(data: np.ndarray, what: WeightQuantization, axis: int | None, layer: str):
    """(int8 codes, scale) of a weight."""
    scale = weight_scale(data, what, axis, layer)
    values = rounded(data, what, axis, layer).astype(np.float32)
    return fake_quantized_codes(values, scale, what.bits, axis or 0)[0].astype(np.int8), scale


def has_axis(what: WeightQuantization) -> bool:
    """Does the scheme want scales along the output channels?"""
    return isinstance(what.granularity, (PerChannel, PerGroup))


def _check_finite(data: np.ndarray, layer: str) -> None:
    bad = data.size - int(np.isfinite(data).sum())
    if bad:
        raise DataError(
            f"layer {layer!r}: its weight has {bad} non-finite values (NaN or infinity) of "
            f"{data.size}"
        )


def _parts(data: np.ndarray, what: WeightQuantization, axis: int | None, layer: str):
    """(outputs, groups, size): what has a scale lies along the last axis."""
    if axis is None:
        return data.reshape(1, 1, -1)
    groups = 1
    if isinstance(what.granularity, PerGroup):
        groups = what.granularity.count(data.size // max(data.shape[axis], 1), layer)
    return grouped(data, axis, groups)


def _whole(parts: np.ndarray, shape: tuple[int, ...], axis: int | None) -> np.ndarray:
    if axis is None:
        return parts.reshape(shape)
    others = [n for at, n in enumerate(shape) if at != axis]
    return np.moveaxis(parts.reshape(shape[axis], *others), 0, axis)


def _large(magnitude: np.ndarray, what: Ternary) -> np.ndarray:
    """Beyond the threshold (and large enough for a scale)."""
    mean = magnitude.mean(axis=-1, keepdims=True) if magnitude.size else 0.0
    return magnitude > np.maximum(what.threshold * mean, SMALLEST)


def _mean(magnitude: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Over the last axis, of the chosen; 0 where there are none."""
    count = np.maximum(chosen.sum(axis=-1), 1)
    return np.where(chosen, magnitude, 0).sum(axis=-1) / count
