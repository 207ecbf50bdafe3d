"""Compute at once what depends on constants only; fake-quantized weights become integers."""

from __future__ import annotations

import numpy as np

from gluonzip.graph import OPS, Constant, Graph, Node
from gluonzip.graph.interpret import run_node
from gluonzip.graph.reference import Value
from gluonzip.graph.reference.integer import fake_quantized_codes
from gluonzip.passes.storage import widen


def fold_constants(graph: Graph) -> Graph:
    """``graph`` with every node whose inputs are all constants replaced by its value.

    ``mul(weight, mask)`` becomes a weight with exact zeros. ``fake_quantize`` of a constant becomes
    a quantized Constant (int8 codes, scale, bits, axis) where only weights are made of it, and
    plain float32 numbers elsewhere. Nodes that make outputs of the graph stay, and so do opaque
    ones.
    """
    graph = widen(graph).copy()
    readers = graph.consumers()
    renamed: dict[str, str] = {}
    kept: list[Node] = []
    for node in graph.nodes:
        node.inputs = [renamed.get(name, name) for name in node.inputs]
        constant_inputs = all(name in graph.constants for name in node.present_inputs())
        if not node.inputs or not constant_inputs or _must_stay(graph, node):
            kept.append(node)
            continue
        for name, constant in zip(node.outputs, _values(graph, node, readers), strict=True):
            source = node.inputs[0]
            if len(node.outputs) == 1 and readers[source] == [node] and source not in graph.outputs:
                # A weight keeps its name through masks and quantizers.
                renamed[name], readers[source] = source, readers.get(name, [])
                name = source
            graph.constants[name] = constant
    graph.nodes = kept
    graph.prune()
    return graph


def _values(graph: Graph, node: Node, readers: dict[str, list[Node]]) -> list[Constant]:
    if node.op == "fake_quantize" and _only_weights(graph, node, readers):
        return [quantized_constant(graph, node)]
    values = {name: Value.of(graph.constants[name]) for name in node.present_inputs()}
    # Adding 0 makes a zero of a negative zero: masked weights are exact zeros.
    return [Constant(np.asarray(v.data + np.float32(0))) for v in run_node(node, values)]


def _must_stay(graph: Graph, node: Node) -> bool:
    makes_codes = node.op == "quantize" or node.attrs.get("out_scale") is not None
    return node.op == "opaque" or makes_codes or any(name in graph.outputs for name in node.outputs)


def _only_weights(graph: Graph, node: Node, readers: dict[str, list[Node]]) -> bool:
    """Does everyone who reads the node's output read it as a weight that may have this scale?"""
    scale = graph.constants[node.inputs[1]].data
    axis = _axis(graph, node)
    return all(
        _is_weight_only(reader, node.output) and (scale.ndim == 0 or scales_weight(reader, axis))
        for reader in readers.get(node.output, [])
    )


def _is_weight_only(reader: Node, name: str) -> bool:
    spec = OPS[reader.op]
    places = [at for at, read in enumerate(reader.inputs) if read == name]
    return spec.weight_axis is not None and places == [1]


def scales_weight(node: Node, axis: int) -> bool:
    """May the weight of a weighted node have one scale for each index along ``axis``?"""
    return axis == OPS[node.op].weight_axis


def _axis(graph: Graph, node: Node) -> int:
    return node.attrs.get("axis", 0) % max(graph.constants[node.inputs[0]].data.ndim, 1)


def quantized_constant(graph: Graph, node: Node) -> Constant:
    """The integers that a ``fake_quantize`` node makes of its constant input."""
    data = graph.constants[node.inputs[0]].dense().astype(np.float32)
    scale = graph.constants[node.inputs[1]].data.astype(np.float32)
    bits, axis = node.attrs.get("bits", 8), _axis(graph, node)
    codes, _ = fake_quantized_codes(data, scale, bits, axis)
    return Constant(codes.astype(np.int8), scale, axis, bits)
