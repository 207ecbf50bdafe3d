"""Graphs that tell of their activations instead of their outputs."""

from __future__ import annotations

from collections.abc import Sequence

from gluonzip.graph import Graph, Names, Node


def with_outputs(graph: Graph, names: Sequence[str]) -> Graph:
    """``graph`` whose outputs are the tensors ``names``; what does not lead to them is gone."""
    graph = graph.copy()
    graph.outputs = list(names)
    graph.prune()
    return graph


def with_peaks(graph: Graph, names: Sequence[str]) -> Graph:
    """``graph`` whose outputs are the lowest and highest values of the tensors ``names``, row by
    row."""
    graph, fresh = graph.copy(), Names(graph)
    peaks = []
    for name in names:
        node = fresh.fresh(f"{name}_peak")
        graph.nodes.append(Node("peak", node, [name], [node]))
        peaks.append(node)
    return with_outputs(graph, peaks)
