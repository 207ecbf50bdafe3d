"""Activations that networks spell out become one node, which int8 runs as a table of codes."""

from __future__ import annotations

import math

from gluonzip.graph import Graph, Node

Readers = dict[str, list[Node]]


def recognize(graph: Graph) -> Graph:
    """``graph`` with spelt-out activations as one node.

    ``clip(x + 3, 0, 6) / 6`` becomes ``hard_sigmoid``, ``x * hard_sigmoid(x)`` ``hard_swish``
    (Howard et al. 2019) and ``x * sigmoid(x)`` ``swish`` (Ramachandran et al. 2017), where nothing
    else reads what lies between.
    """
    graph = graph.copy()
    _sweep(graph, "mul_scalar", _hard_sigmoid)
    _sweep(graph, "mul", _gated)
    graph.prune()
    return graph


def _sweep(graph: Graph, op: str, rewrite) -> None:
    producers, readers = graph.producers(), graph.consumers()

    def inner(name: str) -> Node | None:
        """The node that makes ``name`` for one reader alone."""
        alone = len(readers.get(name, [])) == 1 and name not in graph.outputs
        node = producers.get(name)
        return node if alone and node is not None and node.attrs.get("out_scale") is None else None

    for node in graph.nodes:
        if node.op == op and node.attrs.get("out_scale") is None:
            rewrite(node, inner)


def _hard_sigmoid(node: Node, inner) -> None:
    clip = inner(node.inputs[0])
    shifted = inner(clip.inputs[0]) if clip is not None and clip.op == "clip" else None
    if shifted is None or shifted.op != "add_scalar":
        return
    sixth = math.isclose(node.attrs["value"], 1 / 6, rel_tol=1e-6)
    bounds = clip.attrs["min"], clip.attrs["max"], shifted.attrs["value"]
    if sixth and bounds == (0, 6, 3):
        node.op, node.inputs = "hard_sigmoid", shifted.inputs[:1]
        node.attrs = {"alpha": 1 / 6, "beta": 0.5}


def _gated(node: Node, inner) -> None:
    for x, name in (node.inputs, node.inputs[::-1]):
        gate = inner(name)
        if gate is None or gate.inputs[:1] != [x]:
            continue
        if gate.op == "sigmoid":
            node.op, node.inputs = "swish", [x]
        elif gate.op == "hard_sigmoid" and gate.attrs == {"alpha": 1 / 6, "beta": 0.5}:
            node.op, node.inputs = "hard_swish", [x]
