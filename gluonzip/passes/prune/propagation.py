"""The state of channel propagation: which channel stands behind each index of each tensor.

For every tensor, ``axes`` maps an axis to the ids of its indices. An axis that is not in the map is
left alone. One invariant makes removal possible: if an axis is in the map, then removing a class
removes whole slices of the tensor, and nothing else depends on the class.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import SimpleNamespace

import numpy as np

from gluonzip.errors import UnsupportedError
from gluonzip.graph.ir import Graph, Node, TensorType
from gluonzip.graph.ops import OPS
from gluonzip.graph.types import infer_types, node_types
from gluonzip.passes.prune.channels import STATIC, Channels, Ids

Axes = dict[int, Ids]
Rule = Callable[["Propagation", Node, SimpleNamespace], "list[Axes] | Axes"]
RULES: dict[str, Rule] = {}


def rule(*ops: str) -> Callable[[Rule], Rule]:
    """Register how channels go through ``ops``: a function to the axes of the node's output."""

    def register(function: Rule) -> Rule:
        for op in ops:
            assert op not in RULES, op
            RULES[op] = function
        return function

    return register


class Propagation:
    """Sends channel ids through ``graph``. ``producers``: node name -> ids of the output channels
    of its weight. ``slices``: (node, output) -> ids of a part cut out along the channels."""

    def __init__(self, graph: Graph, types: Mapping[str, TensorType]) -> None:
        self.graph = graph
        self.channels = Channels()
        self.types = types
        self.axes: dict[str, Axes] = {i.name: {} for i in graph.inputs}
        self.producers: dict[str, Ids] = {}
        self.slices: dict[str, Ids] = {}
        for node in graph.nodes:
            self._visit(node)
        for name in graph.outputs:
            self.lock_all(name, "its channels are an output of the network")

    def _visit(self, node: Node) -> None:
        tensors = [*node.present_inputs(), *node.outputs]
        if node.op not in RULES or any(t not in self.types for t in tensors):
            for name in node.present_inputs():
                self.lock_all(name, self._blocked(node))
            self.axes.update({name: {} for name in node.outputs})
            return
        a = OPS[node.op].fill(node.attrs, len(node.outputs))
        found = RULES[node.op](self, node, a)
        found = found if isinstance(found, list) else [found]
        self.axes.update(zip(node.outputs, found, strict=True))

    def _blocked(self, node: Node) -> str:
        if node.op == "opaque":
            return f"operator {node.attrs.get('operator')} ({node.name}) is not in the op table"
        if node.op not in RULES:
            return f"nothing is known about how channels go through {node.op} ({node.name})"
        return f"{node.name} lies behind an operator that is not in the op table"

    # ------------------------------------------------------------ looking things up
    def shape(self, name: str) -> tuple[int, ...]:
        return self.types[name].shape

    def of(self, name: str) -> Axes:
        """Axes of a tensor. Every index of a constant gets a channel of its own at first use."""
        if name in self.graph.constants:
            for axis, length in enumerate(self.shape(name)):
                if axis not in self.axes.setdefault(name, {}):
                    self.axes[name][axis] = self.channels.fresh(length)
        return self.axes[name]

    def is_free(self, name: str, axis: int) -> bool:
        """Whether ``name`` is a constant whose ``axis`` nobody has used yet."""
        return name in self.graph.constants and axis not in self.axes.get(name, {})

    # ------------------------------------------------------------ saying what must hold
    def bind(self, name: str, axis: int, ids: Ids | None, reason: str) -> None:
        """Indices of ``axis`` of ``name`` (often a constant) are the channels ``ids``.

        None: they must stay, for ``reason``.
        """
        if ids is None:
            ids = np.full(self.shape(name)[axis], STATIC)
        if self.is_free(name, axis):
            self.axes.setdefault(name, {})[axis] = ids
        elif axis in self.axes[name]:
            self.join(self.axes[name][axis], ids, reason)
        else:
            self.channels.lock(ids, reason)

    def join(self, a: Ids, b: Ids, reason: str) -> None:
        """Channels ``a`` and ``b`` go together, pair by pair; ``reason``: why static ones stay."""
        for one, other in ((a, b), (b, a)):
            static = np.broadcast_to(one == STATIC, np.broadcast_shapes(a.shape, b.shape))
            self.channels.lock(np.broadcast_to(other, static.shape)[static], reason)
        moving = (a != STATIC) & (b != STATIC)
        if moving.any():
            a, b = np.broadcast_arrays(a, b)
            self.channels.union(a[moving], b[moving])

    def lock_all(self, name: str, reason: str, but: tuple[int, ...] = ()) -> None:
        """Lock every axis of a tensor except ``but``."""
        if name in self.graph.constants:
            for axis in set(range(self.graph.constants[name].data.ndim)) - set(but):
                self.bind(name, axis, None, reason)
            return
        for axis, ids in self.axes.get(name, {}).items():
            if axis not in but:
                self.channels.lock(ids, reason)

    def keep_only(self, name: str, axis: int, reason: str) -> Ids | None:
        """Ids of ``axis``; every other axis of the tensor is locked."""
        axes = self.of(name)
        self.lock_all(name, reason, but=(axis,))
        return axes.get(axis)


def tensor_types(
    graph: Graph,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    foreign: Mapping[str, tuple[int, ...]] | None = None,
) -> dict[str, TensorType]:
    """As ``infer_types``, without the tensors behind opaque nodes.

    ``foreign``: shapes of opaque nodes' outputs, as far as they are known.
    """
    types = infer_types(Graph(graph.inputs, [], [], graph.constants, graph.name), shapes)
    foreign = foreign or {}
    for node in graph.nodes:
        if node.op == "opaque":
            outputs = [name for name in node.outputs if foreign.get(name)]
            types.update({name: TensorType(tuple(foreign[name])) for name in outputs})
            continue
        if all(name in types for name in node.present_inputs()):
            try:
                types.update(zip(node.outputs, node_types(node, types), strict=True))
            except UnsupportedError:
                continue
    return types
