"""Converters of activations and element-wise arithmetic."""

from __future__ import annotations

import math

from gluonzip.gluon.convert.registry import MxNode, converter, require

_UNARY = {
    "relu": "relu",
    "sigmoid": "sigmoid",
    "tanh": "tanh",
    "softsign": "softsign",
    "exp": "exp",
    "log": "log",
    "sqrt": "sqrt",
    "rsqrt": "rsqrt",
    "abs": "abs",
    "negative": "negative",
    "square": "square",
    "floor": "floor",
    "ceil": "ceil",
    "erf": "erf",
    "BlockGrad": "identity",
    "stop_gradient": "identity",
    "_copy": "identity",
    "identity": "identity",
    "make_loss": "identity",
    "MakeLoss": "identity",
    "_npx_relu": "relu",
    "_npx_sigmoid": "sigmoid",
}


@converter(*_UNARY)
def unary(node: MxNode) -> str:
    return node.emit(_UNARY[node.operator], node.x)


@converter("Dropout")
def dropout(node: MxNode) -> str:
    # Nothing at inference; the rate is kept for whoever trains the graph again.
    y = node.emit("identity", node.x)
    node.emitter.note("dropout", y, node.attrs.number("p", 0.5))
    return y


_ACTIVATIONS = {
    "relu": "relu",
    "sigmoid": "sigmoid",
    "tanh": "tanh",
    "softrelu": "softplus",
    "softsign": "softsign",
}


@converter("Activation")
def activation(node: MxNode) -> str:
    kind = node.attrs.text("act_type")
    require(kind in _ACTIVATIONS, f"act_type {kind}")
    return node.emit(_ACTIVATIONS[kind], node.x)


@converter("LeakyReLU")
def leaky_relu(node: MxNode) -> str:
    kind = node.attrs.text("act_type", "leaky")
    slope = node.attrs.number("slope", 0.25)
    if kind == "prelu":
        return node.emit("prelu", *node.inputs[:2])
    if kind == "leaky":
        return node.emit("leaky_relu", node.x, slope=slope)
    if kind == "elu":
        return node.emit("elu", node.x, slope=slope)
    require(kind in ("selu", "gelu"), f"act_type {kind}")
    return node.emit(kind, node.x)


@converter("hard_sigmoid")
def hard_sigmoid(node: MxNode) -> str:
    return node.emit(
        "hard_sigmoid",
        node.x,
        alpha=node.attrs.number("alpha", 0.2),
        beta=node.attrs.number("beta", 0.5),
    )


@converter("clip")
def clip(node: MxNode) -> str:
    low, high = node.attrs.number("a_min"), node.attrs.number("a_max")
    return node.emit("clip", node.x, min=low, max=high)


@converter("zeros_like", "ones_like")
def filled_like(node: MxNode) -> str:
    value = float(node.operator == "ones_like")
    return node.emit("clip", node.x, min=value, max=value)


@converter("Cast", "amp_cast")
def cast(node: MxNode) -> str:
    # The graph computes in float32: casts between floating types disappear.
    dtype = node.attrs.text("dtype")
    require(dtype in ("float16", "float32", "float64", "bfloat16"), f"a cast to {dtype}")
    y = node.emit("identity", node.x)
    node.emitter.note("cast", y, True)  # behind opaque operators there may be integers
    return y


_SCALAR = {
    "_plus_scalar": ("add_scalar", lambda v: v),
    "_minus_scalar": ("add_scalar", lambda v: -v),
    "_rminus_scalar": ("rsub_scalar", lambda v: v),
    "_mul_scalar": ("mul_scalar", lambda v: v),
    "_rdiv_scalar": ("rdiv_scalar", lambda v: v),
    "_power_scalar": ("pow_scalar", lambda v: v),
    "_maximum_scalar": ("max_scalar", lambda v: v),
    "_minimum_scalar": ("min_scalar", lambda v: v),
}


@converter(*_SCALAR)
def scalar(node: MxNode) -> str:
    op, change = _SCALAR[node.operator]
    return node.emit(op, node.x, value=change(node.attrs.number("scalar")))


@converter("_div_scalar")
def div_scalar(node: MxNode) -> str:
    divisor = node.attrs.number("scalar")
    require(divisor != 0, "division by zero")
    return node.emit("mul_scalar", node.x, value=1.0 / divisor)


_BINARY = {
    "elemwise_add": "add",
    "broadcast_add": "add",
    "broadcast_plus": "add",
    "_plus": "add",
    "_grad_add": "add",
    "elemwise_sub": "sub",
    "broadcast_sub": "sub",
    "broadcast_minus": "sub",
    "_minus": "sub",
    "elemwise_mul": "mul",
    "broadcast_mul": "mul",
    "_mul": "mul",
    "elemwise_div": "div",
    "broadcast_div": "div",
    "_div": "div",
    "_maximum": "maximum",
    "broadcast_maximum": "maximum",
    "_minimum": "minimum",
    "broadcast_minimum": "minimum",
}


@converter(*_BINARY)
def binary(node: MxNode) -> str:
    return node.emit(_BINARY[node.operator], *node.inputs)


@converter("log2", "log10")
def log_base(node: MxNode) -> str:
    natural = node.emit("log", node.x, suffix="natural")
    return node.emit("mul_scalar", natural, value=1 / math.log(int(node.operator[3:])))


@converter("_contrib_div_sqrt_dim")
def div_sqrt_dim(node: MxNode) -> str:
    return node.emit("mul_scalar", node.x, value=1 / math.sqrt(node.shape[-1]))


@converter("add_n", "ElementWiseSum")
def add_n(node: MxNode) -> str:
    total, *rest = node.inputs
    if not rest:
        return node.emit("identity", total)
    for index, term in enumerate(rest):
        last = index == len(rest) - 1
        total = node.emit("add", total, term, suffix="" if last else f"sum{index}")
    return total
