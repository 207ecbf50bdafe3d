"""A graph as text: one line for each input, node and output."""

from __future__ import annotations

from typing import Any

import numpy as np

from gluonzip.graph.ir import Constant, Graph, Node, TensorType
from gluonzip.graph.ops import OPS
from gluonzip.graph.types import known_types


def to_text(graph: Graph) -> str:
    """A readable listing: nodes with operands, types and attributes that differ from the default;
    then constants with shape, bits and the share of zeros. Works on graphs that do not type-check.

    >>> to_text(graph)
    network lenet: 1 input, 9 nodes, 8 constants
    data: float32 (0, 1, 28, 28)
    conv0 = conv2d(data, conv0_weight, conv0_bias)  stride=[1, 1] -> float32 (1, 20, 24, 24)
    ...
    """  # doctest: +SKIP
    types = known_types(graph)
    lines = [
        f"network {graph.name}: {_count(graph.inputs, 'input')}, {_count(graph.nodes, 'node')}, "
        f"{_count(graph.constants, 'constant')}"
    ]
    lines += [f"input {i.name}: {i.dtype} {tuple(i.shape)}" for i in graph.inputs]
    lines += [node_text(node, types) for node in graph.nodes]
    lines.append(f"output {', '.join(graph.outputs)}")
    lines += [f"constant {name}: {constant_text(c)}" for name, c in graph.constants.items()]
    return "\n".join(lines) + "\n"


def _count(items: Any, noun: str) -> str:
    return f"{len(items)} {noun}{'' if len(items) == 1 else 's'}"


def node_text(node: Node, types: dict[str, TensorType]) -> str:
    """``outputs = op(inputs)  attributes -> types``."""
    operator = node.attrs.get("operator", "?") if node.op == "opaque" else node.op
    head = f"{', '.join(node.outputs)} = {operator}({', '.join(n or '-' for n in node.inputs)})"
    defaults = OPS[node.op].attrs if node.op in OPS else {}
    shown = {k: v for k, v in node.attrs.items() if k not in defaults or defaults[k] != v}
    attrs = " ".join(f"{k}={_attribute_text(v)}" for k, v in shown.items() if k != "operator")
    known = [type_text(types[name]) for name in node.outputs if name in types]
    return head + (f"  {attrs}" if attrs else "") + (f" -> {', '.join(known)}" if known else "")


def _attribute_text(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def type_text(t: TensorType) -> str:
    scale = "" if t.scale is None else f" x {t.scale:.6g}"
    return f"{t.dtype} {tuple(t.shape)}{scale}"


def constant_text(constant: Constant) -> str:
    """Shape and kind of a constant, and its share of zeros when it is a weight."""
    data = constant.data
    kind = f"{constant.bits} bits" if constant.quantized else data.dtype.name
    if constant.quantized and np.ndim(constant.scale):
        kind += f", {np.size(constant.scale)} scales"
    text = f"{kind} {tuple(data.shape)}"
    if data.ndim < 2 and data.size > 1:
        return text
    if data.size <= 1:
        return f"{text} = {data.reshape(-1).tolist()}"
    return f"{text}, {1 - np.count_nonzero(data) / data.size:.1%} zeros"
