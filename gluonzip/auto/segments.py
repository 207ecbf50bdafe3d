"""A graph in segments, each run from values that are there already."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from gluonzip.auto.source import engine_of
from gluonzip.graph import Constant, Graph, Input, interpret, known_types
from gluonzip.passes import simplify

Values = dict[str, np.ndarray]


class Cuts:
    """``graph`` cut in front of some nodes, ``points`` (indices), into segments.

    At a cut the *live* tensors (made before, or inputs of the graph, and read behind) are all that
    the rest needs. The engine of a segment is made once; of one with changed constants, each time.
    """

    def __init__(self, graph: Graph, points: Iterable[int], threads: int | None = None) -> None:
        self.graph, self.threads = graph, threads
        self.end = len(graph.nodes)
        self.points = sorted({0, self.end, *points})
        self.types = known_types(graph)
        made = {name: at for at, node in enumerate(graph.nodes) for name in node.outputs}
        self._made_at = {i.name: -1 for i in graph.inputs} | made
        self._last_read = {name: self.end for name in graph.outputs}
        for at, node in enumerate(graph.nodes):
            for name in node.present_inputs():
                self._last_read[name] = max(at, self._last_read.get(name, -1))
        self._segments: dict[int, _Segment] = {}
        self._live: dict[int, list[str]] = {}

    def live(self, at: int) -> list[str]:
        """Names of the tensors alive in front of node ``at``, in the order they are made."""
        if at not in self._live:  # (functools.cache would keep every engine for good)
            made = self._made_at.items()
            self._live[at] = [n for n, by in made if by < at <= self._last_read.get(n, -1)]
        return self._live[at]

    def bytes_per_row(self) -> int:
        """What all tensors take together, for one sample: no less than the engines hold."""
        shapes = (self.types[n].shape for n in self._made_at if n in self.types)
        return sum(4 * math.prod(shape) for shape in shapes)

    def run(
        self, begin: int, end: int, values: Values, changed: Mapping[str, Constant] | None = None
    ) -> Values:
        """The live tensors at ``end`` from those at ``begin``, both points of the cuts;
        ``changed``: constants in place of the graph's."""
        points = [at for at in self.points if begin <= at <= end]
        for first, last in itertools.pairwise(points):
            made = self._segment(first, last, changed or {})(values)
            wanted = self.live(last)
            values = {name: made[name] if name in made else values[name] for name in wanted}
        return values

    def _segment(self, begin: int, end: int, changed: Mapping[str, Constant]) -> _Segment:
        nodes = self.graph.nodes[begin:end]
        if any(name in changed for node in nodes for name in node.inputs):
            return self._build(begin, end, changed)
        if begin not in self._segments:
            self._segments[begin] = self._build(begin, end, {})
        return self._segments[begin]

    def _build(self, begin: int, end: int, changed: Mapping[str, Constant]) -> _Segment:
        given = {i.name: i for i in self.graph.inputs}
        inputs = [given.get(name) or self._input(name) for name in self.live(begin)]
        made = [name for name in self.live(end) if self._made_at[name] >= begin]
        nodes, constants = self.graph.nodes[begin:end], {**self.graph.constants, **changed}
        piece = Graph(inputs, made, nodes, constants, self.graph.name).copy()
        piece.prune()
        read = {name for node in piece.nodes for name in node.inputs}
        piece.inputs = [i for i in piece.inputs if i.name in read]
        return _Segment(piece, self.threads)

    def _input(self, name: str) -> Input:
        known = self.types[name]
        return Input(name, (0,) * len(known.shape), known.dtype)


class _Segment:
    """``segment(values)``: the tensors that it makes, by name."""

    def __init__(self, piece: Graph, threads: int | None) -> None:
        self.inputs, self.outputs = [i.name for i in piece.inputs], list(piece.outputs)
        self.graph = simplify(piece)
        self.engine = engine_of(self.graph, threads) if self.outputs else None

    def __call__(self, values: Values) -> Values:
        if not self.outputs:
            return {}
        arrays = [np.ascontiguousarray(values[name]) for name in self.inputs]
        if self.engine is None:
            found = interpret(self.graph, arrays)
        else:
            found = self.engine(*arrays)
            found = found if isinstance(found, tuple) else (found,)
        return dict(zip(self.outputs, found, strict=True))


def reoriented(weight: np.ndarray, axis: int) -> np.ndarray:
    """Output channels first (or back, for the same ``axis``)."""
    return weight if axis == 0 else weight.swapaxes(0, axis)


def replaced(constant: Constant, values: np.ndarray) -> Constant:
    """A float32 constant in its place."""
    return replace(constant, data=np.ascontiguousarray(values, np.float32), scale=None)
