"""Scales of weights: one, one a channel, or one a group of consecutive weights of a channel."""

from __future__ import annotations

import numpy as np


def spread(scale: np.ndarray, shape: tuple[int, ...], axis: int) -> np.ndarray:
    """``scale`` in a form that multiplies an array of ``shape`` element by element.

    ``scale``: () for the whole array, (C,) for the indices of ``axis``, or (C, G): G groups of
    consecutive elements, in row-major order of the other axes, for each index of ``axis``.
    """
    scale = np.asarray(scale)
    if scale.ndim == 0:
        return scale
    if scale.ndim == 1:
        return scale.reshape([-1 if at == axis else 1 for at in range(len(shape))])
    others = [n for at, n in enumerate(shape) if at != axis]
    size = int(np.prod(others, dtype=np.int64)) // scale.shape[1]
    rows = np.repeat(scale, size, axis=1).reshape(shape[axis], *others)
    return np.moveaxis(rows, 0, axis)


def grouped(data: np.ndarray, axis: int, groups: int) -> np.ndarray:
    """``data`` as (C, groups, size): what each scale of :func:`spread` belongs to."""
    return np.moveaxis(data, axis, 0).reshape(data.shape[axis], groups, -1)


def fits(scale: tuple[int, ...], shape: tuple[int, ...], axis: int) -> bool:
    """May an array of ``shape`` have scales of shape ``scale`` along ``axis``?"""
    if not scale:
        return True
    if axis >= len(shape) or scale[0] != shape[axis] or len(scale) > 2:
        return False
    inputs = int(np.prod([n for at, n in enumerate(shape) if at != axis], dtype=np.int64))
    return len(scale) == 1 or (scale[1] > 0 and inputs % scale[1] == 0)
