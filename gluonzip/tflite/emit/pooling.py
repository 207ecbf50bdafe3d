"""Pooling and resampling."""

from __future__ import annotations

import numpy as np

from gluonzip.graph import shapes
from gluonzip.graph.reference.pooling import divisors
from gluonzip.passes.quantize.kinds import Codes
from gluonzip.tflite.emit.registry import View, emitter
from gluonzip.tflite.emit.weighted import padded, same_padding
from gluonzip.tflite.flat import Tensor
from gluonzip.tflite.package import tflite

_P = tflite.Padding


def _pads(v: View) -> list[int]:
    """Padding with which whole windows cover what the node's windows reach."""
    a = v.a
    out = shapes.pool(a, v.shape())[2:]
    pads = list(a.pad)
    for axis in (0, 1):
        reach = (out[axis] - 1) * a.stride[axis] + a.kernel[axis]
        pads[2 + axis] = max(reach - v.shape()[2 + axis] - pads[axis], 0)
    return pads


def _pool(v: View, kind: str, x: Tensor, mode: int, codes: Codes | None) -> Tensor:
    (kh, kw), (sh, sw) = v.a.kernel, v.a.stride
    fields = {"Padding": mode, "StrideH": sh, "StrideW": sw, "FilterHeight": kh, "FilterWidth": kw}
    return v.op(kind, x, codes=codes, table="Pool2D", **fields, FusedActivationFunction=0)


@emitter("max_pool")
def max_pool(v: View) -> Tensor:
    x = v.tensor()
    pads = _pads(v)
    if not any(pads):
        return _pool(v, "MAX_POOL_2D", x, _P.VALID, x.codes)
    if same_padding(v, v.a.kernel, v.a.stride, [1, 1], pads):
        return _pool(v, "MAX_POOL_2D", x, _P.SAME, x.codes)
    lowest = float(np.finfo(np.float32).min)
    return _pool(v, "MAX_POOL_2D", padded(v, x, pads, lowest), _P.VALID, x.codes)


@emitter("avg_pool")
def avg_pool(v: View) -> Tensor:
    pads, a = _pads(v), v.a
    counts = divisors(a, v.shape())
    if not any(pads) and v.tensor().dtype == "int8":
        x = v.tensor()  # TFLite's keeps the scale; the driver requantizes
        return _pool(v, "AVERAGE_POOL_2D", x, _P.VALID, x.codes)
    whole = float(a.kernel[0] * a.kernel[1])
    x = padded(v, v.real(), pads) if any(pads) else v.real()
    y = _pool(v, "AVERAGE_POOL_2D", x, _P.VALID, None)
    if (counts == whole).all():
        return y
    factors = (np.float32(whole) / counts).reshape(1, *counts.shape, 1)
    return v.op("MUL", y, v.array(factors, "counts"), table="Mul")


@emitter("global_avg_pool", "global_max_pool")
def global_pool(v: View) -> Tensor:
    axes, x = v.ints(1, 2), v.tensor()
    kind = "MEAN" if v.node.op == "global_avg_pool" else "REDUCE_MAX"
    if not v.integer:
        x = v.real()
    return v.op(
        kind, x, axes, codes=v.out_codes if v.integer else None, table="Reducer", KeepDims=True
    )


@emitter("adaptive_avg_pool")
def adaptive_avg_pool(v: View) -> Tensor:
    size, cells = v.shape()[2:], v.a.output
    if any(n % c for n, c in zip(size, cells, strict=True)):
        raise v.decline(f"cells of unequal size, {size} to {cells}")
    kh, kw = (n // c for n, c in zip(size, cells, strict=True))
    fields = {"StrideH": kh, "StrideW": kw, "FilterHeight": kh, "FilterWidth": kw}
    fields |= {"Padding": _P.VALID, "FusedActivationFunction": 0}
    return v.op("AVERAGE_POOL_2D", v.real(), table="Pool2D", **fields)


@emitter("upsample")
def upsample(v: View) -> Tensor:
    size = v.ints(*v.type.shape[2:])
    return v.op("RESIZE_NEAREST_NEIGHBOR", v.real(), size, table="ResizeNearestNeighbor")


@emitter("resize_bilinear")
def resize_bilinear(v: View) -> Tensor:
    a = v.a
    if 1 in a.size:
        raise v.decline(f"to {a.size}: one cell is taken from elsewhere in TFLite")
    fields = {"AlignCorners": a.align_corners, "HalfPixelCenters": not a.align_corners}
    return v.op("RESIZE_BILINEAR", v.real(), v.ints(*a.size), table="ResizeBilinear", **fields)
