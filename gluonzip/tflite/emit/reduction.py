"""Reductions and matrix products."""

from __future__ import annotations

from gluonzip.tflite.emit.registry import View, emitter, stored_axis
from gluonzip.tflite.flat import Tensor

REDUCTIONS = {"mean": "MEAN", "sum": "SUM", "max": "REDUCE_MAX"}


@emitter(*REDUCTIONS)
def reduce(v: View) -> Tensor:
    axes = [axis % v.rank for axis in v.a.axes] or list(range(v.rank))
    if v.rank == 4 and v.a.keepdims:
        x, axes = v.real(), [stored_axis(axis, 4) for axis in axes]
    else:
        x = v.natural(v.real())
    shape = [1 if axis in axes else n for axis, n in enumerate(x.shape)]
    if not v.a.keepdims:
        shape = [n for axis, n in enumerate(x.shape) if axis not in axes]
    kind, keep = REDUCTIONS[v.node.op], v.a.keepdims
    return v.op(kind, x, v.ints(*axes), shape=shape, table="Reducer", KeepDims=keep)


@emitter("matmul")
def matmul(v: View) -> Tensor:
    x, y = (v.natural(v.real(index)) for index in (0, 1))
    fields = {"AdjX": v.a.transpose_a, "AdjY": v.a.transpose_b}
    shape = v.type.shape
    return v.channels_last(v.op("BATCH_MATMUL", x, y, shape=shape, table="BatchMatMul", **fields))
