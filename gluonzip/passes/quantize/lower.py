"""From simulation to integers: ``fake_quantize`` nodes become tensors of int8 or uint8 codes.

A fake-quantized activation is codes times a scale, so a ``quantize`` node in its place changes
nothing: every operator takes codes (see the head of ``graph/ops.py``). What follows only makes it
fast, and every step keeps each value: quantizers move up through what commutes with them and become
the ``out_scale`` of the node that makes their input; what needs float32 gets a ``dequantize``.
"""

from __future__ import annotations

from gluonzip.graph import Graph, Names, Node
from gluonzip.passes.eliminate import bypass
from gluonzip.passes.fold_constants import fold_constants
from gluonzip.passes.quantize.absorb import absorb_quantizers
from gluonzip.passes.quantize.dynamic import fuse_dynamic
from gluonzip.passes.quantize.kinds import (
    AVERAGES,
    LOOKUPS,
    PAIRS,
    Codes,
    activation_codes,
    codes_made,
    has_integer_weight,
    moves_codes,
)


def lower(graph: Graph) -> Graph:
    """``graph`` with its ``fake_quantize`` nodes turned into integers.

    Weights become int8 Constants; activations become int8 tensors, or uint8 where the quantizer is
    unsigned, between ``quantize`` nodes and what reads them, requantized by the node that makes
    them where that is exact. A tensor that float32 readers or several scales need stays float32
    too. Outputs of the graph stay float32.
    Quantizers of activations that are not 8 bits or not per tensor stay simulated. Outputs equal
    those of the simulation up to the rounding of float32 (at worst a code next to it).
    """
    graph = fold_constants(graph)
    fuse_dynamic(graph)
    _quantize_activations(graph)
    _merge_quantizers(graph)
    _settle_concats(graph)
    absorb_quantizers(graph)
    _drop_idle_quantizers(graph)
    _dequantize_for_floats(graph)
    graph.prune()
    return graph


# ---------------------------------------------------------------- fake_quantize -> quantize
def _quantize_activations(graph: Graph) -> None:
    for node in graph.nodes:
        codes = activation_codes(graph, node)
        if codes is not None:
            node.op, node.inputs, node.attrs = "quantize", node.inputs[:1], codes.attrs("scale")
    _keep_outputs_float(graph)


def _keep_outputs_float(graph: Graph) -> None:
    """An output that would be codes is dequantized at the end, under its own name."""
    integers = integer_tensors(graph)
    producers, names = graph.producers(), Names(graph)
    for name in dict.fromkeys(graph.outputs):
        if name in integers and name in producers:
            codes = names.fresh(f"{name}_codes")
            producers[name].outputs = [codes if n == name else n for n in producers[name].outputs]
            for node in graph.nodes:
                node.inputs = [codes if n == name else n for n in node.inputs]
            graph.nodes.append(
                Node("dequantize", names.fresh(f"{name}_dequantize"), [codes], [name])
            )


def integer_tensors(graph: Graph) -> set[str]:
    """Names of activations that are codes, int8 or uint8."""
    names: set[str] = set()
    for node in graph.nodes:
        if codes_made(node) or (moves_codes(node) and node.inputs[0] in names):
            names.update(node.outputs)
    return names


def _merge_quantizers(graph: Graph) -> None:
    """Quantizers of one tensor to the same codes become one."""
    first: dict[tuple[str, Codes | None], Node] = {}
    for node in [n for n in graph.nodes if n.op == "quantize"]:
        kept = first.setdefault((node.inputs[0], codes_made(node)), node)
        if kept is not node:
            graph.redirect(node.output, kept.output)
            graph.nodes.remove(node)


# ---------------------------------------------------------------- what is left
def _settle_concats(graph: Graph) -> None:
    """A concat of tensors of the same codes copies them; of several, it works on real values."""
    known = integer_codes(graph)
    for node in graph.nodes:
        if node.op == "concat" and node.attrs.get("out_scale") is None:
            found = {known.get(name) for name in node.inputs}
            if len(found) == 1 and None not in found:
                known[node.output] = found.pop()
                node.attrs.update(known[node.output].attrs())
        if moves_codes(node) and node.inputs[0] in known:
            known.update(dict.fromkeys(node.outputs, known[node.inputs[0]]))
    _keep_outputs_float(graph)


def integer_codes(graph: Graph) -> dict[str, Codes]:
    """What each activation of codes holds, by name."""
    known: dict[str, Codes] = {}
    for node in graph.nodes:
        codes = codes_made(node)
        if codes is None and moves_codes(node):
            codes = known.get(node.inputs[0])
        if codes is not None:
            known.update(dict.fromkeys(node.outputs, codes))
    return known


def _drop_idle_quantizers(graph: Graph) -> None:
    """quantize of codes that are its very own."""
    known = integer_codes(graph)
    for node in [n for n in graph.nodes if n.op == "quantize"]:
        if known.get(node.inputs[0]) == codes_made(node):
            bypass(graph, node)


def _dequantize_for_floats(graph: Graph) -> None:
    """One ``dequantize`` for each tensor of codes that is read without integer arithmetic."""
    integers = integer_tensors(graph)
    names = Names(graph)
    real: dict[str, str] = {}
    nodes: list[Node] = []
    for node in graph.nodes:
        if not takes_integers(graph, node, integers):
            for name in dict.fromkeys(node.present_inputs()):
                if name in integers and name not in real:
                    real[name] = names.fresh(f"{name}_real")
                    nodes.append(Node("dequantize", real[name], [name], [real[name]]))
            node.inputs = [real.get(n, n) if n in integers else n for n in node.inputs]
        nodes.append(node)
    graph.nodes = nodes


def takes_integers(graph: Graph, node: Node, integers: set[str]) -> bool:
    """Is the node's arithmetic on such inputs defined on codes (not: dequantize, then float32)?"""
    if has_integer_weight(graph, node):
        return node.inputs[0] in integers and not node.attrs.get("dynamic")
    if node.op in PAIRS:
        return all(name in integers for name in node.inputs)
    if node.op in LOOKUPS or node.op in ("concat", "scale_shift"):
        return node.attrs.get("out_scale") is not None or moves_codes(node)
    return node.op in ("quantize", "dequantize", *AVERAGES) or moves_codes(node)
