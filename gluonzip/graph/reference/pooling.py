"""Pooling and resizing of (N, C, H, W)."""

from __future__ import annotations

import numpy as np

from gluonzip.graph import shapes
from gluonzip.graph.reference.registry import on_codes, on_values
from gluonzip.graph.reference.value import Value, from_reals, from_steps, ratio
from gluonzip.spec import code_range


def _windows(a, x: np.ndarray, fill: float):
    """For each tap of the kernel, the view of the padded input that it meets in every window."""
    oh, ow = shapes.pool(a, x.shape)[2:]
    (kh, kw), (sh, sw), (top, left, _, _) = a.kernel, a.stride, a.pad
    # Rows and columns that the windows reach; past the declared padding too (ceil_mode).
    bottom = max((oh - 1) * sh + kh - top - x.shape[2], 0)
    right = max((ow - 1) * sw + kw - left - x.shape[3], 0)
    x = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=fill)
    for i in range(kh):
        for j in range(kw):
            yield x[:, :, i : i + (oh - 1) * sh + 1 : sh, j : j + (ow - 1) * sw + 1 : sw]


@on_codes("max_pool")
def max_pool(a, x):
    codes = x.dtype.kind != "f"
    lowest = code_range(8, x.dtype == np.uint8)[0] if codes else np.finfo(x.dtype).min
    views = _windows(a, x, lowest)
    out = next(views).copy()
    for view in views:
        np.maximum(out, view, out=out)
    return out


def _counts(windows: int, length: int, k: int, s: int, before: int, after: int, count_pad: bool):
    """Cells of each window along one axis that count in the divisor."""
    start = np.arange(windows) * s - before
    end = np.minimum(start + k, length + after)
    return end - start if count_pad else np.minimum(end, length) - np.maximum(start, 0)


def divisors(a, shape) -> np.ndarray:
    """How many cells each window of an average counts, (OH, OW)."""
    (kh, kw), (sh, sw), (top, left, bottom, right) = a.kernel, a.stride, a.pad
    oh, ow = shapes.pool(a, shape)[2:]
    rows = _counts(oh, shape[2], kh, sh, top, bottom, a.count_pad)
    columns = _counts(ow, shape[3], kw, sw, left, right, a.count_pad)
    # A window that lies past the end altogether is empty: its average is 0, as in MXNet.
    return np.outer(np.maximum(rows, 1), np.maximum(columns, 1)).astype(np.float32)


def integer_average(a, x: Value, total: np.ndarray, count: np.ndarray) -> Value:
    """The integer rule for averages at the head of ops.py; ``total``: exact sums of codes."""
    return from_steps(total.astype(np.float32) * (ratio(x.scale, a.out_scale) / count), a)


@on_values("avg_pool")
def avg_pool(a, x: Value) -> Value:
    count = divisors(a, x.data.shape)
    if x.quantized:
        return integer_average(a, x, sum(_windows(a, x.data.astype(np.int32), 0)), count)
    y = sum(_windows(a, x.real(), 0)) / count
    return from_reals(y, a)


@on_values("global_avg_pool")
def global_avg_pool(a, x: Value) -> Value:
    if x.quantized:
        total = x.data.sum(axis=(2, 3), keepdims=True, dtype=np.int64)
        return integer_average(a, x, total, np.float32(x.data[0, 0].size))
    y = x.real().mean(axis=(2, 3), keepdims=True)
    return from_reals(y, a)


@on_codes("global_max_pool")
def global_max_pool(a, x):
    return x.max(axis=(2, 3), keepdims=True)


def _cell_edges(cells: int, length: int) -> list[tuple[int, int]]:
    return [(i * length // cells, -(-(i + 1) * length // cells)) for i in range(cells)]


def _cell_sums(a, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(sums, numbers of elements) of the cells."""
    rows = _cell_edges(a.output[0], x.shape[2])
    columns = _cell_edges(a.output[1], x.shape[3])
    sums = np.stack([x[:, :, i:j].sum(axis=2) for i, j in rows], axis=2)
    sums = np.stack([sums[:, :, :, i:j].sum(axis=3) for i, j in columns], axis=3)
    heights, widths = (np.array([j - i for i, j in edges]) for edges in (rows, columns))
    return sums, np.outer(heights, widths).astype(np.float32)


@on_values("adaptive_avg_pool")
def adaptive_avg_pool(a, x: Value) -> Value:
    if x.quantized:
        return integer_average(a, x, *_cell_sums(a, x.data.astype(np.int64)))
    sums, counts = _cell_sums(a, x.real())
    y = sums / counts
    return from_reals(y, a)


def _mixes(length: int, size: int, align_corners: bool):
    """For each of ``size`` cells the two that mix into it, and the weight of the second."""
    at = np.arange(size, dtype=np.float32)
    if size == 1:
        at[:] = 0  # MXNet takes the first cell in both conventions
    elif align_corners:
        at = at * np.float32((length - 1) / (size - 1))
    else:
        half = np.float32(0.5)
        at = np.maximum((at + half) * np.float32(length / size) - half, np.float32(0))
    low = np.minimum(at.astype(int), length - 1)
    return low, np.minimum(low + 1, length - 1), (at - low).astype(np.float32)


@on_values("resize_bilinear")
def resize_bilinear(a, x: Value) -> Value:
    y, one = x.data.astype(np.float32), np.float32(1)
    low, high, weight = _mixes(y.shape[2], a.size[0], a.align_corners)
    weight = weight[:, None]
    y = y[:, :, low] * (one - weight) + y[:, :, high] * weight
    low, high, weight = _mixes(y.shape[3], a.size[1], a.align_corners)
    y = y[..., low] * (one - weight) + y[..., high] * weight
    if x.quantized:
        return from_steps(y * ratio(x.scale, a.out_scale), a)
    return from_reals(y, a)
