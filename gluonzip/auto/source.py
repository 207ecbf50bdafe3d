"""A network as a graph and a way to look into it, whatever it comes as."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gluonzip import archive
from gluonzip.errors import ArchiveError, ConfigError, ShapeError, UnsupportedError
from gluonzip.graph import Graph, Node, TensorType, interpret, known_types
from gluonzip.graph.interpret import bind, run_node
from gluonzip.graph.reference import Value
from gluonzip.passes import fold_constants, simplify
from gluonzip.runtime import Engine


class Source:
    """``graph``: with constants folded. ``values(inputs, names)``: its tensors as real numbers."""

    def __init__(self, graph: Graph, name: str) -> None:
        self.graph, self.name = graph, name
        self.types: dict[str, TensorType] = known_types(graph)
        self.nodes = {node.name: node for node in graph.nodes}
        self.producers = graph.producers()
        self.opaque = any(node.op == "opaque" for node in graph.nodes)

    def values(self, inputs: Sequence[np.ndarray], names: Collection[str]) -> dict[str, np.ndarray]:
        """float32 arrays of tensors by name; int8 ones are multiplied by their scales."""
        found = self._run(self._bind(inputs), tuple(dict.fromkeys(names)))
        return {name: self._real(name, array) for name, array in found.items()}

    def _bind(self, inputs: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        try:
            return bind(self.graph, list(inputs))
        except ShapeError as error:
            raise ShapeError(f"the data does not fit {self.name}: {error}") from None

    def _run(self, inputs: Mapping[str, np.ndarray], names: tuple[str, ...]) -> dict:
        raise NotImplementedError

    def _real(self, name: str, array: np.ndarray) -> np.ndarray:
        if array.dtype != np.int8:
            return array
        return array * np.float32(self.types[name].scale)


class GraphSource(Source):
    """Runs in the engine, or in the interpreter where the engine lacks an operator."""

    def __init__(self, graph: Graph, name: str, threads: int | None = None) -> None:
        super().__init__(graph, name)
        self.engine = engine_of(graph, threads)

    def _run(self, inputs: Mapping[str, np.ndarray], names: tuple[str, ...]) -> dict:
        if self.engine is None:
            return interpret(self.graph, inputs, keep=names)[1]
        made = [name for name in names if name in self.producers]
        found = self.engine.taps(made, *inputs.values()) if made else {}
        return {name: found[name] if name in found else inputs[name] for name in names}


class GluonSource(Source):
    """Runs in MXNet; what lies between the nodes of one MXNet operator, in the interpreter."""

    def __init__(self, traced: Any, graph: Graph, name: str) -> None:
        from gluonzip.gluon.traced_tensors import TracedTensors

        super().__init__(graph, name)
        self.tensors = TracedTensors(traced)

    def _run(self, inputs: Mapping[str, np.ndarray], names: tuple[str, ...]) -> dict:
        inner = [n for n in names if n not in self.tensors.available]
        between = self._between(inner)
        given = {n for node in between for n in node.present_inputs()} - set(self.graph.constants)
        given -= {n for node in between for n in node.outputs}
        wanted = dict.fromkeys([*(n for n in names if n not in inner), *sorted(given)])
        found = self.tensors(list(inputs.values()), tuple(wanted))
        values = {name: Value(array) for name, array in found.items()}
        values.update({name: Value.of(c) for name, c in self.graph.constants.items()})
        for node in between:
            values.update(zip(node.outputs, run_node(node, values), strict=True))
        return {name: found[name] if name in found else values[name].data for name in names}

    def _between(self, names: list[str]) -> list[Node]:
        """The nodes that make ``names`` from tensors that MXNet has, in order."""
        waiting, chosen = list(names), set()
        while waiting:
            node = self.producers.get(waiting.pop())
            if node is None or node.name in chosen:
                continue
            chosen.add(node.name)
            waiting += [n for n in node.present_inputs() if n not in self.tensors.available]
        return [node for node in self.graph.nodes if node.name in chosen]


def engine_of(graph: Graph, threads: int | None = None) -> Engine | None:
    """An engine for ``graph``, or None where it lacks an operator or a type of input."""
    try:
        return Engine.from_graph(graph, threads=threads, raw=True)
    except (UnsupportedError, ArchiveError):  # an operator, or a dtype that no archive holds
        return None


# ---------------------------------------------------------------- from what the user has
def is_gluon(network: Any) -> bool:
    """Is it a Gluon network? (Without importing MXNet for what is not.)"""
    return any(
        c.__module__.startswith("mxnet.gluon") and c.__name__ == "Block"
        for c in type(network).__mro__
    )


def open_pair(
    dense: Any, compressed: Any, shapes: Sequence[tuple[int, ...]], threads: int | None = None
) -> tuple[Source, Source]:
    """Both networks in comparable form.

    Two Gluon networks are compared layer by layer as they are written. Otherwise batch norms and
    activations belong to the layers in front of them, as in an archive, on both sides.
    """
    plain = is_gluon(dense) and is_gluon(compressed)
    first = open_source(dense, shapes, plain, threads, "the dense network")
    return first, open_source(compressed, shapes, plain, threads, "the compressed network")


def open_source(
    network: Any,
    shapes: Sequence[tuple[int, ...]],
    plain: bool,
    threads: int | None = None,
    role: str = "the network",
    run: bool = True,
) -> Source:
    """A Gluon network, a Graph or the path of an archive; ConfigError for anything else.

    ``plain``: keep a Gluon network's layers as they are written. ``role``: what errors call it.
    ``run``: False for the graph alone, in a source that cannot be run.
    """
    if is_gluon(network):
        from gluonzip.gluon.tracing import trace_net

        traced = trace_net(network, *shapes)
        graph = fold_constants(traced.graph) if plain else simplify(traced.graph)
        return GluonSource(traced, graph, role) if run else Source(graph, role)
    if isinstance(network, (str, os.PathLike)):
        network = archive.read(Path(network))
    if isinstance(network, Graph):
        graph = simplify(network)
        return GraphSource(graph, role, threads) if run else Source(graph, role)
    hint = ""
    if isinstance(network, Engine):
        hint = ": an engine does not give its graph back; give the path of its archive"
    raise ConfigError(
        f"{role} is a {type(network).__name__}; give a Gluon network, a Graph or the path of an "
        f"archive{hint}"
    )
