"""Reductions and matrix products."""

from __future__ import annotations

from gluonzip.onnx.emit.registry import View, emitter

REDUCTIONS = {"mean": "ReduceMean", "sum": "ReduceSum", "max": "ReduceMax"}


@emitter(*REDUCTIONS)
def reduce(v: View) -> str:
    axes = sorted(axis % v.rank for axis in v.a.axes) or range(v.rank)
    inputs = [v.x, v.integers(*axes)]
    return v.emit(REDUCTIONS[v.node.op], *inputs, keepdims=int(v.a.keepdims))


@emitter("matmul")
def matmul(v: View) -> str:
    sides = []
    for index, flip in ((0, v.a.transpose_a), (1, v.a.transpose_b)):
        rank = len(v.lengths(index))
        perm = [*range(rank - 2), rank - 1, rank - 2]
        sides.append(v.emit("Transpose", v.input(index), perm=perm) if flip else v.input(index))
    return v.emit("MatMul", *sides)
