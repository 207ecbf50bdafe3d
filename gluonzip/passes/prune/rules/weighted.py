"""Channels through weighted layers and normalizations.

An ordinary layer reads its input channels (columns of the weight) and makes new ones (rows).

Grouped convolutions, depthwise ones among them, are cut in one of two ways. If there are at least
as many groups as channels in one, whole groups go, with their inputs and outputs. If there are
fewer groups, all of them stay, and each loses the same positions.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from gluonzip.graph.ir import Node
from gluonzip.passes.prune.channels import STATIC, Ids
from gluonzip.passes.prune.propagation import Axes, Propagation, rule
from gluonzip.passes.prune.rules.elementwise import broadcast
from gluonzip.passes.prune.rules.shaping import reshaped


def whole_groups(groups: int, width: int) -> bool:
    """Whether a grouped convolution of ``width`` input channels a group loses whole groups."""
    return groups >= width


def _joined(node: Node) -> str:
    return f"{node.op} {node.name} joins it with channels that must stay"


def _reads_static(node: Node) -> str:
    return f"{node.op} {node.name} reads an input whose channels must stay"


def _rows(state: Propagation, weight: str, axis: int) -> Ids:
    """Ids of the weight's output channels."""
    ids = state.of(weight).get(axis)
    return np.full(state.shape(weight)[axis], STATIC) if ids is None else ids


def _produce(state: Propagation, node: Node, axes: Axes, axis: int) -> Axes:
    """Note ``node`` as a layer with output channels on ``axis``; bias and residual follow."""
    state.producers[node.name] = axes[axis]
    bias, residual = ([*node.inputs[2:], "", ""])[:2]
    if bias:
        state.bind(bias, 0, axes[axis], _joined(node))
    if not residual:
        return axes
    shape = state.shape(node.output)
    return broadcast(state, node, [(axes, shape), (state.of(residual), shape)])


def _kernel_stays(state: Propagation, node: Node) -> None:
    for axis in range(2, len(state.shape(node.inputs[1]))):
        state.bind(node.inputs[1], axis, None, f"it is a kernel's side in {node.name}")


@rule("conv2d", "conv_transpose2d")
def convolution(state: Propagation, node: Node, a: SimpleNamespace) -> Axes:
    x, weight = node.inputs[:2]
    ins = state.keep_only(x, 1, _spatial(node))
    _kernel_stays(state, node)
    in_axis, out_axis = (1, 0) if node.op == "conv2d" else (0, 1)
    if a.groups == 1:
        state.bind(weight, in_axis, ins, _reads_static(node))
        return _produce(state, node, {1: _rows(state, weight, out_axis)}, 1)
    channels = state.shape(x)[1]
    if ins is None:
        ins = np.full(channels, STATIC)
    whole = whole_groups(a.groups, channels // a.groups)
    out = (_whole_groups if whole else _same_positions)(state, node, a.groups, ins, in_axis == 1)
    return _produce(state, node, {1: out}, 1)


def _spatial(node: Node) -> str:
    return f"{node.op} {node.name} has it as batch or spatial axis"


def _whole_groups(state: Propagation, node: Node, groups: int, ins: Ids, forward: bool) -> Ids:
    """Each group's inputs and outputs are one class."""
    weight = node.inputs[1]
    first = ins.reshape(groups, -1)[:, :1]
    state.join(ins.reshape(groups, -1), first, _joined(node))
    state.bind(weight, 1, None, f"{node.name} loses whole groups of channels")
    if not forward:  # weight (inputs, outputs of one group)
        state.bind(weight, 0, ins, _joined(node))
        return np.repeat(first[:, 0], state.shape(weight)[1])
    out = np.repeat(first[:, 0], state.shape(weight)[0] // groups)
    state.bind(weight, 0, out, _joined(node))
    return out


def _same_positions(state: Propagation, node: Node, groups: int, ins: Ids, forward: bool) -> Ids:
    """The same position in every group is one class."""
    weight = node.inputs[1]
    state.join(ins.reshape(groups, -1), ins.reshape(groups, -1)[:1], _joined(node))
    if not forward:
        state.bind(weight, 0, ins, _joined(node))
        return np.tile(_rows(state, weight, 1), groups)
    state.bind(weight, 1, ins.reshape(groups, -1)[0], _reads_static(node))
    out = _rows(state, weight, 0).reshape(groups, -1)
    state.join(out, out[:1], _joined(node))
    return out.reshape(-1)


@rule("dense")
def dense(state: Propagation, node: Node, a: SimpleNamespace) -> Axes:
    x, weight = node.inputs[:2]
    shape = state.shape(x)
    axes = state.of(x)
    last = 1 if a.flatten else len(shape) - 1
    if a.flatten:
        axes = reshaped(state, node, (shape[0], int(np.prod(shape[1:]))))
    state.bind(weight, 1, axes.get(last), _reads_static(node))
    return _produce(state, node, {**axes, last: _rows(state, weight, 0)}, last)


@rule("embedding")
def embedding(state: Propagation, node: Node, a: SimpleNamespace) -> Axes:
    x, weight = node.inputs[:2]
    state.lock_all(x, f"{node.name} reads it as indices")
    state.bind(weight, 0, None, f"{node.name} has a row for each index")
    last = len(state.shape(x))
    return _produce(state, node, {last: _rows(state, weight, 1)}, last)


@rule("batch_norm", "scale_shift")
def per_channel(state: Propagation, node: Node, a: SimpleNamespace) -> Axes:
    x, *parameters = node.inputs
    axis = a.axis % len(state.shape(x))
    axes = state.of(x)
    for name in parameters:
        state.bind(name, 0, axes.get(axis), _reads_static(node))
    return axes


@rule("layer_norm")
def layer_norm(state: Propagation, node: Node, a: SimpleNamespace) -> Axes:
    x, gamma, beta = node.inputs
    axis = a.axis % len(state.shape(x))
    axes = state.of(x)
    reason = f"layer_norm {node.name} normalizes over it"
    if axis in axes:
        state.channels.lock(axes[axis], reason)
    for name in (gamma, beta):
        state.bind(name, 0, None, reason)
    return axes


@rule("prelu")
def prelu(state: Propagation, node: Node, a: SimpleNamespace) -> Axes:
    x, slope = node.inputs
    axes = state.of(x)
    one_for_all = state.shape(slope) == (1,) and state.shape(x)[1] != 1
    state.bind(slope, 0, None if one_for_all else axes.get(1), _reads_static(node))
    return axes


@rule("fake_quantize")
def fake_quantize(state: Propagation, node: Node, a: SimpleNamespace) -> Axes:
    x, scale = node.inputs
    axes = state.of(x)
    shape = state.shape(scale)
    if shape:
        axis = a.axis % len(state.shape(x))
        state.bind(scale, 0, axes.get(axis), _reads_static(node))
    return axes
