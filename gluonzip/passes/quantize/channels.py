"""The weights of a layer by input and by output channel: views to write to."""

from __future__ import annotations

from collections import Counter

import numpy as np

from gluonzip.graph import OPS, Constant, Graph, Node
from gluonzip.passes.quantize.kinds import WEIGHTED


def adjustable(graph: Graph, node: Node, uses: Counter[str]) -> bool:
    """A layer whose float weights (and bias) are constants of its own."""
    if node.op not in WEIGHTED or (
        node.op == "conv_transpose2d" and node.attrs.get("groups", 1) > 1
    ):
        return False
    names = [name for name in node.inputs[1:3] if name]
    return all(
        name in graph.constants and not graph.constants[name].quantized and uses[name] == 1
        for name in names
    )


def channels_out(graph: Graph, node: Node) -> int:
    axis = OPS[node.op].weight_axis
    return graph.constants[node.inputs[1]].data.shape[axis]


def channels_in(graph: Graph, node: Node) -> int:
    weight = graph.constants[node.inputs[1]].data
    if node.op == "conv_transpose2d":
        return weight.shape[0]
    return weight.shape[1] * node.attrs.get("groups", 1)


def by_input(weight: np.ndarray, node: Node) -> np.ndarray:
    """A view (groups, outputs of a group, inputs of a group, rest); axes 0 and 2 count inputs."""
    if node.op == "conv_transpose2d":
        return weight.reshape(1, weight.shape[0], weight.shape[1], -1).swapaxes(1, 2)
    groups = node.attrs.get("groups", 1)
    return weight.reshape(groups, weight.shape[0] // groups, weight.shape[1], -1)


def by_output(weight: np.ndarray, node: Node) -> np.ndarray:
    """A view (outputs, rest)."""
    if node.op == "conv_transpose2d":
        return weight.swapaxes(0, 1)
    return weight.reshape(weight.shape[0], -1)


def float_copy(graph: Graph, name: str) -> np.ndarray:
    """The constant's values, which may be written to: a copy that takes its place."""
    data = np.array(graph.constants[name].data, np.float32, order="C")
    graph.constants[name] = Constant(data)
    return data
