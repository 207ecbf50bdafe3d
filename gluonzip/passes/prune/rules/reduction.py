"""Channels through pooling, reductions, normalized exponentials and matrix products."""

from __future__ import annotations

from types import SimpleNamespace

from gluonzip.graph.ir import Node
from gluonzip.passes.prune.propagation import Axes, Propagation, rule
from gluonzip.passes.prune.rules.elementwise import broadcast


@rule(
    "max_pool",
    "avg_pool",
    "global_max_pool",
    "global_avg_pool",
    "adaptive_avg_pool",
    "upsample",
    "resize_bilinear",
)
def pooling(state: Propagation, node: Node, a: SimpleNamespace) -> Axes:
    return _without(state, node, range(2, 4), keepdims=True)


@rule("mean", "sum", "max")
def reduce(state: Propagation, node: Node, a: SimpleNamespace) -> Axes:
    rank = len(state.shape(node.inputs[0]))
    axes = [axis % rank for axis in a.axes] or range(rank)
    return _without(state, node, axes, a.keepdims)


@rule("peak")
def peak(state: Propagation, node: Node, a: SimpleNamespace) -> Axes:
    rank = len(state.shape(node.inputs[0]))
    return _without(state, node, range(1, rank), keepdims=False)


@rule("softmax", "log_softmax")
def softmax(state: Propagation, node: Node, a: SimpleNamespace) -> Axes:
    return _without(state, node, [a.axis % len(state.shape(node.inputs[0]))], keepdims=True)


@rule("l2_normalize")
def l2_normalize(state: Propagation, node: Node, a: SimpleNamespace) -> Axes:
    rank = len(state.shape(node.inputs[0]))
    axes = {"instance": range(1, rank), "channel": [1], "spatial": range(2, rank)}[a.mode]
    return _without(state, node, axes, keepdims=True)


def _without(state: Propagation, node: Node, axes, keepdims: bool) -> Axes:
    """The input's axes, those that the operator runs over locked."""
    found = state.of(node.inputs[0])
    result: Axes = {}
    for axis, ids in found.items():
        if axis in axes:
            state.channels.lock(ids, f"{node.op} {node.name} runs over it")
        else:
            result[axis if keepdims else axis - sum(gone < axis for gone in axes)] = ids
    return result


@rule("matmul")
def matmul(state: Propagation, node: Node, a: SimpleNamespace) -> Axes:
    """The summed index of both factors goes together; batch axes as in broadcasting."""
    (x, m), (y, n) = (
        _swapped(state, name, swap)
        for name, swap in zip(node.inputs, (a.transpose_a, a.transpose_b), strict=True)
    )
    rank = max(len(m), len(n))
    columns, rows = x.get(len(m) - 1), y.get(len(n) - 2)
    reason = f"matmul {node.name} sums over it with an axis that must stay"
    if columns is not None and rows is not None:
        state.join(columns, rows, reason)
    for ids in (columns, rows):
        if ids is not None and (columns is None or rows is None):
            state.channels.lock(ids, reason)
    batch = [
        ({i: ids for i, ids in axes.items() if i < len(s) - 2}, s[:-2])
        for axes, s in ((x, m), (y, n))
    ]
    result = broadcast(state, node, batch)
    if len(m) - 2 in x:
        result[rank - 2] = x[len(m) - 2]
    if len(n) - 1 in y:
        result[rank - 1] = y[len(n) - 1]
    return result


def _swapped(state: Propagation, name: str, swap: bool) -> tuple[Axes, tuple[int, ...]]:
    """Axes and shape of a factor, its last two axes swapped if asked."""
    axes, shape = state.of(name), state.shape(name)
    if not swap:
        return axes, shape
    last, before = len(shape) - 1, len(shape) - 2
    order = {last: before, before: last}
    return {order.get(axis, axis): ids for axis, ids in axes.items()}, (
        *shape[:-2],
        shape[-1],
        shape[-2],
    )
