"""What pruning did: layers, parameters and multiply-accumulates before and after."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from gluonzip.graph.ir import Graph, Node, TensorType
from gluonzip.graph.ops import OPS

if TYPE_CHECKING:
    from gluonzip.passes.prune.select import Selection


@dataclass(frozen=True)
class LayerSize:
    """One node with parameters or multiply-accumulates: (before, after) of each figure.

    ``channels``: output channels of a weighted layer, None for others. ``macs``: for the shapes
    that the groups were found with; None when they are unknown, behind an opaque operator.
    """

    name: str
    op: str
    channels: tuple[int, int] | None
    parameters: tuple[int, int]
    macs: tuple[int, int] | None


@dataclass(frozen=True, eq=False)
class PruningRecord:
    """The difference between a graph and its pruned self.

    ``removed``: layer -> indices of the output channels it lost. ``kept``: constant -> axis ->
    indices that stayed, for axes that lost some (also what optimizer states must be cut by).
    ``untouched``: layer -> why its channels (or some of them) stayed.
    """

    layers: list[LayerSize]
    removed: dict[str, np.ndarray]
    kept: dict[str, dict[int, np.ndarray]]
    untouched: dict[str, str] = field(default_factory=dict)

    @property
    def parameters(self) -> tuple[int, int]:
        """All parameters, before and after."""
        return _total([layer.parameters for layer in self.layers])

    @property
    def macs(self) -> tuple[int, int]:
        """All multiply-accumulates, before and after."""
        return _total([layer.macs for layer in self.layers if layer.macs])

    def to_text(self) -> str:
        """A table of the layers that changed, the totals, and why channels stayed elsewhere."""
        rows = [("layer", "channels", "parameters", "MACs")]
        rows += [
            (layer.name, *map(_arrow, (layer.channels, layer.parameters, layer.macs)))
            for layer in self.layers
            if layer.channels and layer.parameters[0] != layer.parameters[1]
        ]
        rows.append(("whole network", "", _arrow(self.parameters), _arrow(self.macs)))
        widths = [max(len(row[i]) for row in rows) for i in range(4)]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        lines += [f"stays: {name}: {reason}" for name, reason in self.untouched.items()]
        return "\n".join(lines) + "\n"


def _total(pairs: list[tuple[int, int]]) -> tuple[int, int]:
    return sum(p[0] for p in pairs), sum(p[1] for p in pairs)


def _arrow(pair: tuple[int, int] | None) -> str:
    if pair is None:
        return "?"
    before, after = pair
    if before == after or not before:
        return f"{before:,}"
    return f"{before:,} -> {after:,} ({after / before - 1:+.1%})"


def summarize(
    selection: Selection, graph: Graph, kept: dict[str, dict[int, np.ndarray]]
) -> PruningRecord:
    """The record of the step from ``selection.found.graph`` to ``graph``."""
    found = selection.found
    removed = {
        name: np.flatnonzero(np.isin(classes, selection.removed))
        for name, classes in found.layers.items()
    }
    before, after = _sizes(found.graph, found.types()), _sizes(graph, found.types(graph))
    layers = []
    for node in found.graph.nodes:
        if node.name not in before or node.name not in after:
            continue
        classes = found.layers.get(node.name)
        channels = (
            None if classes is None else (len(classes), len(classes) - len(removed[node.name]))
        )
        parameters, macs = zip(before[node.name], after[node.name], strict=True)
        known = None if None in macs else macs
        layers.append(LayerSize(node.name, node.op, channels, parameters, known))
    removed = {name: indices for name, indices in removed.items() if len(indices)}
    return PruningRecord(layers, removed, kept, dict(selection.untouched))


def _sizes(graph: Graph, types: Mapping[str, TensorType]) -> dict[str, tuple[int, int | None]]:
    """Node -> (parameters that it is the first to read, multiply-accumulates), where not both 0.

    What is computed from constants alone (a masked weight) counts for the node that reads it.
    """
    sources: dict[str, set[str]] = {name: {name} for name in graph.constants}
    counted: set[str] = set()
    sizes = {}
    for node in graph.nodes:
        found = [sources.get(name) for name in node.present_inputs()]
        own = set().union(*(names for names in found if names))
        macs = _macs(node, types)
        if found and all(names is not None for names in found) and not macs:
            sources.update(dict.fromkeys(node.outputs, own))
            continue
        own -= counted
        counted |= own
        parameters = sum(graph.constants[name].data.size for name in own)
        if parameters or macs:
            sizes[node.name] = (parameters, macs)
    return sizes


def _macs(node: Node, types: Mapping[str, TensorType]) -> int | None:
    """Multiply-accumulates of one node; None when a shape is unknown."""
    spec = OPS[node.op]
    if spec.macs is None:
        return 0
    if any(name not in types for name in (*node.present_inputs(), *node.outputs)):
        return None
    shapes = [types[name].shape if name else None for name in node.inputs]
    return spec.macs(spec.fill(node.attrs), shapes, types[node.outputs[0]].shape)
