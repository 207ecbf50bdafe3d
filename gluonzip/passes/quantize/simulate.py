"""From integers back to their simulation: the reverse of ``lower``."""

from __future__ import annotations

import numpy as np

from gluonzip.graph import Constant, Graph, Names, Node
from gluonzip.graph.scales import spread
from gluonzip.passes.eliminate import bypass
from gluonzip.passes.quantize.dynamic import split_dynamic
from gluonzip.passes.quantize.kinds import Codes, codes_made


def simulate(graph: Graph) -> Graph:
    """``graph`` with its tensors of codes and weights as ``fake_quantize`` nodes over float32.

    Values are those of ``graph`` up to the rounding of float32 (at worst a code next to it), and
    ``lower`` makes the integers again: what can train, and what other formats can say. A channel
    with a negative scale changes the signs of its codes instead.
    """
    graph = split_dynamic(graph).copy()
    names = Names(graph)
    quantizers = _weights(graph, names)
    nodes: list[Node] = []
    for node in graph.nodes:
        node.inputs = [quantizers[n].output if n in quantizers else n for n in node.inputs]
        codes = codes_made(node)
        if node.op == "quantize":
            scale = _scale(graph, names, node.output, codes.scale)
            node.op, node.inputs = "fake_quantize", [*node.inputs, scale]
            node.attrs = _attrs(codes)
            nodes.append(node)
        elif codes is not None:
            nodes += _rounded(graph, names, node, codes)
        else:
            nodes.append(node)
    graph.nodes = [*quantizers.values(), *nodes]
    for node in list(graph.nodes):
        if node.op == "dequantize":
            node.op, node.attrs = "identity", {}
            bypass(graph, node)
    return graph


def expand_groups(graph: Graph) -> Graph:
    """``graph`` with float32 weights in place of those with a scale per group."""
    graph = graph.copy()
    for name, constant in graph.constants.items():
        if constant.per_group:
            graph.constants[name] = Constant(constant.dense())
    return graph


def _rounded(graph: Graph, names: Names, node: Node, codes: Codes) -> list[Node]:
    out = node.output
    for name in ("out_scale", "unsigned"):
        node.attrs.pop(name, None)
    node.outputs = [names.fresh(f"{out}_real")]
    operands = [node.output, _scale(graph, names, out, codes.scale)]
    name = names.fresh(f"{out}_codes")
    return [node, Node("fake_quantize", name, operands, [out], _attrs(codes))]


def _attrs(codes: Codes) -> dict[str, bool]:
    return {"unsigned": True} if codes.unsigned else {}


def _scale(graph: Graph, names: Names, stem: str, scale: float) -> str:
    name = names.fresh(f"{stem}_scale")
    graph.constants[name] = Constant(np.asarray(scale, np.float32))
    return name


def _weights(graph: Graph, names: Names) -> dict[str, Node]:
    """A quantizer for each quantized constant, which becomes its real values."""
    quantizers = {}
    for name, constant in list(graph.constants.items()):
        if not constant.quantized:
            continue
        codes, scale = positive_scales(constant)
        plain = Constant(codes, scale, constant.axis, constant.bits)
        graph.constants[name] = Constant(plain.dense())
        step = names.fresh(f"{name}_scale")
        graph.constants[step] = Constant(scale)
        out = names.fresh(f"{name}_quantized")
        attrs = {"bits": constant.bits, "axis": constant.axis}
        quantizers[name] = Node("fake_quantize", out, [name, step], [out], attrs)
    return quantizers


def positive_scales(constant: Constant) -> tuple[np.ndarray, np.ndarray]:
    """Codes and scale of a quantized constant for readers that need scales above zero: a negative
    scale changes the codes' signs instead, one of zero the codes to zeros."""
    scale = np.asarray(constant.scale, np.float32)
    if (scale > 0).all():
        return constant.data, scale
    if constant.bits == 1:  # which has no code of 0
        signs = spread(np.where(scale < 0, -1, 1), constant.data.shape, constant.axis)
        return (constant.data * signs).astype(np.int8), np.abs(scale)
    signs = spread(np.sign(scale).astype(np.int8), constant.data.shape, constant.axis)
    codes = (constant.data * signs).astype(np.int8)
    usual = np.abs(scale).max(initial=0) or np.float32(1)
    return codes, np.where(scale == 0, np.float32(usual), np.abs(scale)).astype(np.float32)
