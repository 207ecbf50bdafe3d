"""quantize, dequantize and what simulates the two."""

from __future__ import annotations

import numpy as np

from gluonzip.graph.reference.registry import on_floats, on_values
from gluonzip.graph.reference.value import Value, quantize
from gluonzip.spec import max_code


@on_values("quantize")
def quantize_node(a, x: Value) -> Value:
    return quantize(x.real(), a.scale)


@on_floats("dequantize")
def dequantize(a, x):
    return x


def fake_quantized_codes(
    x: np.ndarray, scale: np.ndarray, bits: int, axis: int
) -> tuple[np.ndarray, np.ndarray]:
    """Codes (float32 integers) and the scale in a shape that multiplies them."""
    step = np.asarray(scale, np.float32)
    if step.ndim:
        shape = [1] * x.ndim
        shape[axis] = -1
        step = step.reshape(shape)
    limit = np.float32(max_code(bits))
    return np.rint(np.clip(x * (np.float32(1) / step), -limit, limit)), step


@on_floats("fake_quantize")
def fake_quantize(a, x, scale):
    codes, step = fake_quantized_codes(x, scale, a.bits, a.axis)
    return codes * step
