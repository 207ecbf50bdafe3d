"""Activations and residual additions into the epilogue of the layer that makes their input."""

from __future__ import annotations

from gluonzip.graph import OPS, Graph, Node, TensorType, known_types

WEIGHTED = ("conv2d", "conv_transpose2d", "dense")
WITH_ACTIVATION = (*WEIGHTED, "scale_shift", "add")

Readers = dict[str, list[Node]]


def fuse(graph: Graph) -> Graph:
    """``graph`` with additions and activations moved into epilogues.

    An ``add`` of two tensors of equal shape goes into the later of the weighted layers that make
    them, as its ``residual``; relu, clip and leaky_relu go into what makes their input. Only a
    layer whose output has no other reader takes anything; all else stays unfused.
    """
    graph = graph.copy()
    _fuse_additions(graph)
    _fuse_activations(graph)
    return graph


def _drop(graph: Graph, dropped: list[Node]) -> None:
    gone = {id(node) for node in dropped}
    graph.nodes = [node for node in graph.nodes if id(node) not in gone]


# ---------------------------------------------------------------- residual additions
def _fuse_additions(graph: Graph) -> None:
    types = known_types(graph)
    producers, readers = graph.producers(), graph.consumers()
    place = {id(node): at for at, node in enumerate(graph.nodes)}
    dropped = []
    for node in graph.nodes:
        if node.op != "add" or not _adds_equal_shapes(graph, node, types):
            continue
        able = [
            layer
            for layer in map(producers.get, node.inputs)
            if layer is not None and _takes_addition(graph, layer, node, readers)
        ]
        if able:
            layer = max(able, key=lambda candidate: place[id(candidate)])
            (other,) = (name for name in node.inputs if name != layer.output)
            _add_residual(layer, node, other)
            # The layer now needs the other operand too: it moves to where the addition stood.
            place[id(layer)] = place[id(node)]
            producers[node.output] = layer
            readers[other] = [layer if reader is node else reader for reader in readers[other]]
            dropped.append(node)
    _drop(graph, dropped)
    graph.nodes.sort(key=lambda node: place[id(node)])


def _adds_equal_shapes(graph: Graph, node: Node, types: dict[str, TensorType]) -> bool:
    left, right = (types.get(name) for name in node.inputs)
    computed = not any(name in graph.constants for name in node.inputs)
    equal = left is not None and right is not None and left.shape == right.shape
    return computed and equal and node.attrs.get("out_scale") is None


def _takes_addition(graph: Graph, layer: Node, node: Node, readers: Readers) -> bool:
    """Nothing is fused behind ``layer`` yet, and ``node`` alone reads its output, once."""
    if layer.op not in WEIGHTED or (len(layer.inputs) > 3 and layer.inputs[3]):
        return False
    once = node.inputs.count(layer.output) == 1
    return once and _takes_activation(graph, layer, node, readers)


def _add_residual(layer: Node, node: Node, other: str) -> None:
    layer.inputs = [*layer.inputs, ""][:3] + [other]
    layer.outputs = [node.output]
    for name in ("act", "act_min", "act_max", "act_slope"):
        if name in node.attrs:
            layer.attrs[name] = node.attrs[name]


# ---------------------------------------------------------------- activations
def _fuse_activations(graph: Graph) -> None:
    producers, readers = graph.producers(), graph.consumers()
    dropped = []
    for node in graph.nodes:
        activation = _activation(node)
        layer = producers.get(node.inputs[0]) if activation else None
        if layer is None or layer.op not in WITH_ACTIVATION:
            continue
        if _takes_activation(graph, layer, node, readers):
            layer.attrs.update(activation)
            layer.outputs = [node.output]
            producers[node.output] = layer
            dropped.append(node)
    _drop(graph, dropped)


def _takes_activation(graph: Graph, layer: Node, node: Node, readers: Readers) -> bool:
    a = OPS[layer.op].fill(layer.attrs)
    alone = layer.output not in graph.outputs and readers[layer.output] == [node]
    return a.act == "none" and a.out_scale is None and alone


def _activation(node: Node) -> dict | None:
    """The epilogue attributes that do what ``node`` does; None when there are none."""
    if node.attrs.get("out_scale") is not None:
        return None
    if node.op == "relu":
        return {"act": "relu"}
    if node.op == "clip":
        low, high = float(node.attrs["min"]), float(node.attrs["max"])
        return {"act": "clip", "act_min": low, "act_max": high}
    if node.op == "leaky_relu":
        slope = node.attrs.get("slope", OPS["leaky_relu"].attrs["slope"])
        return {"act": "leaky_relu", "act_slope": float(slope)}
    return None
