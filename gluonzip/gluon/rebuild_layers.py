"""Weighted nodes of a graph as Gluon's own layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np

from gluonzip.gluon import rebuild_ops
from gluonzip.gluon._mxnet import mx
from gluonzip.gluon.rebuild_ops import Call, cropped, same_on_both_sides, uneven
from gluonzip.graph.ir import Graph, Node
from gluonzip.graph.ops import OPS

nn = mx.gluon.nn


@dataclass(frozen=True, eq=False)
class LayerKind:
    """How nodes of one operator become layers.

    ``build(a, shapes)``: the layer, from the node's attributes and the shapes of its constants.
    ``attributes``: the layer's parameters, in the order of the node's inputs after the first.
    ``run(c, layer, x)``: the layer on ``x``. ``frozen``: parameters without a gradient.
    """

    build: Callable[..., Any]
    attributes: tuple[str, ...]
    run: Callable[[Call, Any, Any], Any] = field(default=lambda c, layer, x: layer(x))
    frozen: tuple[str, ...] = ()


def layer_inputs(node: Node, constants: Any) -> list[str] | None:
    """The constants that a layer for ``node`` would hold; None when it cannot be a layer.

    A node whose weight is computed (from a mask, say) is no layer, nor is one that reads the same
    constant twice.
    """
    kind = KINDS.get(node.op)
    if kind is None or not node.inputs[0] or node.inputs[0] in constants:
        return None
    count = len(kind.attributes)
    own = [*node.inputs[1 : 1 + count], *[""] * count][:count]
    present = [name for name in own if name]
    if any(name not in constants for name in present) or len(set(present)) < len(present):
        return None
    return own


def masked_weights(graph: Graph) -> dict[str, tuple[str, str]]:
    """Tensors that are a constant times a mask of zeros and ones: name -> (weight, mask)."""
    found = {}
    for node in graph.nodes:
        if node.op != "mul" or any(name not in graph.constants for name in node.inputs):
            continue
        weight, mask = (graph.constants[name].data for name in node.inputs)
        if weight.ndim >= 2 and weight.shape == mask.shape and np.isin(mask, (0, 1)).all():
            found[node.output] = (node.inputs[0], node.inputs[1])
    return found


def unmasked(node: Node, masked: Mapping[str, tuple[str, str]]) -> tuple[Node, str]:
    """The node as if its weight had no mask, and the mask ("" when it has none)."""
    if node.op not in KINDS or len(node.inputs) < 2 or node.inputs[1] not in masked:
        return node, ""
    weight, mask = masked[node.inputs[1]]
    inputs = [node.inputs[0], weight, *node.inputs[2:]]
    return Node(node.op, node.name, inputs, node.outputs, node.attrs), mask


def build_layer(node: Node, own: list[str], constants: Any, prefix: str) -> Any:
    """The Gluon layer of ``node``, its parameters still those that the layer made itself."""
    a = OPS[node.op].fill(node.attrs, len(node.outputs))
    shapes = [constants[name].data.shape if name else None for name in own]
    layer = KINDS[node.op].build(a, shapes)
    # Names inside a layer (masks, scales) must differ from those of other layers.
    layer._prefix = prefix
    layer._params = mx.gluon.ParameterDict(prefix)
    return layer


def _conv2d(a: SimpleNamespace, shapes: list) -> Any:
    outs, ins, *kernel = shapes[0]
    return nn.Conv2D(
        outs,
        tuple(kernel),
        tuple(a.stride),
        (0, 0) if uneven(a.pad) else tuple(a.pad[:2]),
        tuple(a.dilation),
        a.groups,
        use_bias=shapes[1] is not None,
        in_channels=ins * a.groups,
    )


def _run_conv2d(c: Call, layer: Any, x: Any) -> Any:
    return layer(same_on_both_sides(c, x, c.a.pad)[0])


def _conv_transpose2d(a: SimpleNamespace, shapes: list) -> Any:
    ins, outs, *kernel = shapes[0]
    return nn.Conv2DTranspose(
        outs * a.groups,
        tuple(kernel),
        tuple(a.stride),
        (0, 0) if uneven(a.pad) else tuple(a.pad[:2]),
        tuple(a.output_pad),
        tuple(a.dilation),
        a.groups,
        use_bias=shapes[1] is not None,
        in_channels=ins,
    )


def _run_conv_transpose2d(c: Call, layer: Any, x: Any) -> Any:
    y = layer(x)
    return cropped(c, y, c.a.pad) if uneven(c.a.pad) else y


def _dense(a: SimpleNamespace, shapes: list) -> Any:
    units, ins = shapes[0]
    return nn.Dense(units, use_bias=shapes[1] is not None, flatten=a.flatten, in_units=ins)


def _embedding(a: SimpleNamespace, shapes: list) -> Any:
    return nn.Embedding(*shapes[0])


def _batch_norm(a: SimpleNamespace, shapes: list) -> Any:
    return nn.BatchNorm(a.axis, epsilon=a.eps, in_channels=shapes[0][0])


def _layer_norm(a: SimpleNamespace, shapes: list) -> Any:
    return nn.LayerNorm(a.axis, a.eps, in_channels=shapes[0][0])


def _prelu(a: SimpleNamespace, shapes: list) -> Any:
    return nn.PReLU(in_channels=shapes[0][0])


KINDS: dict[str, LayerKind] = {
    "conv2d": LayerKind(_conv2d, ("weight", "bias"), _run_conv2d),
    "conv_transpose2d": LayerKind(_conv_transpose2d, ("weight", "bias"), _run_conv_transpose2d),
    "dense": LayerKind(_dense, ("weight", "bias")),
    "embedding": LayerKind(_embedding, ("weight",)),
    "batch_norm": LayerKind(
        _batch_norm,
        ("gamma", "beta", "running_mean", "running_var"),
        frozen=("running_mean", "running_var"),
    ),
    "layer_norm": LayerKind(_layer_norm, ("gamma", "beta")),
    "prelu": LayerKind(_prelu, ("alpha",)),
}


def run_layer(c: Call, op: str, layer: Any, x: Any, residual: Any) -> list[Any]:
    """A layer's outputs, with what the graph fused behind it."""
    return [rebuild_ops.finish(c, KINDS[op].run(c, layer, x), residual)]
