"""How a tensor of codes is stored between QuantizeLinear and DequantizeLinear.

Everything is uint8, for x86 kernels multiply unsigned activations by signed weights. uint8 tensors
of the graph are what they are, with zero point 0. Its int8 tensors of either sign have zero point
128, code for code as in the graph; those that are never negative have zero point 0: QuantizeLinear
then saturates at zero, which is the ReLU in front of it, and runtimes fuse convolution and
quantization only where nothing stands between.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np

from gluonzip.graph import OPS, Node, TensorType
from gluonzip.passes.quantize.kinds import moves_codes


@dataclass(frozen=True)
class Codes:
    """Real value = (code - zero) * scale; ``graph_scale`` is the scale that the graph says."""

    scale: np.float32
    signed: bool
    graph_scale: np.float32

    @property
    def zero(self) -> np.uint8:
        return np.uint8(128 if self.signed else 0)


def codes_of(
    node: Node, name: str, t: TensorType, codes: dict[str, Codes], positive: Collection[str]
) -> Codes:
    """For the output ``name`` of ``node``, of type ``t`` in the graph."""
    step = np.float32(t.scale)
    if t.dtype == "uint8":
        return Codes(step, False, step)
    if moves_codes(node) and node.op != "relu" and node.inputs[0] in codes:
        return codes[node.inputs[0]]
    if name not in positive:
        return Codes(step, True, step)
    top = upper_bound(node)
    if top is not None:  # 255 codes up to the bound: saturation is the clip
        top = min(np.float32(top), np.float32(127) * step)
        return Codes(np.float32(top / np.float32(255)), False, step)
    return Codes(step, False, step)


def upper_bound(node: Node) -> float | None:
    """Where the node's activation clips from above."""
    a: Any = OPS[node.op].fill(node.attrs, len(node.outputs))
    if node.op == "clip":
        return a.max
    return a.act_max if getattr(a, "act", "none") == "clip" else None


def saturation_is_the_activation(node: Node, codes: Codes | None) -> bool:
    """Does quantizing to ``codes`` already do what the node's ReLU or clip does?"""
    if codes is None or codes.signed:
        return False
    a: Any = OPS[node.op].fill(node.attrs, len(node.outputs))
    if node.op == "relu" or getattr(a, "act", "none") == "relu":
        return True
    low = a.min if node.op == "clip" else a.act_min if getattr(a, "act", "") == "clip" else None
    top = upper_bound(node)
    return low == 0 and (top is None or top >= 255 * float(codes.scale) * (1 - 1e-6))
