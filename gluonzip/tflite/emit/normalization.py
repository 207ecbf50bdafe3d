"""Normalizations and softmax."""

from __future__ import annotations

import numpy as np

from gluonzip.graph import Constant
from gluonzip.tflite.emit.activation import activated, code
from gluonzip.tflite.emit.registry import View, emitter, stored_axis
from gluonzip.tflite.emit.weighted import fitting
from gluonzip.tflite.flat import Tensor


def along(v: View, data: np.ndarray, axis: int, what: str) -> Tensor:
    """A (C,) parameter in a shape that broadcasts along ``axis``, as stored."""
    behind = v.rank - 1 - stored_axis(axis, v.rank)
    return v.array(data.reshape(-1, *[1] * behind), what)


@emitter("scale_shift")
def scale_shift(v: View) -> Tensor:
    scale, shift = v.required(1), v.required(2)
    if v.rank == 4 and v.a.axis % 4 == 1 and v.integer:
        return activated(v, _pointwise(v, scale, shift))
    y = v.op("MUL", v.real(), along(v, scale, v.a.axis, "scale"), table="Mul")
    shift = along(v, shift, v.a.axis, "shift")
    return activated(v, v.op("ADD", y, shift, table="Add", FusedActivationFunction=code(v)))


def _pointwise(v: View, scale: np.ndarray, shift: np.ndarray) -> Tensor:
    """On int8 a depthwise convolution of one code a channel, +-127: exact."""
    signs = np.sign(scale).astype(np.int8) * np.int8(127)
    steps = np.where(scale == 0, 1, np.abs(scale) / np.float32(127)).astype(np.float32)
    weight = Constant(signs.reshape(-1, 1, 1, 1), steps)
    x = v.tensor()
    codes, steps, units = fitting(weight.data, steps, shift, np.float32(x.scale))
    filters = v.weight(np.ascontiguousarray(codes.transpose(1, 2, 3, 0)), "codes", steps, 3)
    sums = np.rint(shift.astype(np.float64) / units).astype(np.int32)
    bias = v.array(sums, "bias", scale=units.astype(np.float32))
    fields = {"Padding": 1, "StrideH": 1, "StrideW": 1, "DepthMultiplier": 1}
    fields |= {"DilationHFactor": 1, "DilationWFactor": 1, "FusedActivationFunction": code(v)}
    kind = "DEPTHWISE_CONV_2D"
    return v.op(kind, x, filters, bias, codes=v.out_codes, table="DepthwiseConv2D", **fields)


def _mean(v: View, x: Tensor, axes: list[int], kind: str = "MEAN") -> Tensor:
    shape = [1 if axis in axes else n for axis, n in enumerate(x.shape)]
    return v.op(kind, x, v.ints(*axes), shape=shape, table="Reducer", KeepDims=True)


@emitter("layer_norm")
def layer_norm(v: View) -> Tensor:
    x, axis = v.real(), stored_axis(v.a.axis, v.rank)
    centred = v.op("SUB", x, _mean(v, x, [axis]), table="Sub")
    variance = _mean(v, v.op("SQUARE", centred), [axis])
    spread = v.op("ADD", variance, v.floats(v.a.eps), shape=variance.shape, table="Add")
    y = v.op("MUL", centred, v.op("RSQRT", spread, shape=variance.shape), table="Mul")
    y = v.op("MUL", y, along(v, v.required(1), v.a.axis, "gamma"), table="Mul")
    return v.op("ADD", y, along(v, v.required(2), v.a.axis, "beta"), table="Add")


@emitter("l2_normalize")
def l2_normalize(v: View) -> Tensor:
    first = {"instance": 1, "channel": 1, "spatial": 2}[v.a.mode]
    axes = [1] if v.a.mode == "channel" else list(range(first, v.rank))
    x = v.real()
    total = _mean(v, v.op("SQUARE", x), [stored_axis(axis, v.rank) for axis in axes], "SUM")
    total = v.op("ADD", total, v.floats(v.a.eps), shape=total.shape, table="Add")
    return v.op("MUL", x, v.op("RSQRT", total, shape=total.shape), table="Mul")


@emitter("softmax", "log_softmax")
def softmax(v: View) -> Tensor:
    axis = v.a.axis % v.rank
    x = v.real()
    at = stored_axis(axis, v.rank)
    axes = [i for i in range(v.rank) if i != at] + [at]
    moved = at != v.rank - 1
    if moved:
        x = v.op("TRANSPOSE", x, v.ints(*axes), shape=[x.shape[i] for i in axes])
    if v.node.op == "softmax":
        beta = 1 / v.a.temperature
        y = v.op("SOFTMAX", x, shape=x.shape, table="Softmax", Beta=beta)
    else:
        if v.a.temperature != 1:
            x = v.op("DIV", x, v.floats(v.a.temperature), shape=x.shape, table="Div")
        y = v.op("LOG_SOFTMAX", x, shape=x.shape, table="LogSoftmax")
    if not moved:
        return y
    back = [axes.index(i) for i in range(v.rank)]
    return v.op("TRANSPOSE", y, v.ints(*back))
