"""Convolutions, dense layers and embeddings."""

from __future__ import annotations

import numpy as np

from gluonzip.graph import Constant
from gluonzip.onnx.builder import ONLY_FOR_RUNTIMES
from gluonzip.onnx.emit.registry import View, emitter
from gluonzip.onnx.package import onnx
from gluonzip.passes.quantize.simulate import positive_scales


@emitter("conv2d")
def conv2d(v: View) -> str:
    weight = v.constant(1)
    exact = weight is not None and weight.quantized and v.input_codes() is not None
    if exact and v.codes is None:
        return _tail(v, _accumulated(v, weight))
    return _tail(v, v.emit("Conv", v.x, *_weight_and_bias(v), **_window(v), group=v.a.groups))


def _accumulated(v: View, weight: Constant) -> str:
    """Integers in, float32 out, and no scale to round to: the accumulator itself, scaled."""
    b, x = v.builder, v.input_codes()
    codes, scale = positive_scales(weight)
    value = b.tensor(v.node.inputs[1], codes, weight.bits)
    y = v.emit(
        "ConvInteger", v.node.inputs[0], value, v.array(x.zero), **_window(v), group=v.a.groups
    )
    y = v.emit("Cast", y, to=onnx.TensorProto.FLOAT)
    unit = np.float32(x.scale) * np.broadcast_to(scale, weight.data.shape[:1])
    y = v.emit("Mul", y, v.array(unit.astype(np.float32).reshape(-1, 1, 1), "unit"))
    if not v.has(2):
        return y
    return v.emit("Add", y, v.emit("Reshape", v.input(2), v.integers(-1, 1, 1)))


@emitter("conv_transpose2d")
def conv_transpose2d(v: View) -> str:
    a = v.a
    extra = {"output_padding": list(a.output_pad)} if any(a.output_pad) else {}
    y = v.emit("ConvTranspose", v.x, *_weight_and_bias(v), **_window(v), group=a.groups, **extra)
    return _tail(v, y)


def _window(v: View) -> dict:
    a = v.a
    weight = v.lengths(1)
    return {
        "kernel_shape": list(weight[2:]),
        "strides": list(a.stride),
        "pads": list(a.pad),
        "dilations": list(a.dilation),
    }


@emitter("dense")
def dense(v: View) -> str:
    if v.a.flatten and v.rank != 2:
        return _tail(v, _gemm(v, _flat(v)))
    if v.rank == 2:
        return _tail(v, _gemm(v, v.x))
    y = v.emit("MatMul", v.x, _transposed(v))
    return _tail(v, v.emit("Add", y, v.input(2)) if v.has(2) else y)


def _transposed(v: View) -> str:
    """The weight as (I, O), stored so where it is a constant."""
    weight, name = v.constant(1), f"{v.node.inputs[1]}_transposed"
    if weight is None:
        return v.emit("Transpose", v.input(1), perm=[1, 0])
    data = np.ascontiguousarray(weight.data.T)
    if not weight.quantized:
        return v.builder.tensor(name, data)
    return v.builder.dequantized(name, Constant(data, weight.scale, 1, weight.bits), name)


def _gemm(v: View, x: str) -> str:
    weight = _weight_and_bias(v)
    if len(weight) == 1 and v.input_codes() is not None:  # the integer kernel wants a bias
        weight.append(integer_bias(v, v.constant(1), np.zeros(v.lengths(1)[0], np.float32)))
    return v.emit("Gemm", x, *weight, transB=1)


def _flat(v: View) -> str:
    """The flattened input; codes stay codes, so that nothing runs in float32 on the way."""
    codes = v.input_codes()
    y = v.emit("Flatten", v.x, axis=1)
    if codes is None:
        return y
    stem = f"{v.node.name}_flat"
    return v.state.dequantize(v.state.quantize(y, codes, stem, ONLY_FOR_RUNTIMES), codes, stem)


def _tail(v: View, y: str) -> str:
    if v.has(3):
        y = v.emit("Add", y, v.input(3))
    return v.activated(y)


# ---------------------------------------------------------------- integer weights and biases
def _weight_and_bias(v: View) -> list[str]:
    weight = v.constant(1)
    codes = v.input_codes()
    bias_constant = v.constant(2) if v.has(2) else None
    if weight is None or not weight.quantized or codes is None or v.node.op == "conv_transpose2d":
        return [v.input(at) for at in (1, 2) if v.has(at)]
    if not v.has(2):
        return [v.input(1)]
    if bias_constant is None:  # computed: it stays float32
        return [v.input(1), v.input(2)]
    bias = bias_constant.dense().astype(np.float32)
    raised = coarser(weight, bias, codes.scale)
    if raised is None:
        return [v.input(1), integer_bias(v, weight, bias)]
    name = v.builder.fresh(f"{v.node.inputs[1]}_coarse")
    return [v.builder.dequantized(name, raised, name), integer_bias(v, raised, bias)]


def integer_bias(v: View, weight: Constant, bias: np.ndarray) -> str:
    """int32 in units of the accumulator."""
    _, scale = positive_scales(weight)
    unit = np.asarray(v.input_codes().scale * scale, np.float32)
    codes = np.rint(bias.astype(np.float64) / unit.astype(np.float64)).astype(np.int32)
    b, stem = v.builder, f"{v.node.name}_bias"
    value = b.tensor(b.fresh(f"{stem}_i32"), codes)
    zero = b.array(np.zeros(unit.shape, np.int32), "zeros_i32")
    step = b.array(unit, f"{stem}_scale")
    axis = {"axis": 0} if unit.ndim else {}
    return b.node("DequantizeLinear", [value, step, zero], stem, **axis)[0]


def coarser(weight: Constant, bias: np.ndarray, x_scale: np.float32) -> Constant | None:
    """The weight with the scales of channels raised whose bias would not fit int32 (they are next
    to nothing beside it); None if all fit."""
    codes, scale = positive_scales(weight)
    unit = np.broadcast_to(x_scale * scale, bias.shape).astype(np.float64)
    least = np.abs(bias.astype(np.float64)) / 2**30
    if (unit >= least).all():
        return None
    old = np.broadcast_to(scale, bias.shape).astype(np.float64)
    new = np.maximum(old, least / np.float64(x_scale)).astype(np.float32)
    shape = [1] * codes.ndim
    shape[weight.axis] = -1
    finer = codes * (old / new).reshape(shape)
    return Constant(np.rint(finer).astype(np.int8), new, weight.axis, weight.bits)


@emitter("embedding")
def embedding(v: View) -> str:
    last = v.floats(float(v.lengths(1)[0] - 1))
    at = v.emit("Clip", v.emit("Floor", v.x), v.floats(0.0), last)
    at = v.emit("Cast", at, to=onnx.TensorProto.INT64)
    return v.emit("Gather", v.input(1), at, axis=0)
