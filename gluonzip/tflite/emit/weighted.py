"""Convolutions, dense layers and embeddings."""

from __future__ import annotations

import numpy as np

from gluonzip.graph import Constant
from gluonzip.passes.quantize.simulate import positive_scales
from gluonzip.tflite.emit.activation import activated, code
from gluonzip.tflite.emit.registry import View, emitter, last
from gluonzip.tflite.flat import Tensor
from gluonzip.tflite.package import tflite

_P = tflite.Padding


def same_padding(v: View, kernel, stride, dilation, pad) -> bool:
    """Is ``pad`` what TFLite's SAME would make of it?"""
    for axis in (0, 1):
        size, k = v.shape()[2 + axis], dilation[axis] * (kernel[axis] - 1) + 1
        total = max((-(-size // stride[axis]) - 1) * stride[axis] + k - size, 0)
        if (pad[axis], pad[2 + axis]) != (total // 2, total - total // 2):
            return False
    return True


def padded(v: View, x: Tensor, pad, value: float | None = None) -> Tensor:
    """``x`` with rows and columns of zeros (or ``value``) around it."""
    top, left, bottom, right = pad
    n, h, w, c = x.shape
    widths = v.array(np.array([[0, 0], [top, bottom], [left, right], [0, 0]], np.int32), "pad")
    shape = (n, h + top + bottom, w + left + right, c)
    if value is None:
        return v.op("PAD", x, widths, shape=shape, codes=x.codes, table="Pad")
    if x.codes is None:
        lowest = v.floats(value)
    else:
        lowest = v.array(np.array([-128], np.int8), "lowest", scale=x.scale, zero=x.zero)
    return v.op("PADV2", x, widths, lowest, shape=shape, codes=x.codes, table="PadV2")


def windowed(v: View, x: Tensor, kernel, stride, dilation, pad) -> tuple[Tensor, int]:
    """The input and the padding mode of an operator with windows."""
    if not any(pad):
        return x, _P.VALID
    if same_padding(v, kernel, stride, dilation, pad):
        return x, _P.SAME
    return padded(v, x, pad), _P.VALID


@emitter("conv2d")
def conv2d(v: View) -> Tensor:
    a = v.a
    weight = v.constant(1)
    if weight is None:
        raise v.decline("its weight is computed, not a constant")
    outputs, inputs, *kernel = weight.data.shape
    depthwise = a.groups > 1 and inputs == 1
    # Channels last; of a depthwise convolution the outputs are the last axis, too.
    axes, channel = ((1, 2, 3, 0), 3) if depthwise else ((0, 2, 3, 1), 0)
    x, filters, bias, codes = operands(v, weight, axes, channel)
    x, mode = windowed(v, x, kernel, a.stride, a.dilation, a.pad)
    fields = {
        "Padding": mode, "StrideH": a.stride[0], "StrideW": a.stride[1],
        "DilationHFactor": a.dilation[0], "DilationWFactor": a.dilation[1],
        "FusedActivationFunction": code(v) if not v.has(3) else 0,
    }  # fmt: skip
    if depthwise:
        fields["DepthMultiplier"] = outputs // a.groups
    kind = ("DEPTHWISE_CONV_2D", "DepthwiseConv2D") if depthwise else ("CONV_2D", "Conv2D")
    y = v.op(kind[0], x, filters, bias, codes=codes, table=kind[1], **fields)
    return finished(v, y)


def finished(v: View, y: Tensor) -> Tensor:
    """The residual and what activation was not fused."""
    if not v.has(3):
        return activated(v, y)
    y = v.op("ADD", v.state.real(y), v.real(3), table="Add", FusedActivationFunction=code(v))
    return activated(v, y)


def operands(v: View, weight: Constant, axes, channel: int):
    """(x, weight, bias, codes of the output): integers where all three are, else float32."""
    x, name = v.tensor(), v.node.inputs[1]
    outputs = weight.data.shape[0]
    bias = v.required(2) if v.has(2) else np.zeros(outputs, np.float32)
    if weight.quantized and x.dtype == "int8" and v.out_codes:
        codes, scale = positive_scales(weight)
        codes, scale, units = fitting(codes, scale, bias, np.float32(x.scale))
        filters = v.weight(np.ascontiguousarray(codes.transpose(axes)), "codes", scale, channel)
        steps = np.rint(bias.astype(np.float64) / units).astype(np.int32)
        step = units.astype(np.float32)
        sums = v.array(steps, "bias", scale=step if scale.ndim else step[:1])
        return x, filters, sums, v.out_codes
    data = np.ascontiguousarray(weight.dense().astype(np.float32).transpose(axes))
    return v.state.real(x), v.state.constant(data, name), v.array(bias, "bias"), None


def fitting(codes: np.ndarray, scale: np.ndarray, bias: np.ndarray, x_scale: np.float32):
    """Codes, scale and the accumulator's units, such that the bias fits int32: a channel whose
    weights are next to nothing beside its bias gets coarser ones."""
    units = np.float64(x_scale) * np.broadcast_to(scale, bias.shape).astype(np.float64)
    least = np.abs(bias.astype(np.float64)) / 2**30
    if (units >= least).all():
        return codes, scale, units
    new = (np.maximum(units, least) / np.float64(x_scale)).astype(np.float32)
    old = np.broadcast_to(scale, bias.shape) / new
    codes = np.rint(codes * old.reshape(-1, *[1] * (codes.ndim - 1))).astype(np.int8)
    return codes, new, np.float64(x_scale) * new.astype(np.float64)


@emitter("dense")
def dense(v: View) -> Tensor:
    weight = v.constant(1)
    if weight is None:
        raise v.decline("its weight is computed, not a constant")
    if v.a.flatten and v.rank == 4:  # the input lies channels last: so do the weight's columns
        outputs, shape = len(weight.data), v.shape()[1:]
        data = last(weight.data.reshape(outputs, *shape)).reshape(outputs, -1)
        weight = Constant(data, weight.scale, weight.axis, weight.bits)
    elif not v.a.flatten and v.rank == 4:
        raise v.decline("of four axes without flattening")
    x, filters, bias, codes = operands(v, weight, (0, 1), 0)
    if v.a.flatten and v.rank != 2:
        x = v.reshaped(x, (x.shape[0], weight.data.shape[1]))
    fields = {"KeepNumDims": not v.a.flatten and v.rank > 2}
    fields["FusedActivationFunction"] = code(v) if not v.has(3) else 0
    y = v.op("FULLY_CONNECTED", x, filters, bias, codes=codes, table="FullyConnected", **fields)
    return finished(v, y)


@emitter("embedding")
def embedding(v: View) -> Tensor:
    table = v.array(v.required(1), "table")
    x = v.op("FLOOR", v.real(), shape=v.shape())
    top = v.floats(float(len(v.required(1)) - 1))
    x = v.op("MAXIMUM", x, v.floats(0.0), shape=v.shape(), table="MaximumMinimum")
    x = v.op("MINIMUM", x, top, shape=v.shape(), table="MaximumMinimum")
    x = v.op("CAST", x, shape=v.shape(), dtype="int32", table="Cast", InDataType=0, OutDataType=2)
    shape = (*v.shape(), v.shape(1)[1])
    return v.channels_last(v.op("GATHER", table, x, shape=shape, table="Gather", Axis=0))
