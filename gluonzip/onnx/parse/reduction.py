"""Reductions."""

from __future__ import annotations

from gluonzip.onnx.emit.reduction import REDUCTIONS
from gluonzip.onnx.parse.registry import OnnxNode, reader

_OPS = {name: op for op, name in REDUCTIONS.items()}


@reader(*REDUCTIONS.values())
def reduce(n: OnnxNode) -> str:
    return _reduce(n, _OPS[n.op], n.x)


@reader("ReduceSumSquare")
def sum_of_squares(n: OnnxNode) -> str:
    return _reduce(n, "sum", n.emit("square", n.x, suffix="square"))


def _reduce(n: OnnxNode, op: str, x: str) -> str:
    axes = n.integers(1, "axes", [])
    if not axes and n.attrs.get("noop_with_empty_axes"):
        return n.emit("identity", x)
    keep = bool(n.attrs.get("keepdims", 1))
    return n.emit(op, x, axes=[axis % n.rank for axis in axes], keepdims=keep)
