"""A graph in pieces: what runs between two nodes, from values that are there already."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from gluonzip.auto.source import engine_of
from gluonzip.graph import Constant, Graph, Input, interpret, known_types
from gluonzip.passes import simplify

Values = dict[str, np.ndarray]


class Cuts:
    """``graph`` cut in front of its nodes, by their indices.

    At a cut the *live* tensors (made before, or inputs of the graph, and read behind) are all that
    the rest needs.
    """

    def __init__(self, graph: Graph, threads: int | None = None) -> None:
        self.graph, self.threads = graph, threads
        self.types = known_types(graph)
        self.made_at = {name: at for at, node in enumerate(graph.nodes) for name in node.outputs}
        self.made_at.update({i.name: -1 for i in graph.inputs})
        self.end = len(graph.nodes)
        self._last_read = {name: self.end for name in graph.outputs}
        for at, node in enumerate(graph.nodes):
            for name in node.present_inputs():
                self._last_read[name] = max(at, self._last_read.get(name, -1))

    def live(self, at: int) -> list[str]:
        """Names of the tensors alive in front of node ``at``, in the order they are made."""
        return [
            name
            for name, made in self.made_at.items()
            if made < at <= self._last_read.get(name, -1)
        ]

    def bytes_per_row(self) -> int:
        """The most that the live tensors of any cut take, for one sample."""
        return max(
            sum(4 * math.prod(self.types[n].shape) for n in self.live(at) if n in self.types)
            for at in range(self.end + 1)
        )

    def run(
        self, begin: int, end: int, values: Values, changed: Mapping[str, Constant] | None = None
    ) -> Values:
        """The live tensors at ``end`` from those at ``begin``; ``changed``: constants instead."""
        wanted = self.live(end)
        made = [name for name in wanted if name not in values]
        found = {name: values[name] for name in wanted if name in values}
        if made:
            graph = self._piece(begin, end, made, changed or {})
            arrays = [np.ascontiguousarray(values[i.name]) for i in graph.inputs]
            found.update(zip(made, _call(graph, arrays, self.threads), strict=True))
        return found

    def _piece(
        self, begin: int, end: int, made: list[str], changed: Mapping[str, Constant]
    ) -> Graph:
        given = {i.name: i for i in self.graph.inputs}
        inputs = [given.get(name) or self._input(name) for name in self.live(begin)]
        nodes = self.graph.nodes[begin:end]
        constants = {**self.graph.constants, **changed}
        piece = Graph(inputs, list(made), nodes, constants, self.graph.name).copy()
        piece.prune()
        read = {name for node in piece.nodes for name in node.inputs} | set(made)
        piece.inputs = [i for i in piece.inputs if i.name in read]
        return simplify(piece)

    def _input(self, name: str) -> Input:
        known = self.types.get(name)
        shape = (0,) * len(known.shape) if known else ()
        return Input(name, shape, known.dtype if known else "float32")


def _call(graph: Graph, arrays: list[np.ndarray], threads: int | None) -> list[np.ndarray]:
    engine = engine_of(graph, threads)
    if engine is None:
        return interpret(graph, arrays)
    outputs = engine(*arrays)
    return list(outputs) if isinstance(outputs, tuple) else [outputs]


def reoriented(weight: np.ndarray, axis: int) -> np.ndarray:
    """Output channels first (or back, for the same ``axis``)."""
    return weight if axis == 0 else weight.swapaxes(0, axis)


def replaced(constant: Constant, values: np.ndarray) -> Constant:
    """A float32 constant in its place."""
    return replace(constant, data=np.ascontiguousarray(values, np.float32), scale=None)
