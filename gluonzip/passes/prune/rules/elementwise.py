"""Channels through element-wise operators: those that meet go together."""

from __future__ import annotations

from types import SimpleNamespace

from gluonzip.graph.ir import Node
from gluonzip.passes.prune.channels import Ids
from gluonzip.passes.prune.propagation import Axes, Propagation, rule

UNARY = (
    "relu",
    "sigmoid",
    "tanh",
    "softplus",
    "softsign",
    "gelu",
    "exp",
    "log",
    "sqrt",
    "rsqrt",
    "abs",
    "negative",
    "square",
    "floor",
    "ceil",
    "erf",
    "leaky_relu",
    "elu",
    "selu",
    "hard_sigmoid",
    "hard_swish",
    "swish",
    "clip",
    "add_scalar",
    "mul_scalar",
    "rsub_scalar",
    "rdiv_scalar",
    "pow_scalar",
    "max_scalar",
    "min_scalar",
    "identity",
    "quantize",
    "dequantize",
    "fake_quantize_dynamic",
)
BINARY = ("add", "sub", "mul", "div", "maximum", "minimum")


@rule(*UNARY)
def unary(state: Propagation, node: Node, a: SimpleNamespace) -> Axes:
    return state.of(node.inputs[0])


@rule(*BINARY)
def binary(state: Propagation, node: Node, a: SimpleNamespace) -> Axes:
    constant = [name in state.graph.constants for name in node.inputs]
    if all(constant) or not any(constant):
        return broadcast(state, node, [(state.of(n), state.shape(n)) for n in node.inputs])
    x, other = node.inputs if constant[1] else node.inputs[::-1]
    return _with_constant(state, node, x, other)


def broadcast(state: Propagation, node: Node, operands: list[tuple[Axes, tuple[int, ...]]]) -> Axes:
    """Axes of NumPy's broadcasting of operands, each given as (axes, shape)."""
    rank = max(len(shape) for _, shape in operands)
    result: Axes = {}
    for axis in range(-rank, 0):
        own = [
            (axes.get(len(shape) + axis), shape[axis])
            for axes, shape in operands
            if len(shape) >= -axis
        ]
        ids = _meet(state, node, own)
        if ids is not None:
            result[rank + axis] = ids
    return result


def _meet(state: Propagation, node: Node, found: list[tuple[Ids | None, int]]) -> Ids | None:
    """Ids of one output axis from the operands' (ids, length)."""
    longest = max(length for _, length in found)
    whole = [ids for ids, length in found if length == longest]
    for ids, length in found:
        if ids is not None and length != longest:
            state.channels.lock(ids, f"{node.op} {node.name} broadcasts it")
    known = [ids for ids in whole if ids is not None]
    reason = f"{node.op} {node.name} joins it with channels that must stay"
    for ids in known:
        state.join(known[0], ids, reason)
    if len(known) == len(whole):
        return known[0]
    for ids in known:
        state.channels.lock(ids, reason)
    return None


def _with_constant(state: Propagation, node: Node, x: str, constant: str) -> Axes:
    """``x`` op a constant, which follows ``x``'s channels."""
    axes, shape = state.of(x), state.shape(node.outputs[0])
    rank, lengths = len(state.shape(x)), state.shape(constant)
    reason = f"{node.op} {node.name} joins it with channels that must stay"
    for axis, length in enumerate(lengths):
        target = axis - len(lengths) + rank
        ids = axes.get(target)
        same = ids is not None and len(ids) == length
        state.bind(constant, axis, ids if same else None, reason)
    offset = len(shape) - rank
    result = {axis + offset: ids for axis, ids in axes.items()}
    for axis in list(result):
        if len(result[axis]) != shape[axis]:
            state.channels.lock(result.pop(axis), f"{node.op} {node.name} broadcasts it")
    return result
