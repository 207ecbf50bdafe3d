"""A divided graph at work: the engine's segments and MXNet's, one after the other."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from gluonzip.errors import GluonzipError, UnsupportedError
from gluonzip.gluon._mxnet import mx
from gluonzip.gluon.arrays import view, wrap
from gluonzip.gluon.rebuild import GraphBlock
from gluonzip.graph.ir import Graph, Input
from gluonzip.passes.partition import Segment, partition
from gluonzip.runtime import Engine

Watch = Callable[[Segment, list[np.ndarray], list[np.ndarray]], None]


class Program:
    """``graph``, run by the engine as far as it can and by MXNet where it cannot.

    Segments are built when they first run, from the arrays that reach them. What the engine
    declines only then moves to MXNet, with the engine's reason; so :attr:`segments` is final after
    the first call. ``threads`` and ``isa``: as for :class:`gluonzip.runtime.Engine`.
    """

    def __init__(self, graph: Graph, threads: int | None = None, isa: str | None = None) -> None:
        self.graph, self.threads, self.isa = graph, threads, isa
        self.inputs = graph.inputs
        self._elsewhere: dict[str, str] = {}
        self._last_read: list[set[str]] = []
        self.segments: list[Segment] = []
        self._divide()

    def __call__(self, *inputs: Any, watch: Watch | None = None) -> list[Any]:
        """The graph's outputs, NDArrays. ``watch``: called after each of the engine's segments with
        the segment, its inputs and its outputs."""
        while True:
            try:
                return self._run(inputs, watch)
            except _Declined as declined:
                self._elsewhere[declined.node] = declined.reason
                self._divide()

    def _divide(self) -> None:
        self.segments = partition(self.graph, self._elsewhere)
        self._runners: list[Callable[..., list[Any]] | None] = [None] * len(self.segments)
        seen = set(self.graph.outputs)
        self._last_read = []
        for segment in reversed(self.segments):
            read = {i.name for i in segment.graph.inputs} | set(segment.graph.outputs)
            self._last_read.insert(0, read - seen)
            seen |= read

    def _run(self, inputs: tuple[Any, ...], watch: Watch | None) -> list[Any]:
        values = dict(zip((i.name for i in self.inputs), inputs, strict=True))
        for at, segment in enumerate(self.segments):
            given = [values[i.name] for i in segment.graph.inputs]
            if self._runners[at] is None:
                self._runners[at] = self._build(at, given)
            made = self._runners[at](*given)
            if watch is not None and segment.in_engine:
                watch(self.segments[at], list(map(view, given)), list(map(view, made)))
            values.update(zip(segment.graph.outputs, made, strict=True))
            for name in self._last_read[at]:
                values.pop(name, None)
        return [values[name] for name in self.graph.outputs]

    def _build(self, at: int, given: list[Any]) -> Callable[..., list[Any]]:
        segment = self.segments[at]
        if segment.in_engine:
            graph = _with_inputs(segment.graph, [(0,) * x.ndim for x in given])
            self.segments[at] = replace(segment, graph=graph)
            return self._engine(graph, given)
        return _block(_with_inputs(segment.graph, [x.shape for x in given]))

    def _engine(self, graph: Graph, given: list[Any]) -> Callable[..., list[Any]]:
        try:
            engine = Engine.from_graph(graph, threads=self.threads, isa=self.isa, raw=True)
            engine(*map(view, given))
        except GluonzipError as error:
            raise _declined(graph, error) from error

        def run(*arrays: Any) -> list[Any]:
            found = engine(*map(view, arrays))
            found = found if isinstance(found, tuple) else (found,)
            return [wrap(array, mx.cpu()) for array in found]

        run.engine = engine
        return run

    @property
    def engines(self) -> list[tuple[Segment, Engine]]:
        """The engine of each of its segments that has run."""
        runners = zip(self.segments, self._runners, strict=True)
        return [(segment, run.engine) for segment, run in runners if hasattr(run, "engine")]


class _Declined(Exception):  # noqa: N818 - a signal, not a failure
    """The engine does not run a node."""

    def __init__(self, node: str, reason: str) -> None:
        super().__init__(node, reason)
        self.node, self.reason = node, reason


def _declined(graph: Graph, error: GluonzipError) -> Exception:
    """Which node the engine's error is about; the error itself if it is about none."""
    quoted = set(re.findall(r"'([^']*)'", str(error)))
    node = next((n for n in graph.nodes if n.name in quoted), None)
    if node is None or not isinstance(error, UnsupportedError):
        return error
    return _Declined(node.name, _plain(node.name, str(error)))


def _plain(node: str, message: str) -> str:
    """The engine's reason, without the node's name in front and its advice to whoever built the
    graph by hand."""
    reason = " ".join(message.split()).partition(f"'{node}': ")[2] or message
    return reason.partition("; run gluonzip")[0]


def _with_inputs(graph: Graph, shapes: list[tuple[int, ...]]) -> Graph:
    pairs = zip(graph.inputs, shapes, strict=True)
    return replace(graph, inputs=[Input(i.name, tuple(shape), i.dtype) for i, shape in pairs])


def _block(graph: Graph) -> Callable[..., list[Any]]:
    """MXNet's segment as a hybridized network."""
    graph.meta["outputs"] = list(range(len(graph.outputs)))
    block = GraphBlock(graph, prefix="")
    block.hybridize(static_alloc=True)

    def run(*arrays: Any) -> list[Any]:
        with mx.autograd.pause(train_mode=False):
            found = block(*arrays)
        return list(found) if isinstance(found, (list, tuple)) else [found]

    return run


def summary(segments: list[Segment]) -> Mapping[str, str]:
    """Node -> ``operator: why`` for every node that the engine had to leave to MXNet."""
    from gluonzip.passes.partition import operator

    return {
        node.name: f"{operator(node)}: {why}"
        for segment in segments
        if segment.foreign is not None
        for node in segment.graph.nodes
        if (why := segment.foreign[node.name])
    }
