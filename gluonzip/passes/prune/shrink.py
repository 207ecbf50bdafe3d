"""Removing chosen channels: slices of constants, and the attributes that count channels."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from gluonzip.errors import UnsupportedError
from gluonzip.graph.ir import Constant, Graph, Node, replace_node
from gluonzip.graph.ops import OPS
from gluonzip.graph.validate import validate
from gluonzip.passes.prune.groups import ChannelGroups
from gluonzip.passes.prune.rules.weighted import whole_groups
from gluonzip.passes.prune.select import Selection
from gluonzip.passes.prune.summary import PruningRecord, summarize


def shrink(selection: Selection) -> tuple[Graph, PruningRecord]:
    """A new graph without the selected channels, and the record of what went.

    Every constant loses the slices of removed channels; groups of convolutions, constants of
    reshapes and bounds of slices follow. The result computes what the original computes when
    nobody reads the removed channels.
    """
    cut = _Cut(selection.found, selection.removed)
    source = selection.found.graph
    graph = source.copy()
    graph.constants = {name: cut.constant(name, c) for name, c in source.constants.items()}
    for node in list(graph.nodes):
        change = _CHANGES.get(node.op)
        if change:
            change(cut, graph, node)
    validate(graph)
    return graph, summarize(selection, graph, cut.kept_indices())


class _Cut:
    """Which indices of which axes stay."""

    def __init__(self, found: ChannelGroups, removed: np.ndarray) -> None:
        self.found = found
        self.removed = removed
        self.types = found.types()

    def stays(self, tensor: str, axis: int) -> np.ndarray | None:
        """Mask over the indices of an axis; None when all of them stay."""
        ids = self.found.axes.get(tensor, {}).get(axis)
        if ids is None:
            return None
        mask = ~np.isin(ids, self.removed)
        return None if mask.all() else mask

    def length(self, tensor: str, axis: int) -> int | None:
        """What is left of an axis; None when all of it stays."""
        mask = self.stays(tensor, axis)
        return None if mask is None else int(mask.sum())

    def rank(self, tensor: str) -> int:
        return len(self.types[tensor].shape)

    def constant(self, name: str, constant: Constant) -> Constant:
        data, scale = constant.data, constant.scale
        for axis in range(data.ndim):
            mask = self.stays(name, axis)
            if mask is None:
                continue
            if constant.per_group and axis != constant.axis:
                raise UnsupportedError(
                    f"weight {name!r} has a scale for each group of its inputs, so none of them "
                    "can be removed; prune first, then quantize per group"
                )
            data = np.compress(mask, data, axis=axis)
            if scale is not None and scale.ndim and axis == constant.axis:
                scale = scale[mask]
        return constant if data is constant.data else replace(constant, data=data, scale=scale)

    def kept_indices(self) -> dict[str, dict[int, np.ndarray]]:
        """Constant -> axis -> indices that stay, for the axes that lost some."""
        kept: dict[str, dict[int, np.ndarray]] = {}
        for name, constant in self.found.graph.constants.items():
            for axis in range(constant.data.ndim):
                mask = self.stays(name, axis)
                if mask is not None:
                    kept.setdefault(name, {})[axis] = np.flatnonzero(mask)
        return kept


def _convolution(cut: _Cut, graph: Graph, node: Node) -> None:
    groups, left = node.attrs.get("groups", 1), cut.length(node.inputs[0], 1)
    if groups == 1 or left is None:
        return
    width = len(cut.found.axes[node.inputs[0]][1]) // groups
    if whole_groups(groups, width):
        node.attrs["groups"] = left // width


def _reshape(cut: _Cut, graph: Graph, node: Node) -> None:
    codes = list(node.attrs["shape"])
    for at, axis in _literal_axes(codes, node, cut):
        left = cut.length(node.output, axis)
        if left is not None:
            codes[at] = left
    node.attrs["shape"] = codes


def _literal_axes(codes: list[int], node: Node, cut: _Cut) -> list[tuple[int, int]]:
    """(position in ``codes``, output axis) of every length that is written out."""
    if node.inputs[0] not in cut.types:
        return []
    found, axis, read, at = [], 0, 0, 0
    while at < len(codes):
        code = codes[at]
        if code == -2:
            axis += cut.rank(node.inputs[0]) - read
            read = cut.rank(node.inputs[0])
        elif code == -4:
            found += [(at + i, axis + i - 1) for i in (1, 2) if codes[at + i] > 0]
            axis, read, at = axis + 2, read + 1, at + 2
        else:
            found += [(at, axis)] if code > 0 else []
            axis, read = axis + 1, read + (2 if code == -3 else 1)
        at += 1
    return found


def _slice_axis(cut: _Cut, graph: Graph, node: Node) -> None:
    if node.inputs[0] not in cut.types:
        return
    a = OPS["slice_axis"].fill(node.attrs)
    mask = cut.stays(node.inputs[0], a.axis % cut.rank(node.inputs[0]))
    if mask is not None:
        begin, end, _ = slice(a.begin, a.end).indices(len(mask))
        before = int(mask[:begin].sum())
        node.attrs.update(begin=before, end=before + int(mask[begin:end].sum()))


def _split(cut: _Cut, graph: Graph, node: Node) -> None:
    """Parts that are no longer equal become slices."""
    a: Any = OPS["split"].fill(node.attrs, len(node.outputs))
    if a.squeeze or node.inputs[0] not in cut.types:
        return
    axis = a.axis % cut.rank(node.inputs[0])
    mask = cut.stays(node.inputs[0], axis)
    if mask is None:
        return
    lengths = [int(part.sum()) for part in np.split(mask, len(node.outputs))]
    if len(set(lengths)) == 1:
        return
    ends = np.cumsum(lengths).tolist()
    replace_node(
        graph,
        node,
        [
            Node(
                "slice_axis",
                graph.fresh(f"{node.name}.part{i}"),
                [node.inputs[0]],
                [output],
                {"axis": axis, "begin": end - length, "end": end},
            )
            for i, (output, end, length) in enumerate(zip(node.outputs, ends, lengths, strict=True))
        ],
    )


_CHANGES = {
    "conv2d": _convolution,
    "conv_transpose2d": _convolution,
    "reshape": _reshape,
    "slice_axis": _slice_axis,
    "split": _split,
}
