"""Dynamic quantization: layers whose input is rounded with the scale of its own largest value."""

from __future__ import annotations

from collections.abc import Collection

from gluonzip.graph import OPS, Graph, Names, Node
from gluonzip.passes.quantize.kinds import WEIGHTED, has_integer_weight

OP = "fake_quantize_dynamic"
LAYERS = tuple(name for name, spec in OPS.items() if "dynamic" in spec.attrs)
"""Operators that can quantize their input themselves."""


def insert_dynamic(graph: Graph, bits: int, skip: Collection[str] = ()) -> None:
    """Put a quantizer before each weighted layer with constant weights, in place; not before those
    named in ``skip`` and those whose input has one."""
    producers, names = graph.producers(), Names(graph)
    made: dict[str, Node] = {}
    nodes: list[Node] = []
    for node in graph.nodes:
        x = node.inputs[0] if node.inputs else ""
        maker = producers.get(x)
        has_one = maker is not None and maker.op in (OP, "fake_quantize", "quantize")
        wanted = node.op in WEIGHTED and node.name not in skip and not has_one
        if wanted and _constant_weight(graph, node, producers):
            if x not in made:
                out = names.fresh(f"{x}_quantized")
                made[x] = Node(OP, out, [x], [out], {"bits": bits})
                nodes.append(made[x])
            node.inputs = [made[x].output, *node.inputs[1:]]
        nodes.append(node)
    graph.nodes = nodes


def _constant_weight(graph: Graph, node: Node, producers: dict[str, Node]) -> bool:
    """A constant, or its fake quantizer, with one scale an output at most."""
    weight = node.inputs[1]
    maker = producers.get(weight)
    if maker is not None and maker.op == "fake_quantize":
        scale = graph.constants.get(maker.inputs[1])
        return maker.inputs[0] in graph.constants and scale is not None and scale.data.ndim < 2
    return has_integer_weight(graph, node)


def fuse_dynamic(graph: Graph) -> None:
    """Let layers with integer weights quantize their input themselves, in place."""
    quantizers = {
        node.output: node
        for node in graph.nodes
        if node.op == OP and node.attrs.get("bits", 8) == 8
    }
    for node in graph.nodes:
        maker = quantizers.get(node.inputs[0]) if node.inputs else None
        alone = node.inputs.count(node.inputs[0]) == 1 if maker is not None else False
        fits = node.op in LAYERS and maker is not None and alone
        if fits and has_integer_weight(graph, node):
            node.inputs = [maker.inputs[0], *node.inputs[1:]]
            node.attrs["dynamic"] = True


def split_dynamic(graph: Graph) -> Graph:
    """``graph`` with the quantizers of dynamic layers as nodes of their own: the reverse, for what
    knows no such layers. Values are those of ``graph`` up to the rounding of float32."""
    if not any(node.attrs.get("dynamic") for node in graph.nodes):
        return graph
    graph = graph.copy()
    names, nodes = Names(graph), []
    for node in graph.nodes:
        if node.attrs.pop("dynamic", False):
            out = names.fresh(f"{node.name}_input")
            nodes.append(Node(OP, out, node.inputs[:1], [out]))
            node.inputs = [out, *node.inputs[1:]]
        nodes.append(node)
    graph.nodes = nodes
    return graph
