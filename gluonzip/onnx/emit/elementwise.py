"""Element-wise operators."""

from __future__ import annotations

import numpy as np

from gluonzip.onnx.codes import saturation_is_the_activation
from gluonzip.onnx.emit.registry import EMITTERS, View, emitter

SAME = {
    "sigmoid": "Sigmoid", "tanh": "Tanh", "softplus": "Softplus", "softsign": "Softsign",
    "gelu": "Gelu", "exp": "Exp", "log": "Log", "sqrt": "Sqrt", "abs": "Abs", "negative": "Neg",
    "floor": "Floor", "ceil": "Ceil", "erf": "Erf", "selu": "Selu", "hard_swish": "HardSwish",
    "identity": "Identity",
}  # fmt: skip
"""Operators that ONNX has under another name, without attributes."""

BINARY = {"sub": "Sub", "mul": "Mul", "div": "Div", "maximum": "Max", "minimum": "Min"}

SCALAR = {
    "add_scalar": "Add", "mul_scalar": "Mul", "pow_scalar": "Pow", "max_scalar": "Max",
    "min_scalar": "Min",
}  # fmt: skip
"""f(x, value)."""

SCALAR_FIRST = {"rsub_scalar": "Sub", "rdiv_scalar": "Div"}
"""f(value, x)."""

for _op, _onnx in SAME.items():
    EMITTERS[_op] = lambda v, name=_onnx: v.emit(name, v.x)
for _op, _onnx in BINARY.items():
    EMITTERS[_op] = lambda v, name=_onnx: v.emit(name, *v.inputs)
for _op, _onnx in SCALAR.items():
    EMITTERS[_op] = lambda v, name=_onnx: v.emit(name, v.x, v.floats(v.a.value))
for _op, _onnx in SCALAR_FIRST.items():
    EMITTERS[_op] = lambda v, name=_onnx: v.emit(name, v.floats(v.a.value), v.x)


@emitter("add")
def add(v: View) -> str:
    return v.activated(v.emit("Add", *v.inputs))


@emitter("relu")
def relu(v: View) -> str:
    return v.x if saturation_is_the_activation(v.node, v.codes) else v.emit("Relu", v.x)


@emitter("clip")
def clip(v: View) -> str:
    if saturation_is_the_activation(v.node, v.codes):
        return v.x
    return v.emit("Clip", v.x, v.floats(v.a.min), v.floats(v.a.max))


@emitter("rsqrt")
def rsqrt(v: View) -> str:
    return v.emit("Reciprocal", v.emit("Sqrt", v.x))


@emitter("square")
def square(v: View) -> str:
    return v.emit("Mul", v.x, v.x)


@emitter("leaky_relu")
def leaky_relu(v: View) -> str:
    return v.emit("LeakyRelu", v.x, alpha=float(v.a.slope))


@emitter("elu")
def elu(v: View) -> str:
    return v.emit("Elu", v.x, alpha=float(v.a.slope))


@emitter("prelu")
def prelu(v: View) -> str:
    constant, shape = v.constant(1), [v.lengths(1)[0]] + [1] * (v.rank - 2)
    if constant is not None:
        slope = v.array(constant.dense().astype(np.float32).reshape(shape), "slope")
    else:
        slope = v.emit("Reshape", v.input(1), v.integers(*shape))
    return v.emit("PRelu", v.x, slope)


@emitter("hard_sigmoid")
def hard_sigmoid(v: View) -> str:
    return v.emit("HardSigmoid", v.x, alpha=float(v.a.alpha), beta=float(v.a.beta))


@emitter("swish")
def swish(v: View) -> str:
    x = v.x if v.a.beta == 1 else v.emit("Mul", v.x, v.floats(v.a.beta))
    return v.emit("Mul", v.x, v.emit("Sigmoid", x))
