"""Cross-layer equalization: channels of neighbouring layers share their range.

M. Nagel, M. van Baalen, T. Blankevoort, M. Welling, "Data-Free Quantization Through Weight
Equalization and Bias Correction", ICCV 2019, arXiv:1906.04721, section 4.1.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from gluonzip.graph import Graph, Node
from gluonzip.passes.quantize.channels import (
    adjustable,
    by_input,
    by_output,
    channels_in,
    channels_out,
    float_copy,
)
from gluonzip.passes.quantize.kinds import WEIGHTED

_HOMOGENEOUS = ("none", "relu", "leaky_relu")
_POOLS = ("max_pool", "avg_pool", "global_max_pool", "global_avg_pool", "relu")
SWEEPS = 20


def equalize(graph: Graph, sweeps: int = SWEEPS) -> Graph:
    """``graph``, after ``simplify``, with the same outputs and weights easier to quantize.

    Where one layer alone reads another through positively homogeneous operators (ReLU, pooling),
    dividing a channel by s > 0 in the first and multiplying by s in the second changes nothing;
    ``s = sqrt(range of the first / range of the second)`` gives both the same range. Repeated
    ``sweeps`` times, since layers have two neighbours. Layers with quantized or shared weights stay
    as they are. A clip (ReLU6) is not homogeneous: see :func:`relax_clips`.
    """
    graph = graph.copy()
    pairs = list(_pairs(graph))
    for _ in range(sweeps):
        largest = max((_equalize(graph, pair) for pair in pairs), default=1.0)
        if largest < 1.001:
            break
    return graph


def relax_clips(graph: Graph) -> Graph:
    """``graph`` with a plain ReLU in place of each fused clip from 0 up (ReLU6), so that
    :func:`equalize` may act. Outputs change where an activation exceeds the bound."""
    graph = graph.copy()
    for node in graph.nodes:
        if node.attrs.get("act") == "clip" and node.attrs.get("act_min", 0.0) == 0:
            rest = {k: v for k, v in node.attrs.items() if k not in ("act_min", "act_max")}
            node.attrs = {**rest, "act": "relu"}
        elif node.op == "clip" and node.attrs["min"] == 0:
            tail = {k: v for k, v in node.attrs.items() if k in ("out_scale", "unsigned")}
            node.op, node.attrs = "relu", tail
    return graph


# ---------------------------------------------------------------- pairs
@dataclass(frozen=True)
class _Pair:
    first: Node
    second: Node


def _pairs(graph: Graph) -> Iterator[_Pair]:
    readers = _readers(graph)
    uses = Counter(name for node in graph.nodes for name in node.present_inputs())
    for node in graph.nodes:
        if not adjustable(graph, node, uses) or not _homogeneous(node):
            continue
        second = _only_layer_behind(graph, node, readers)
        if second is None or not adjustable(graph, second, uses):
            continue
        if channels_out(graph, node) == channels_in(graph, second):
            yield _Pair(node, second)


def _readers(graph: Graph) -> dict[str, list[Node]]:
    readers: dict[str, list[Node]] = {}
    for node in graph.nodes:
        for name in node.present_inputs():
            readers.setdefault(name, []).append(node)
    return readers


def _homogeneous(node: Node) -> bool:
    """Does scaling a channel of the weights scale that channel of the output?"""
    plain = len(node.inputs) < 4 or not node.inputs[3]
    return plain and node.attrs.get("act", "none") in _HOMOGENEOUS


def _only_layer_behind(graph: Graph, node: Node, readers: dict[str, list[Node]]) -> Node | None:
    name = node.output
    while name not in graph.outputs and len(readers.get(name, ())) == 1:
        reader = readers[name][0]
        if reader.op in WEIGHTED:
            return reader if reader.inputs[0] == name and name not in reader.inputs[1:] else None
        if reader.op not in _POOLS or reader.attrs.get("out_scale") is not None:
            return None
        name = reader.output
    return None


def _equalize(graph: Graph, pair: _Pair) -> float:
    """One step; returns the largest factor that it used."""
    first, second = pair.first, pair.second
    out = float_copy(graph, first.inputs[1])
    into = float_copy(graph, second.inputs[1])
    rows, blocks = by_output(out, first), by_input(into, second)
    r1 = np.abs(rows).max(axis=tuple(range(1, rows.ndim)))
    r2 = np.abs(blocks).max(axis=(1, 3)).ravel()
    used = (r1 > 0) & (r2 > 0)
    s = np.ones_like(r1)
    s[used] = np.sqrt(r1[used] / r2[used])
    rows /= s.reshape(-1, *[1] * (rows.ndim - 1))
    blocks *= s.reshape(blocks.shape[0], 1, blocks.shape[2], 1)
    if len(first.inputs) > 2 and first.inputs[2]:
        bias = float_copy(graph, first.inputs[2])
        bias /= s
    return float(np.maximum(s, 1 / s).max(initial=1.0))
