"""Facts about a graph for reports: what each node costs, what each layer's weight looks like."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from gluonzip.graph.ir import Graph, Node
from gluonzip.graph.ops import OPS
from gluonzip.graph.types import infer_types


@dataclass(frozen=True)
class WeightStatistics:
    """The weight of one layer. ``bits`` a value: 32 for float32, less for integer codes."""

    name: str
    op: str
    weight: str
    shape: tuple[int, ...]
    nonzeros: int
    bits: int

    @property
    def weights(self) -> int:
        """Number of weights, zeros included."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def sparsity(self) -> float:
        """Share of zeros, 0 to 1."""
        return 1 - self.nonzeros / self.weights if self.weights else 0.0


def macs(graph: Graph, shapes: Mapping[str, tuple[int, ...]] | None = None) -> dict[str, int]:
    """Multiply-accumulates of each node by name, zeros counted as work; ``shapes`` as infer_types.

    Only convolutions and matrix products count; everything else costs 0.
    """
    types = infer_types(graph, shapes)
    return {node.name: _macs(node, types) for node in graph.nodes}


def _macs(node: Node, types: Mapping) -> int:
    spec = OPS[node.op]
    if spec.macs is None:
        return 0
    inputs = [types[name].shape if name else None for name in node.inputs]
    return int(spec.macs(spec.fill(node.attrs), inputs, types[node.output].shape))


def weight_statistics(graph: Graph) -> list[WeightStatistics]:
    """One entry for each weighted node whose weight is a constant, in the order of the graph."""
    return [
        _weight_statistics(graph, node)
        for node in graph.nodes
        if node.op in OPS and OPS[node.op].weight_axis is not None
        if node.inputs[1] in graph.constants
    ]


def _weight_statistics(graph: Graph, node: Node) -> WeightStatistics:
    constant = graph.constants[node.inputs[1]]
    bits = constant.bits if constant.quantized else 8 * constant.data.itemsize
    return WeightStatistics(
        name=node.name,
        op=node.op,
        weight=node.inputs[1],
        shape=tuple(constant.data.shape),
        nonzeros=int(np.count_nonzero(constant.data)),
        bits=bits,
    )
