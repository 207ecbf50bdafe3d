"""QuantizeLinear and DequantizeLinear: symmetric quantizers of the op table."""

from __future__ import annotations

import numpy as np

from gluonzip.errors import DataError
from gluonzip.graph import Constant
from gluonzip.onnx.builder import ONLY_FOR_RUNTIMES
from gluonzip.onnx.parse.registry import OnnxNode, reader

SAYS_SCALE = "gluonzip: scale="


@reader("QuantizeLinear")
def quantize(n: OnnxNode) -> str:
    if n.doc == ONLY_FOR_RUNTIMES:
        return n.x
    scale = n.required(1, "scale").reshape(-1)
    zero = n.constant(2) if n.has(2) else np.zeros(1, np.uint8)
    if scale.size != 1 or zero is None or zero.dtype not in (np.int8, np.uint8):
        raise n.decline("only 8-bit codes with one scale are read")
    limits, zero = np.iinfo(zero.dtype), int(zero.reshape(-1)[0])
    step = np.float32(scale[0])
    low, high = (limits.min - zero) * step, (limits.max - zero) * step
    n.target.steps[n.outputs[0]] = step
    x = n.x
    if low == 0 and not n.doc.startswith(SAYS_SCALE):
        name = n.new("scale", np.asarray(step, np.float32))
        return n.emit("fake_quantize", x, name, bits=8, unsigned=True)
    if low == 0:  # saturation is a ReLU, and exporters leave theirs out for it
        x = n.emit("relu", x, suffix="relu")
    symmetric = np.float32(max(-low, high) / np.float32(127)) if low != -128 * step else step
    if n.doc.startswith(SAYS_SCALE):
        symmetric = np.float32(_number(n))
    elif symmetric != step:
        n.target.note(f"{n.name}: codes from {low:.6g} to {high:.6g} became symmetric ones")
    name = n.new("scale", np.asarray(symmetric, np.float32))
    return n.emit("fake_quantize", x, name, bits=8)


def _number(n: OnnxNode) -> float:
    text = n.doc.removeprefix(SAYS_SCALE)
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise DataError(f"node {n.name!r} says the scale {text!r}, which is no positive number")
    return value


@reader("DequantizeLinear")
def dequantize(n: OnnxNode) -> str:
    """Of an activation: its quantizer has said everything."""
    return n.x


def dequantized_constant(n: OnnxNode, codes: np.ndarray) -> Constant | np.ndarray:
    """Codes and scales as a quantized constant where they are symmetric, else real values."""
    scale, zero = n.required(1, "scale").astype(np.float32), n.constant(2)
    axis = n.attrs.get("axis", 1) % max(codes.ndim, 1)
    if n.attrs.get("block_size"):
        raise n.decline("scales of blocks are not read")
    if scale.size == 1:
        scale, zero = scale.reshape(()), None if zero is None else zero.reshape(())
    elif scale.shape != codes.shape[axis : axis + 1]:
        raise n.decline(f"scales of shape {scale.shape} for codes of shape {codes.shape}")
    shape = [1] * codes.ndim
    if scale.ndim:
        shape[axis] = -1
    centred = codes.astype(np.int64)
    if zero is not None:
        centred = centred - zero.astype(np.int64).reshape(shape if zero.ndim else ())
    small = codes.dtype.itemsize == 1 and np.abs(centred).max(initial=0) <= 127
    if small and codes.ndim > 1 and np.isfinite(scale).all():
        bits = 4 if np.abs(centred).max(initial=0) <= 7 and n.target.is_int4(n.inputs[0]) else 8
        return Constant(centred.astype(np.int8), scale, axis, bits)
    return (centred * scale.astype(np.float64).reshape(shape)).astype(np.float32)
