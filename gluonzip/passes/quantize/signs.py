"""Which activations are never below zero: they get unsigned codes, of half the step."""

from __future__ import annotations

from typing import Any

from gluonzip.graph import OPS, Graph, Node

NON_NEGATIVE = frozenset(
    ("relu", "sigmoid", "hard_sigmoid", "exp", "sqrt", "abs", "square", "softmax")
)
"""Operators whose values are never below zero."""

_KEEPS_SIGN = frozenset(name for name, spec in OPS.items() if spec.on_codes) | frozenset(
    ("quantize", "dequantize", "avg_pool", "global_avg_pool", "adaptive_avg_pool", "concat")
    + ("resize_bilinear", "mean", "sum", "max", "mul", "matmul")
)


class Range(float):
    """The largest magnitude of a tensor, and whether values below zero were seen: a number, so
    that ranges compare, print and serialize as what they are. Arithmetic gives plain numbers."""

    signed: bool

    def __new__(cls, largest: float, signed: bool) -> Range:
        value = super().__new__(cls, largest)
        value.signed = bool(signed)
        return value

    def __reduce__(self):
        return Range, (float(self), self.signed)

    def join(self, other: Range) -> Range:
        """What holds the values of both."""
        return Range(max(self, other), self.signed or other.signed)


def non_negative(graph: Graph) -> set[str]:
    """Tensors that are never below zero, whatever the input."""
    found: set[str] = set()
    for node in graph.nodes:
        a = OPS[node.op].fill(node.attrs, len(node.outputs)) if node.op in OPS else None
        if _rectifies(node, a) or (
            _keeps_sign(node, a) and all(name in found for name in node.present_inputs())
        ):
            found.update(node.outputs)
    return found


def _rectifies(node: Node, a: Any) -> bool:
    act = getattr(a, "act", "none")
    if getattr(a, "unsigned", False) and getattr(a, "out_scale", 1.0) is not None:
        return True
    clipped = (act == "clip" and a.act_min >= 0) or (node.op == "clip" and a.min >= 0)
    return act == "relu" or clipped or node.op in NON_NEGATIVE


def _keeps_sign(node: Node, a: Any) -> bool:
    if node.op == "pad":
        return a.value >= 0
    return node.op in _KEEPS_SIGN or (node.op == "add" and a.act == "none")
