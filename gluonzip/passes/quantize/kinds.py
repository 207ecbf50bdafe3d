"""How quantization sees the operators of the table."""

from __future__ import annotations

import numpy as np

from gluonzip.graph import OPS, Graph, Node

WEIGHTED = ("conv2d", "conv_transpose2d", "dense")
"""Integer arithmetic: int8 input and int8 weight, exact accumulator."""

AVERAGES = ("avg_pool", "global_avg_pool", "adaptive_avg_pool", "mean", "resize_bilinear")
"""Weighted means of codes: integer arithmetic on int8 input, with or without ``out_scale``."""

PAIRS = ("add", "mul")
"""Integer arithmetic when both inputs are int8."""

LOOKUPS = tuple(
    name
    for name, spec in OPS.items()
    if spec.inputs == ("x",) and "out_scale" in spec.attrs
    and name not in AVERAGES
)  # fmt: skip
"""Element-wise functions of one tensor: on int8 input and output, a table of 256 entries."""


def moves_codes(node: Node) -> bool:
    """Does the node give the same on codes as on values (whatever the scale)?"""
    if node.attrs.get("out_scale") is not None:
        return False
    return OPS[node.op].on_codes and not (node.op == "pad" and node.attrs.get("value", 0.0) != 0)


def has_quantized_weight(graph: Graph, node: Node) -> bool:
    """Is the node a weighted layer whose weight is a quantized constant?"""
    weight = graph.constants.get(node.inputs[1]) if node.op in WEIGHTED else None
    return weight is not None and weight.quantized


def has_integer_weight(graph: Graph, node: Node) -> bool:
    """Does the node multiply codes, given int8 input? (Not if its weight is scaled per group.)"""
    return has_quantized_weight(graph, node) and not graph.constants[node.inputs[1]].per_group


def activation_scale(graph: Graph, node: Node) -> float | None:
    """The scale of a fake quantizer that int8 can replace."""
    if node.op != "fake_quantize" or node.attrs.get("bits", 8) != 8:
        return None
    scale = graph.constants.get(node.inputs[1])
    if scale is None or scale.data.size != 1 or node.inputs[0] in graph.constants:
        return None
    value = float(np.float32(scale.data.reshape(())))
    return value if value > 0 else None
