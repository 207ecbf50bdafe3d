"""The graph: named tensors and nodes over one op table. NumPy only, never MXNet.

A :class:`Graph` is a list of :class:`Node` in topological order. A tensor is a name: a graph input,
a :class:`Constant`, or an output of exactly one node. Logical layouts are MXNet's (activations
N, C, H, W; convolution weights O, I/groups, KH, KW; dense weights O, I); physical layouts are
the engine's business. Shapes and dtypes of intermediate tensors are never stored: they are
inferred (:func:`gluonzip.graph.infer_types`), so that one graph serves any batch and image size.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gluonzip.errors import GraphError
from gluonzip.graph.scales import spread

CODE_DTYPES = ("int8", "uint8")
"""Codes in [-127, 127] and in [0, 255]."""


@dataclass(frozen=True)
class TensorType:
    """Shape, dtype and (for activations of codes) scale of a tensor.

    ``shape`` has non-negative integers; ``dtype`` is a NumPy dtype name (``"float32"``, ``"int8"``,
    ``"uint8"``, ``"int32"``); ``scale`` is set if and only if the tensor holds codes, int8 or
    uint8: real value = code * scale.
    """

    shape: tuple[int, ...]
    dtype: str = "float32"
    scale: float | None = None

    @property
    def holds_codes(self) -> bool:
        """int8 or uint8?"""
        return self.dtype in CODE_DTYPES


@dataclass(frozen=True)
class Input:
    """A graph input. ``shape`` is the nominal shape; an axis of 0 may have any length."""

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"


@dataclass(frozen=True, eq=False)
class Constant:
    """A weight or other fixed tensor.

    Plain: ``data`` is any array and ``scale`` is None. Quantized: ``data`` is int8 codes in
    [-max_code(bits), max_code(bits)], -1 and 1 if ``bits`` is 1, and ``scale`` is float32, of shape
    () (per tensor), (data.shape[axis],) (per channel) or (data.shape[axis], groups) (per group:
    see :func:`gluonzip.graph.scales.spread`); real value = code * scale. Folding a batch norm
    multiplies ``scale``, never the codes, so it may hold negative numbers and zeros.
    """

    data: np.ndarray
    scale: np.ndarray | None = None
    axis: int = 0
    bits: int = 8

    @property
    def quantized(self) -> bool:
        return self.scale is not None

    @property
    def per_group(self) -> bool:
        """Has it several scales an output channel? (Its products are then of real values.)"""
        return self.scale is not None and np.ndim(self.scale) == 2

    def channel_scale(self) -> np.ndarray:
        """The scale as float32 of shape (data.shape[axis],), unless it is per group."""
        assert self.scale is not None
        return np.broadcast_to(self.scale.astype(np.float32), (self.data.shape[self.axis],)).copy()

    def dense(self) -> np.ndarray:
        """The real values, float32 (plain data is returned as it is)."""
        if self.scale is None:
            return self.data
        scale = spread(np.asarray(self.scale, np.float32), self.data.shape, self.axis)
        return self.data.astype(np.float32) * scale


@dataclass(eq=False)
class Node:
    """One operation. ``inputs`` name tensors; "" stands for an absent optional input.

    ``op`` is a row of the op table (``gluonzip.graph.ops``) or, for an operator that the table
    lacks, ``"opaque"`` with attributes ``operator`` (its foreign name) and ``attrs`` (its own,
    strings).
    """

    op: str
    name: str
    inputs: list[str]
    outputs: list[str]
    attrs: dict[str, Any] = field(default_factory=dict)

    @property
    def output(self) -> str:
        """The single output's name."""
        assert len(self.outputs) == 1, f"{self.name} has {len(self.outputs)} outputs"
        return self.outputs[0]

    def present_inputs(self) -> Iterator[str]:
        return (name for name in self.inputs if name)


@dataclass(eq=False)
class Graph:
    """Nodes in topological order, with inputs, outputs and constants by name."""

    inputs: list[Input]
    outputs: list[str]
    nodes: list[Node]
    constants: dict[str, Constant]
    name: str = "network"
    meta: dict[str, Any] = field(default_factory=dict)
    """Free JSON-able facts, carried into the archive (never needed to run)."""

    # ------------------------------------------------------------ looking things up
    def producers(self) -> dict[str, Node]:
        """Tensor name -> the node that makes it."""
        return {out: node for node in self.nodes for out in node.outputs}

    def consumers(self) -> dict[str, list[Node]]:
        """Tensor name -> the nodes that read it (once each)."""
        readers: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in dict.fromkeys(node.present_inputs()):
                readers.setdefault(name, []).append(node)
        return readers

    def node(self, name: str) -> Node:
        """The node called ``name``; GraphError when there is none."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise GraphError(f"graph {self.name!r} has no node named {name!r}")

    # ------------------------------------------------------------ building
    def fresh(self, stem: str) -> str:
        """A tensor or node name that is not taken yet: ``stem``, ``stem_1``, ... (for many at
        once, :class:`Names` is faster)."""
        return Names(self).fresh(stem)

    def copy(self) -> Graph:
        """A graph whose nodes may be edited freely; constants' arrays are shared, not copied."""
        return Graph(
            inputs=list(self.inputs),
            outputs=list(self.outputs),
            nodes=[
                Node(n.op, n.name, list(n.inputs), list(n.outputs), copy.deepcopy(n.attrs))
                for n in self.nodes
            ],
            constants=dict(self.constants),
            name=self.name,
            meta=copy.deepcopy(self.meta),
        )

    def redirect(self, old: str, new: str) -> None:
        """Make every reader of tensor ``old``, and the graph's outputs, use ``new`` instead."""
        for node in self.nodes:
            node.inputs = [new if name == old else name for name in node.inputs]
        self.outputs = [new if name == old else name for name in self.outputs]

    def prune(self) -> None:
        """Drop nodes and constants that no output needs (graph inputs stay)."""
        needed = set(self.outputs)
        kept: list[Node] = []
        for node in reversed(self.nodes):
            if needed.intersection(node.outputs):
                kept.append(node)
                needed.update(node.present_inputs())
        self.nodes = kept[::-1]
        self.constants = {k: v for k, v in self.constants.items() if k in needed}

    def sort(self) -> None:
        """Put ``nodes`` into a stable topological order; GraphError names a cycle's nodes."""
        known = set(self.constants) | {i.name for i in self.inputs}
        waiting, ordered = list(self.nodes), []
        while waiting:
            later = []
            for node in waiting:
                if all(name in known for name in node.present_inputs()):
                    ordered.append(node)
                    known.update(node.outputs)
                else:
                    later.append(node)
            if len(later) == len(waiting):
                stuck = ", ".join(n.name for n in later[:5])
                raise GraphError(f"nodes form a cycle or read undefined tensors: {stuck}")
            waiting = later
        self.nodes = ordered


class Names:
    """Hands out tensor and node names that a graph does not use, each once."""

    def __init__(self, graph: Graph) -> None:
        self._taken = set(graph.constants) | {i.name for i in graph.inputs}
        for node in graph.nodes:
            self._taken.add(node.name)
            self._taken.update(node.outputs)

    def fresh(self, stem: str) -> str:
        """``stem``, or ``stem_1``, ``stem_2``, ... if that is taken."""
        candidates = (f"{stem}_{count}" if count else stem for count in itertools.count())
        name = next(name for name in candidates if name not in self._taken)
        self._taken.add(name)
        return name


def replace_node(graph: Graph, old: Node, new: Iterable[Node]) -> None:
    """Put ``new`` nodes where ``old`` stands in ``graph.nodes``."""
    at = graph.nodes.index(old)
    graph.nodes[at : at + 1] = list(new)
