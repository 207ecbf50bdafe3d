"""From a Gluon network, plain or compressed, to the graph that an archive holds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from gluonzip.graph import Graph
from gluonzip.passes import optimize


def to_graph(net: Any, shape: tuple[int, ...], name: str) -> Graph:
    """``net`` traced, optimized and, where it simulates quantization, in integers.

    ``shape``: of one batch of its input. Raises TraceError as :func:`gluonzip.gluon.trace`.
    """
    from gluonzip.gluon import trace

    graph = optimize(trace(net, shape))
    graph.name = name
    return graph


def independent(graph: Graph) -> Graph:
    """A copy with arrays of its own, which training the network does not touch."""
    graph = graph.copy()
    graph.constants = {
        name: replace(constant, data=constant.data.copy())
        for name, constant in graph.constants.items()
    }
    return graph
