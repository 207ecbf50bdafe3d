"""From a Gluon network, plain or compressed, to the graph that an archive holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from gluonzip.graph import Graph
from gluonzip.passes import optimize, store
from gluonzip.spec import FloatStorage


def to_graph(
    net: Any,
    shapes: Sequence[tuple[int, ...]],
    name: str,
    storage: tuple[FloatStorage, tuple[str, ...]] | None = None,
) -> Graph:
    """``net`` traced, optimized and, where it simulates quantization, in integers.

    ``shapes``: of one batch of each input. ``storage``: of floats, and of which layers. Raises
    TraceError as :func:`gluonzip.gluon.trace`, DataError as :func:`gluonzip.passes.store`.
    """
    from gluonzip.gluon import trace

    graph = optimize(trace(net, *shapes))
    graph.name = name
    return graph if storage is None else store(graph, *storage)


def independent(graph: Graph) -> Graph:
    """A copy with arrays of its own, which training the network does not touch."""
    graph = graph.copy()
    graph.constants = {
        name: replace(constant, data=constant.data.copy())
        for name, constant in graph.constants.items()
    }
    return graph
