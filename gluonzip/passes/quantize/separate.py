"""Epilogues apart again, for runtimes whose integer kernels end at the requantized sum.

The engine adds a residual and applies a leaky ReLU to exact accumulators. Kernels of ONNX Runtime
and LiteRT round the weighted sum to int8 first; ``separate_epilogues`` writes that rounding down as
nodes of the op table, so that the interpreter says what such a runtime will answer.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import numpy as np

from gluonzip.graph import OPS, Graph, Names, Node, TensorType, interpret, known_types
from gluonzip.passes.quantize.calibrate import Batch, Run
from gluonzip.passes.quantize.kinds import WEIGHTED, Codes, has_integer_weight
from gluonzip.passes.quantize.signs import non_negative
from gluonzip.spec import max_code

_CODES = ("out_scale", "unsigned")


def separate_epilogues(
    graph: Graph,
    ranges: Mapping[str, float] | None = None,
    outputs: Collection[str] = WEIGHTED,
) -> Graph:
    """``graph`` whose integer layers end with requantization: residuals become ``add`` nodes and
    leaky ReLUs nodes of their own.

    ``ranges``: max |x| of weighted sums by the name of their tensor (that of the layer's output,
    or what :func:`sums` lists); with them, integer layers that answer in float32 get an int8 output
    as well, those of the operators ``outputs``. Without a range, a sum under a residual gets the
    smallest scale that saturates only where the added and requantized value saturates too; one
    under a leaky ReLU gets that of its output.
    """
    ranges = ranges or {}
    graph = graph.copy()
    types, names = known_types(graph), Names(graph)
    positive = non_negative(graph)
    nodes: list[Node] = []
    for node in graph.nodes:
        if not _is_integer_layer(graph, node, types):
            nodes.append(node)
        elif _has_residual(node) or _is_leaky(node):
            nodes += _split(node, types, positive, ranges, names)
        elif _answers_in_float(node) and node.op in outputs and node.output in ranges:
            nodes += _requantized(node, ranges[node.output], names)
        else:
            nodes.append(node)
    graph.nodes = nodes
    return graph


def sums(graph: Graph) -> dict[str, str]:
    """Integer layers whose weighted sum has no scale of its own: output tensor -> node."""
    types = known_types(graph)
    return {
        node.output: node.name
        for node in graph.nodes
        if _is_integer_layer(graph, node, types)
        and (_has_residual(node) or _is_leaky(node) or node.attrs.get("out_scale") is None)
    }


def bare_sums(graph: Graph) -> Graph:
    """``graph`` with the weighted sums of :func:`sums` as float32 tensors of their own, called
    ``{output}_sum``: to measure their ranges. Values are those of ``graph``."""
    graph = graph.copy()
    wanted, nodes = sums(graph), []
    for node in graph.nodes:
        if node.outputs[0] not in wanted:
            nodes.append(node)
            continue
        (x, weight, bias, residual), a = _operands(node), OPS[node.op].fill(node.attrs)
        total = f"{node.output}_sum"
        attrs, tail = _without_epilogue(node)
        nodes.append(Node(node.op, node.name, [x, weight, bias], [total], attrs))
        if residual:
            nodes.append(Node("add", f"{node.name}_tail", [total, residual], node.outputs, tail))
        else:
            nodes += _activated(f"{node.name}_tail", total, node.outputs, a)
    graph.nodes = nodes
    return graph


def sum_ranges(graph: Graph, batches: Iterable[Batch], run: Run = interpret) -> dict[str, float]:
    """max |x| of the weighted sums of an int8 graph that have no scale of their own, over batches
    of inputs: what :func:`separate_epilogues` takes."""
    wanted = sums(graph)
    if not wanted:
        return {}
    bare = bare_sums(graph)
    names = {out: f"{out}_sum" for out in wanted}
    found = dict.fromkeys(wanted, 0.0)
    for batch in batches:
        kept = run(bare, batch, keep=tuple(names.values()))[1]
        for out, total in names.items():
            found[out] = max(found[out], float(np.abs(kept[total]).max(initial=0)))
    return found


def _activated(name: str, x: str, outputs: list[str], a) -> list[Node]:
    tail = {} if a.out_scale is None else Codes(a.out_scale, a.unsigned).attrs()
    if a.act == "relu":
        return [Node("relu", name, [x], outputs, tail)]
    if a.act == "clip":
        return [Node("clip", name, [x], outputs, {"min": a.act_min, "max": a.act_max, **tail})]
    if a.act == "leaky_relu":
        return [Node("leaky_relu", name, [x], outputs, {"slope": a.act_slope, **tail})]
    return [Node("mul_scalar", name, [x], outputs, {"value": 1.0, **tail})]


def _operands(node: Node) -> list[str]:
    """x, weight, bias, residual; "" for what is absent."""
    return [*node.inputs, "", ""][:4]


def _without_epilogue(node: Node) -> tuple[dict, dict]:
    """The node's attributes in two parts: those of the sum, those of what comes after."""
    after = {k: v for k, v in node.attrs.items() if k.startswith("act") or k in _CODES}
    return {k: v for k, v in node.attrs.items() if k not in after}, after


def _has_residual(node: Node) -> bool:
    return bool(_operands(node)[3])


def _answers_in_float(node: Node) -> bool:
    return node.attrs.get("out_scale") is None


def _is_leaky(node: Node) -> bool:
    return node.attrs.get("act") == "leaky_relu"


def _is_integer_layer(graph: Graph, node: Node, types: Mapping[str, TensorType]) -> bool:
    x = types.get(node.inputs[0]) if node.inputs else None
    return has_integer_weight(graph, node) and x is not None and x.holds_codes


def _split(
    node: Node,
    types: Mapping[str, TensorType],
    positive: Collection[str],
    ranges: Mapping[str, float],
    names: Names,
) -> list[Node]:
    """The layer up to its sum, then what came after it."""
    x, weight, bias, residual = _operands(node)
    a = OPS[node.op].fill(node.attrs)
    scale = _sum_scale(node, a, residual, types, positive, ranges)
    attrs, tail = _without_epilogue(node)
    if scale is not None:
        attrs["out_scale"] = scale
    total = names.fresh(f"{node.name}_sum")
    inputs = [x, weight, bias] if bias else [x, weight]
    layer = Node(node.op, node.name, inputs, [total], attrs)
    name = names.fresh(f"{node.name}_tail")
    if residual:
        return [layer, Node("add", name, [total, residual], node.outputs, tail)]
    return [layer, *_activated(name, total, node.outputs, a)]


def _sum_scale(node, a, residual, types, positive, ranges) -> float | None:
    """The scale of the sum; None when nothing says how large it is."""
    if not residual and a.out_scale is not None and node.output not in ranges:
        codes = Codes(a.out_scale, a.unsigned)
        return _symmetric(codes.reach) if codes.unsigned else float(np.float32(codes.scale))
    bound = _saturation(a, residual, types, positive)
    measured = ranges.get(node.output)
    if measured is not None:
        measured = _symmetric(max(measured, 1e-30))
    return min((scale for scale in (bound, measured) if scale is not None), default=None)


def _saturation(a, residual, types, positive) -> float | None:
    """The smallest scale of a sum under a residual that loses nothing by saturating."""
    if a.out_scale is None or not residual:
        return None
    other = types.get(residual)
    if other is None or not other.holds_codes:
        return None
    # sum + residual = y, and y saturates beyond the reach of its codes (or below 0, with a ReLU):
    # larger sums than these can only give saturated answers.
    reach = Codes(a.out_scale, a.unsigned).reach
    added = Codes(other.scale, other.dtype == "uint8").reach
    if (a.unsigned or a.act in ("relu", "clip")) and residual in positive:
        return _symmetric(max(reach, added))
    return _symmetric(reach + added)


def _symmetric(reach: float) -> float:
    """The scale of signed codes that reach so far."""
    return float(np.float32(reach / max_code(8)))


def _requantized(node: Node, largest: float, names: Names) -> list[Node]:
    codes = names.fresh(f"{node.output}_codes")
    scale = _symmetric(max(largest, 1e-30))
    layer = Node(node.op, node.name, node.inputs, [codes], {**node.attrs, "out_scale": scale})
    real = Node("dequantize", names.fresh(f"{node.name}_real"), [codes], list(node.outputs))
    return [layer, real]
