"""Channels through operators that move values without changing them."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from gluonzip.graph.ir import Node
from gluonzip.passes.prune.channels import STATIC
from gluonzip.passes.prune.propagation import Axes, Propagation, rule


@rule("flatten", "reshape")
def reshape(state: Propagation, node: Node, a: SimpleNamespace) -> Axes:
    return reshaped(state, node, state.shape(node.outputs[0]))


def reshaped(state: Propagation, node: Node, shape: tuple[int, ...]) -> Axes:
    """Axes of the node's first input after a reshape to ``shape`` (row-major order stays).

    Every element is marked with the channel it belongs to and the marks are reshaped. Where the
    marks then vary along several axes (channels split into rows and columns, as in a shuffle), the
    longest stays free and the channels along the others go together.
    """
    x = node.inputs[0]
    old = state.shape(x)
    free = {axis: ids for axis, ids in state.of(x).items() if not state.channels.locked(ids).all()}
    if not free:
        return {}
    kept = max(free, key=lambda axis: len(free[axis]))
    state.lock_all(x, f"{node.op} {node.name} mixes it with other channels", but=(kept,))
    ids = free[kept]
    marks = ids.reshape([-1 if axis == kept else 1 for axis in range(len(old))])
    marks = np.broadcast_to(marks, old).reshape(shape)
    return _as_axis(state, node, marks)


def _as_axis(state: Propagation, node: Node, marks: np.ndarray) -> Axes:
    classes = state.channels.roots(marks)
    varying = [
        axis for axis in range(marks.ndim) if (classes != classes.take([0], axis=axis)).any()
    ]
    if not varying:  # one class: it fills the tensor, and cannot leave
        state.channels.lock(marks.reshape(-1)[:1], f"{node.op} {node.name} leaves one class of it")
        return {}
    kept = max(varying, key=lambda axis: marks.shape[axis])
    ids = marks[tuple(slice(None) if axis == kept else 0 for axis in range(marks.ndim))]
    if len(varying) > 1:
        line = ids.reshape([-1 if axis == kept else 1 for axis in range(marks.ndim)])
        reason = f"{node.op} {node.name} joins it with channels that must stay"
        state.join(*_distinct(marks, line), reason)
    return {kept: ids}


def _distinct(marks: np.ndarray, line: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct pairs (mark, mark of its line): few, where elements are many."""
    pairs = np.stack([marks.reshape(-1), np.broadcast_to(line, marks.shape).reshape(-1)], 1)
    pairs = np.unique(pairs, axis=0)
    return pairs[:, 0], pairs[:, 1]


@rule("transpose")
def transpose(state: Propagation, node: Node, a: SimpleNamespace) -> Axes:
    axes = state.of(node.inputs[0])
    return {at: axes[axis] for at, axis in enumerate(a.axes) if axis in axes}


@rule("expand_dims")
def expand_dims(state: Propagation, node: Node, a: SimpleNamespace) -> Axes:
    new = a.axis % len(state.shape(node.outputs[0]))
    return {axis + (axis >= new): ids for axis, ids in state.of(node.inputs[0]).items()}


@rule("squeeze")
def squeeze(state: Propagation, node: Node, a: SimpleNamespace) -> Axes:
    shape = state.shape(node.inputs[0])
    gone = {axis % len(shape) for axis in a.axes} or {i for i, n in enumerate(shape) if n == 1}
    result: Axes = {}
    for axis, ids in state.of(node.inputs[0]).items():
        if axis in gone:
            state.channels.lock(ids, f"squeeze {node.name} needs its length of 1")
        else:
            result[axis - sum(g < axis for g in gone)] = ids
    return result


@rule("concat")
def concat(state: Propagation, node: Node, a: SimpleNamespace) -> Axes:
    shape = state.shape(node.outputs[0])
    along = a.axis % len(shape)
    result: Axes = {}
    operands = [state.of(name) for name in node.inputs]
    for axis in range(len(shape)):
        found = [axes.get(axis) for axes in operands]
        if all(ids is None for ids in found):
            continue
        if axis == along:
            lengths = [state.shape(name)[axis] for name in node.inputs]
            result[axis] = np.concatenate(
                [
                    np.full(n, STATIC) if ids is None else ids
                    for n, ids in zip(lengths, found, strict=True)
                ]
            )
            continue
        reason = f"concat {node.name} joins it with channels that must stay"
        for ids in found:
            static = np.full(shape[axis], STATIC)
            state.join(
                next(i for i in found if i is not None), static if ids is None else ids, reason
            )
        if all(ids is not None for ids in found):
            result[axis] = found[0]
    return result


@rule("slice_axis")
def slice_axis(state: Propagation, node: Node, a: SimpleNamespace) -> Axes:
    axes = dict(state.of(node.inputs[0]))
    axis = a.axis % len(state.shape(node.inputs[0]))
    if axis in axes:
        axes[axis] = state.slices[node.output] = axes[axis][a.begin : a.end]
    return axes


@rule("split")
def split(state: Propagation, node: Node, a: SimpleNamespace) -> list[Axes]:
    axes = state.of(node.inputs[0])
    rank = len(state.shape(node.inputs[0]))
    axis = a.axis % rank
    rest = {at: ids for at, ids in axes.items() if at != axis}
    if a.squeeze:
        if axis in axes:
            state.channels.lock(axes[axis], f"split {node.name} squeezes it")
        rest = {at - (at > axis): ids for at, ids in rest.items()}
        return [dict(rest) for _ in node.outputs]
    if axis not in axes:
        return [dict(rest) for _ in node.outputs]
    parts = np.split(axes[axis], len(node.outputs))
    state.slices.update(zip(node.outputs, parts, strict=True))
    return [{**rest, axis: part} for part in parts]


@rule("pad")
def pad(state: Propagation, node: Node, a: SimpleNamespace) -> Axes:
    result: Axes = {}
    for axis, ids in state.of(node.inputs[0]).items():
        width = a.width[2 * axis : 2 * axis + 2]
        result[axis] = np.pad(ids, width, constant_values=STATIC)
    return result
