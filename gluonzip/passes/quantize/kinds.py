"""How quantization sees the operators of the table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gluonzip.graph import OPS, Graph, Node
from gluonzip.spec import code_range

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


@dataclass(frozen=True)
class Codes:
    """8-bit codes: what a tensor of integers holds."""

    scale: float
    unsigned: bool = False

    @property
    def reach(self) -> float:
        """The largest value."""
        return self.scale * code_range(8, self.unsigned)[1]

    def attrs(self, name: str = "out_scale") -> dict[str, Any]:
        """Attributes of a node that makes such codes."""
        return {name: self.scale, **({"unsigned": True} if self.unsigned else {})}


def codes_made(node: Node) -> Codes | None:
    """The codes that the node's own attributes ask for."""
    scale = node.attrs.get("scale" if node.op == "quantize" else "out_scale")
    return None if scale is None else Codes(scale, node.attrs.get("unsigned", False))


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
    """Does the node multiply codes, given codes as input? (Not if its weight is scaled per
    group.)"""
    return has_quantized_weight(graph, node) and not graph.constants[node.inputs[1]].per_group


def activation_codes(graph: Graph, node: Node) -> Codes | None:
    """The codes that can take the place of a fake quantizer."""
    if node.op != "fake_quantize" or node.attrs.get("bits", 8) != 8:
        return None
    scale = graph.constants.get(node.inputs[1])
    if scale is None or scale.data.size != 1 or node.inputs[0] in graph.constants:
        return None
    value = float(np.float32(scale.data.reshape(())))
    return Codes(value, node.attrs.get("unsigned", False)) if value > 0 else None
