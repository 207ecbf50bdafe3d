"""Element-wise operators."""

from __future__ import annotations

import math

import numpy as np

from gluonzip.graph.reference.registry import on_codes, on_floats, on_values
from gluonzip.graph.reference.value import Value, activate, from_reals, from_steps, ratio

f32 = np.float32


def erf(x: np.ndarray) -> np.ndarray:
    """The error function, computed in float64 (NumPy has none)."""
    return np.frompyfunc(math.erf, 1, 1)(x).astype(np.float32)


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)) without overflow."""
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, f32(1), e) / (f32(1) + e)


def _elu(x: np.ndarray, slope: float) -> np.ndarray:
    return np.where(x > 0, x, f32(slope) * np.expm1(np.minimum(x, f32(0))))


SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805

_UNARY = {
    "sigmoid": lambda a, x: sigmoid(x),
    "tanh": lambda a, x: np.tanh(x),
    "softplus": lambda a, x: np.logaddexp(x, f32(0)),
    "softsign": lambda a, x: x / (f32(1) + np.abs(x)),
    "gelu": lambda a, x: x * (f32(1) + erf(x * f32(math.sqrt(0.5)))) * f32(0.5),
    "exp": lambda a, x: np.exp(x),
    "log": lambda a, x: np.log(x),
    "sqrt": lambda a, x: np.sqrt(x),
    "rsqrt": lambda a, x: f32(1) / np.sqrt(x),
    "abs": lambda a, x: np.abs(x),
    "negative": lambda a, x: -x,
    "square": lambda a, x: x * x,
    "floor": lambda a, x: np.floor(x),
    "ceil": lambda a, x: np.ceil(x),
    "erf": lambda a, x: erf(x),
    "leaky_relu": lambda a, x: np.where(x > 0, x, x * f32(a.slope)),
    "elu": lambda a, x: _elu(x, a.slope),
    "selu": lambda a, x: f32(SELU_SCALE) * _elu(x, SELU_ALPHA),
    "hard_sigmoid": lambda a, x: np.clip(f32(a.alpha) * x + f32(a.beta), f32(0), f32(1)),
    "hard_swish": lambda a, x: x * np.clip(x + f32(3), f32(0), f32(6)) / f32(6),
    "swish": lambda a, x: x * sigmoid(f32(a.beta) * x),
    "clip": lambda a, x: np.minimum(np.maximum(x, f32(a.min)), f32(a.max)),
    "add_scalar": lambda a, x: x + f32(a.value),
    "mul_scalar": lambda a, x: x * f32(a.value),
    "rsub_scalar": lambda a, x: f32(a.value) - x,
    "rdiv_scalar": lambda a, x: f32(a.value) / x,
    "pow_scalar": lambda a, x: np.power(x, f32(a.value)),
    "max_scalar": lambda a, x: np.maximum(x, f32(a.value)),
    "min_scalar": lambda a, x: np.minimum(x, f32(a.value)),
}
_BINARY = {
    "sub": np.subtract,
    "div": np.divide,
    "maximum": np.maximum,
    "minimum": np.minimum,
}
for _name, _function in _UNARY.items():
    on_floats(_name)(_function)
for _name, _function in _BINARY.items():
    on_floats(_name)(lambda a, x, y, f=_function: f(x, y))


@on_codes("relu")
def relu(a, x):
    return np.maximum(x, x.dtype.type(0))


@on_codes("identity")
def identity(a, x):
    return x


@on_floats("prelu")
def prelu(a, x, slope):
    if slope.size > 1:
        slope = slope.reshape(-1, *[1] * (x.ndim - 2))
    return np.where(x > 0, x, x * slope)


@on_values("add")
def add(a, x: Value, y: Value) -> Value:
    if not (x.quantized and y.quantized):
        total = activate(x.real() + y.real(), a)
        return from_reals(total, a)
    left = x.data.astype(np.float32) * ratio(x.scale, a.out_scale)
    right = y.data.astype(np.float32) * ratio(y.scale, a.out_scale)
    return from_steps(activate(left + right, a, a.out_scale), a)


@on_values("mul")
def mul(a, x: Value, y: Value) -> Value:
    if not (x.quantized and y.quantized):
        return from_reals(x.real() * y.real(), a)
    so = np.float64(1 if a.out_scale is None else f32(a.out_scale))
    factor = f32(np.float64(x.scale) * np.float64(y.scale) / so)
    product = (x.data.astype(np.int32) * y.data).astype(f32) * factor
    return from_steps(product, a)
