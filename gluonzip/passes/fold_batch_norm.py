"""Batch norm at inference is y = x * scale + shift: into the layer before it, where it can."""

from __future__ import annotations

from collections import Counter

import numpy as np

from gluonzip.errors import DataError
from gluonzip.graph import OPS, Constant, Graph, Names, Node

FOLDABLE = ("conv2d", "conv_transpose2d", "dense")

Affine = tuple[np.ndarray, np.ndarray]


def fold_batch_norm(graph: Graph) -> Graph:
    """``graph`` without ``batch_norm`` nodes.

    Where the convolution or dense layer before it has no other reader, float weights are multiplied
    (Jacob et al. 2018, section 3.2); of quantized weights the *scale* is, never the codes,
    so that what training simulated is what runs. What cannot fold becomes ``scale_shift``.
    A batch norm whose parameters are not constants stays as it is.
    """
    graph = graph.copy()
    producers, reads, names = graph.producers(), _read_counts(graph), Names(graph)
    dropped = set()
    for node in graph.nodes:
        if node.op != "batch_norm" or any(n not in graph.constants for n in node.inputs[1:]):
            continue
        scale, shift = scale_and_shift(graph, node)
        layer = producers.get(node.inputs[0])
        if layer is not None and _can_fold(graph, node, layer) and reads[layer.output] == 1:
            _fold(graph, layer, (scale, shift), reads, names)
            layer.outputs = [node.output]
            producers[node.output] = layer
            dropped.add(id(node))
        else:
            _become_scale_shift(graph, node, (scale, shift), names)
    graph.nodes = [node for node in graph.nodes if id(node) not in dropped]
    graph.prune()
    return graph


def _read_counts(graph: Graph) -> Counter[str]:
    """How often each tensor is read, by nodes or as an output of the graph."""
    return Counter(graph.outputs) + Counter(n for node in graph.nodes for n in node.inputs)


def scale_and_shift(graph: Graph, node: Node) -> Affine:
    """Of a batch norm, float64: gamma / sqrt(var + eps), beta - mean * scale.

    Raises DataError for a variance below 0.
    """
    gamma, beta, mean, var = (
        graph.constants[n].dense().astype(np.float64) for n in node.inputs[1:]
    )
    var = var + node.attrs.get("eps", OPS["batch_norm"].attrs["eps"])
    if (var <= 0).any():
        raise DataError(
            f"batch norm {node.name!r}: {node.inputs[4]!r} holds {np.count_nonzero(var <= 0)} "
            f"variances below 0 of {var.size} (the least is {var.min():.3g}), so its outputs are "
            "not numbers; initialize it with ones, or train or load it"
        )
    scale = gamma / np.sqrt(var)
    return scale, beta - mean * scale


def _can_fold(graph: Graph, node: Node, layer: Node) -> bool:
    if layer.op not in FOLDABLE or layer.inputs[1] not in graph.constants:
        return False
    a = OPS[layer.op].fill(layer.attrs)
    has_residual = len(layer.inputs) > 3 and bool(layer.inputs[3])
    if a.act != "none" or a.out_scale is not None or has_residual:
        return False
    if _bias_name(layer) and _bias_name(layer) not in graph.constants:
        return False
    grouped_transpose = layer.op == "conv_transpose2d" and a.groups != 1
    if grouped_transpose and graph.constants[layer.inputs[1]].quantized:
        return False  # output channels are not an axis of this weight: no scale per channel
    axis = node.attrs.get("axis", OPS["batch_norm"].attrs["axis"])
    channel_axes = (1, -3) if layer.op != "dense" else (1, -1) if a.flatten else (-1,)
    return axis in channel_axes


def _bias_name(layer: Node) -> str:
    return layer.inputs[2] if len(layer.inputs) > 2 else ""


def _fold(graph: Graph, layer: Node, affine: Affine, reads: Counter[str], names: Names) -> None:
    scale, shift = affine
    weight, old_bias = graph.constants[layer.inputs[1]], _bias_name(layer)
    bias = shift
    if old_bias:
        bias = bias + graph.constants[old_bias].dense().astype(np.float64) * scale
    groups = layer.attrs.get("groups", 1) if layer.op == "conv_transpose2d" else 1
    folded = scaled_weight(weight, scale, OPS[layer.op].weight_axis, groups)
    # A constant that others read too keeps its value; this layer gets one of its own.
    own = layer.inputs[1] if reads[layer.inputs[1]] == 1 else names.fresh(f"{layer.name}_weight")
    graph.constants[own] = folded
    alone = old_bias and reads[old_bias] == 1
    own_bias = old_bias if alone else names.fresh(f"{layer.name}_bias")
    graph.constants[own_bias] = Constant(bias.astype(np.float32))
    reads[own] = reads[own_bias] = 1
    layer.inputs = [layer.inputs[0], own, own_bias]


def scaled_weight(weight: Constant, scale: np.ndarray, axis: int, groups: int = 1) -> Constant:
    """``weight`` with output channel c multiplied by scale[c]; codes stay, their scale changes.

    ``groups`` > 1 is for float weights (C, O/groups, ...) of a transposed convolution.
    """
    if weight.quantized:
        old = np.asarray(weight.scale, np.float64)
        scale = scale[:, None] if weight.per_group else scale
        return Constant(weight.data, (old * scale).astype(np.float32), axis, weight.bits)
    data = weight.data.astype(np.float64)
    parts = data.reshape(groups, data.shape[0] // groups, *data.shape[1:])
    shape = [groups] + [1] * data.ndim
    shape[axis + 1] = -1
    product = parts * scale.reshape(shape) + 0.0  # no negative zeros
    return Constant(product.reshape(data.shape).astype(np.float32))


def _become_scale_shift(graph: Graph, node: Node, affine: Affine, names: Names) -> None:
    node.op, node.inputs = "scale_shift", node.inputs[:1]
    for stem, value in zip(("scale", "shift"), affine, strict=True):
        node.inputs.append(names.fresh(f"{node.name}_{stem}"))
        graph.constants[node.inputs[-1]] = Constant(value.astype(np.float32))
    node.attrs = {"axis": node.attrs.get("axis", OPS["batch_norm"].attrs["axis"])}
