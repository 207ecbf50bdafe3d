"""Normalizations and softmax."""

from __future__ import annotations

import numpy as np

from gluonzip.graph import Constant
from gluonzip.onnx.builder import SCALE_SHIFT
from gluonzip.onnx.emit.registry import View, emitter
from gluonzip.onnx.emit.weighted import coarser, integer_bias


def along(v: View, index: int, axis: int) -> str:
    """A (C,) parameter in a shape that broadcasts along ``axis`` of the first input."""
    lengths = v.lengths(index)
    if axis % v.rank == v.rank - 1:
        return v.input(index)
    shape = [lengths[0]] + [1] * (v.rank - 1 - axis % v.rank)
    constant = v.constant(index)
    if constant is not None:
        return v.array(constant.dense().astype(np.float32).reshape(shape), f"input{index}")
    return v.emit("Reshape", v.input(index), v.integers(*shape))


@emitter("batch_norm")
def batch_norm(v: View) -> str:
    a = v.a
    if v.rank >= 2 and a.axis % v.rank == 1:
        return v.emit("BatchNormalization", *v.inputs, epsilon=float(a.eps))
    gamma, beta, mean, var = (along(v, i, a.axis) for i in range(1, 5))
    spread = v.emit("Sqrt", v.emit("Add", var, v.floats(a.eps)))
    scaled = v.emit("Mul", v.emit("Sub", v.x, mean), v.emit("Div", gamma, spread))
    return v.emit("Add", scaled, beta)


@emitter("scale_shift")
def scale_shift(v: View) -> str:
    a = v.a
    constants = [v.constant(1), v.constant(2)]
    by_channel = v.rank == 4 and a.axis % v.rank == 1 and None not in constants
    if by_channel and v.input_codes() is not None and v.codes is not None:
        return v.activated(_pointwise(v, *constants))
    if by_channel:  # one pass over memory, and runtimes know how to fuse it
        channels = v.lengths(1)[0]
        zeros, ones = (
            v.array(np.zeros(channels, np.float32)),
            v.array(np.ones(channels, np.float32)),
        )
        y = v.emit("BatchNormalization", v.x, v.input(1), v.input(2), zeros, ones, epsilon=0.0)
        return v.activated(y)
    y = v.emit("Mul", v.x, along(v, 1, a.axis))
    return v.activated(v.emit("Add", y, along(v, 2, a.axis)))


def _pointwise(v: View, scale: Constant, shift: Constant) -> str:
    """On int8 a depthwise convolution of one code a channel, +-127: exact, an integer kernel."""
    factors = scale.dense().astype(np.float32)
    codes = np.where(factors == 0, 0, np.where(factors < 0, -127, 127)).astype(np.int8)
    steps = np.where(factors == 0, 1, np.abs(factors) / np.float32(127)).astype(np.float32)
    weight = Constant(codes.reshape(-1, 1, 1, 1), steps, 0)
    bias = shift.dense().astype(np.float32)
    weight = coarser(weight, bias, v.input_codes().scale) or weight
    name = v.builder.fresh(f"{v.node.name}_scale_codes")
    one = {"kernel_shape": [1, 1], "group": len(factors), "doc": SCALE_SHIFT}
    w, b = v.builder.dequantized(name, weight, name), integer_bias(v, weight, bias)
    return v.emit("Conv", v.x, w, b, **one)


@emitter("layer_norm")
def layer_norm(v: View) -> str:
    a = v.a
    if a.axis % v.rank == v.rank - 1:
        return v.emit("LayerNormalization", *v.inputs, axis=-1, epsilon=float(a.eps))
    axes = v.integers(a.axis % v.rank)
    centred = v.emit("Sub", v.x, v.emit("ReduceMean", v.x, axes, keepdims=1))
    variance = v.emit("ReduceMean", v.emit("Mul", centred, centred), axes, keepdims=1)
    y = v.emit("Div", centred, v.emit("Sqrt", v.emit("Add", variance, v.floats(a.eps))))
    return v.emit("Add", v.emit("Mul", y, along(v, 1, a.axis)), along(v, 2, a.axis))


@emitter("l2_normalize")
def l2_normalize(v: View) -> str:
    first = {"instance": 1, "channel": 1, "spatial": 2}[v.a.mode]
    axes = (1,) if v.a.mode == "channel" else range(first, v.rank)
    total = v.emit("ReduceSumSquare", v.x, v.integers(*axes), keepdims=1)
    return v.emit("Div", v.x, v.emit("Sqrt", v.emit("Add", total, v.floats(v.a.eps))))


@emitter("softmax", "log_softmax")
def softmax(v: View) -> str:
    x = v.x if v.a.temperature == 1 else v.emit("Div", v.x, v.floats(v.a.temperature))
    return v.emit("Softmax" if v.node.op == "softmax" else "LogSoftmax", x, axis=v.a.axis)
