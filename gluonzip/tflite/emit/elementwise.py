"""Element-wise operators."""

from __future__ import annotations

import numpy as np

from gluonzip.graph.reference.elementwise import SELU_ALPHA, SELU_SCALE
from gluonzip.tflite.emit.activation import activated, clipped, code
from gluonzip.tflite.emit.registry import EMITTERS, View, emitter, last
from gluonzip.tflite.flat import Tensor

SAME = {
    "sigmoid": "LOGISTIC", "tanh": "TANH", "exp": "EXP", "log": "LOG", "sqrt": "SQRT",
    "rsqrt": "RSQRT", "abs": "ABS", "negative": "NEG", "square": "SQUARE", "floor": "FLOOR",
    "ceil": "CEIL", "gelu": "GELU", "hard_swish": "HARD_SWISH",
}  # fmt: skip
for _op, _code in SAME.items():
    EMITTERS[_op] = lambda v, code=_code: v.op(code, v.real())


def _two(v: View, kind: str, x: Tensor, y: Tensor) -> Tensor:
    """A float32 operator of two tensors, of the output's shape."""
    table = (
        ""
        if kind == "POW"
        else {"MAXIMUM": "MaximumMinimum", "MINIMUM": "MaximumMinimum"}.get(kind, kind.capitalize())
    )
    return v.op(kind, x, y, table=table)


def _operand(v: View, index: int) -> Tensor:
    """An input of a broadcasting operator, in a shape that broadcasts as stored."""
    rank, shape = len(v.type.shape), v.shape(index)
    if rank != 4 or len(shape) in (0, 4):
        return v.tensor(index)
    full = (1,) * (4 - len(shape)) + shape
    constant = v.constant(index)
    if constant is not None:
        return v.array(last(constant.dense().astype(np.float32).reshape(full)), f"input{index}")
    return v.channels_last(v.reshaped(v.tensor(index), full))


@emitter("add", "mul", "sub", "div", "maximum", "minimum")
def binary(v: View) -> Tensor:
    kind = v.node.op.upper()
    x, y = _operand(v, 0), _operand(v, 1)
    if v.node.op in ("add", "mul") and x.dtype == y.dtype == "int8" and v.out_codes:
        table, act = kind.capitalize(), code(v)
        y = v.op(kind, x, y, codes=v.out_codes, table=table, FusedActivationFunction=act)
        return activated(v, y) if v.node.op == "add" else y
    x, y = v.state.real(x), v.state.real(y)
    if v.node.op != "add":
        return _two(v, kind, x, y)
    return activated(v, v.op("ADD", x, y, table="Add", FusedActivationFunction=code(v)))


@emitter("relu")
def relu(v: View) -> Tensor:
    x = v.tensor()
    if v.integer and v.out_codes == x.codes:
        return v.op("RELU", x, codes=v.out_codes)
    return v.op("RELU", v.real())


@emitter("identity")
def identity(v: View) -> Tensor:
    return v.reshaped(v.tensor(), v.out_shape)


@emitter("leaky_relu")
def leaky_relu(v: View) -> Tensor:
    if v.integer:
        codes = v.out_codes
        return v.op("LEAKY_RELU", v.tensor(), codes=codes, table="LeakyRelu", Alpha=v.a.slope)
    return v.op("LEAKY_RELU", v.real(), table="LeakyRelu", Alpha=v.a.slope)


@emitter("prelu")
def prelu(v: View) -> Tensor:
    slope = v.required(1)
    if v.rank != 4 and slope.size > 1:
        slope = slope.reshape(-1, *[1] * (v.rank - 2))
    return v.op("PRELU", v.real(), v.array(slope, "slope"))


@emitter("clip")
def clip(v: View) -> Tensor:
    return clipped(v, v.real(), v.a.min, v.a.max)


def _elu(v: View, x: Tensor, slope: float, scale: float = 1.0) -> Tensor:
    """scale * (max(x, 0) + slope * (exp(min(x, 0)) - 1))."""
    low = v.op("ELU", _two(v, "MINIMUM", x, v.floats(0.0)))
    low = _two(v, "MUL", low, v.floats(slope * scale))
    high = v.op("RELU", x)
    high = high if scale == 1.0 else _two(v, "MUL", high, v.floats(scale))
    return _two(v, "ADD", high, low)


@emitter("elu")
def elu(v: View) -> Tensor:
    return v.op("ELU", v.real()) if v.a.slope == 1 else _elu(v, v.real(), v.a.slope)


@emitter("selu")
def selu(v: View) -> Tensor:
    return _elu(v, v.real(), SELU_ALPHA, SELU_SCALE)


@emitter("softplus")
def softplus(v: View) -> Tensor:
    """max(x, 0) + log(1 + exp(-|x|)), which does not overflow."""
    x = v.real()
    small = v.op("EXP", v.op("NEG", v.op("ABS", x)))
    return _two(v, "ADD", v.op("RELU", x), v.op("LOG", _two(v, "ADD", small, v.floats(1.0))))


@emitter("softsign")
def softsign(v: View) -> Tensor:
    x = v.real()
    return _two(v, "DIV", x, _two(v, "ADD", v.op("ABS", x), v.floats(1.0)))


@emitter("hard_sigmoid")
def hard_sigmoid(v: View) -> Tensor:
    y = _two(v, "ADD", _two(v, "MUL", v.real(), v.floats(v.a.alpha)), v.floats(v.a.beta))
    return clipped(v, y, 0.0, 1.0)


@emitter("swish")
def swish(v: View) -> Tensor:
    x = v.real()
    inner = x if v.a.beta == 1 else _two(v, "MUL", x, v.floats(v.a.beta))
    return _two(v, "MUL", x, v.op("LOGISTIC", inner))


_SCALAR = {
    "add_scalar": "ADD", "mul_scalar": "MUL", "pow_scalar": "POW", "max_scalar": "MAXIMUM",
    "min_scalar": "MINIMUM",
}  # fmt: skip
for _op, _code in _SCALAR.items():
    EMITTERS[_op] = lambda v, kind=_code: _two(v, kind, v.real(), v.floats(v.a.value))
EMITTERS["rsub_scalar"] = lambda v: _two(v, "SUB", v.floats(v.a.value), v.real())
EMITTERS["rdiv_scalar"] = lambda v: _two(v, "DIV", v.floats(v.a.value), v.real())
