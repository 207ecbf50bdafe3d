"""Pooling and resampling."""

from __future__ import annotations

import numpy as np

from gluonzip.onnx.emit.registry import View, emitter
from gluonzip.onnx.lengths import fixed

LOWEST = float(np.finfo(np.float32).min)


def _overhang(v: View) -> list[int]:
    """Rows and columns past the declared padding that windows reach (ceil_mode)."""
    a = v.a
    if not a.ceil_mode:
        return [0, 0]
    what = f"node {v.node.name!r} ({v.node.op} with ceil_mode)"
    size, out = fixed(v.lengths()[2:], what), fixed(v.out_lengths[2:], what)
    reach = [(n - 1) * s + k for n, s, k in zip(out, a.stride, a.kernel, strict=True)]
    padded = [size[0] + a.pad[0] + a.pad[2], size[1] + a.pad[1] + a.pad[3]]
    return [max(r - p, 0) for r, p in zip(reach, padded, strict=True)]


def _padded(v: View, pads: list[int], value: float) -> str:
    top, left, bottom, right = pads
    widths = v.integers(0, 0, top, left, 0, 0, bottom, right)
    return v.emit("Pad", v.x, widths, v.floats(value), mode="constant")


@emitter("max_pool")
def max_pool(v: View) -> str:
    a, x = v.a, v.x
    extra = _overhang(v)
    pads = [a.pad[0], a.pad[1], a.pad[2] + extra[0], a.pad[3] + extra[1]]
    if any(p >= k for p, k in zip(pads, a.kernel * 2, strict=True)):  # more than runtimes take
        x, pads = _padded(v, pads, LOWEST), [0] * 4
    return v.emit("MaxPool", x, kernel_shape=a.kernel, strides=a.stride, pads=pads)


@emitter("avg_pool")
def avg_pool(v: View) -> str:
    a, x = v.a, v.x
    if list(v.lengths()[2:]) == list(a.kernel) and not any(a.pad):
        return v.emit("GlobalAveragePool", x)  # faster, where runtimes leave it in float32
    extra, pads, count = _overhang(v), list(a.pad), a.count_pad
    if any(extra):
        if any(pads) and count:  # the padding counts, the cells past it do not
            x, pads = _padded(v, pads, 0.0), [0] * 4
        pads, count = [pads[0], pads[1], pads[2] + extra[0], pads[3] + extra[1]], False
    if any(p >= k for p, k in zip(pads, a.kernel * 2, strict=True)):
        raise v.decline(f"windows of {a.kernel} with padding {pads} (runtimes want it smaller)")
    window = {"kernel_shape": a.kernel, "strides": a.stride, "pads": pads}
    return v.emit("AveragePool", x, **window, count_include_pad=int(count))


@emitter("global_max_pool")
def global_max_pool(v: View) -> str:
    return v.emit("GlobalMaxPool", v.x)


@emitter("global_avg_pool")
def global_avg_pool(v: View) -> str:
    return v.emit("GlobalAveragePool", v.x)


@emitter("adaptive_avg_pool")
def adaptive_avg_pool(v: View) -> str:
    size, cells = fixed(v.lengths()[2:], f"node {v.node.name!r} (adaptive_avg_pool)"), v.a.output
    if all(n % c == 0 for n, c in zip(size, cells, strict=True)):
        kernel = [n // c for n, c in zip(size, cells, strict=True)]
        return v.emit("AveragePool", v.x, kernel_shape=kernel, strides=kernel)
    rows, columns = (averaging_matrix(n, c) for n, c in zip(size, cells, strict=True))
    return _both_ways(v, rows, columns)


def averaging_matrix(length: int, cells: int) -> np.ndarray:
    """(cells, length): row i averages the input cells of output cell i."""
    matrix = np.zeros((cells, length), np.float32)
    for i in range(cells):
        start, end = i * length // cells, -(-(i + 1) * length // cells)
        matrix[i, start:end] = np.float32(1) / np.float32(end - start)
    return matrix


def _both_ways(v: View, rows: np.ndarray, columns: np.ndarray) -> str:
    y = v.emit("MatMul", v.array(rows, "rows"), v.x)
    return v.emit("MatMul", y, v.array(np.ascontiguousarray(columns.T), "columns"))


@emitter("upsample")
def upsample(v: View) -> str:
    factor = float(v.a.factor)
    scales = v.floats(1.0, 1.0, factor, factor)
    mode = {"mode": "nearest", "nearest_mode": "floor"}
    return v.emit("Resize", v.x, "", scales, **mode, coordinate_transformation_mode="asymmetric")


@emitter("resize_bilinear")
def resize_bilinear(v: View) -> str:
    # pytorch_half_pixel is half_pixel that takes the first cell where there is one output, as MXNet
    centres = "align_corners" if v.a.align_corners else "pytorch_half_pixel"
    return v.emit(
        "Resize",
        v.x,
        "",
        "",
        v.integers(*v.a.size),
        mode="linear",
        axes=[2, 3],
        coordinate_transformation_mode=centres,
    )
