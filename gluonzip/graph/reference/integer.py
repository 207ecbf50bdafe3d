"""quantize, dequantize and what simulates the two."""

from __future__ import annotations

import numpy as np

from gluonzip.graph.reference.registry import on_floats, on_values
from gluonzip.graph.reference.value import Value, own_scale, quantize
from gluonzip.graph.scales import spread
from gluonzip.spec import code_range


@on_values("quantize")
def quantize_node(a, x: Value) -> Value:
    return quantize(x.real(), a.scale, a.unsigned)


@on_floats("dequantize")
def dequantize(a, x):
    return x


def fake_quantized_codes(
    x: np.ndarray, scale: np.ndarray, bits: int, axis: int, unsigned: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Codes (float32 integers) and the scale in a shape that multiplies them."""
    step = spread(np.asarray(scale, np.float32), x.shape, axis)
    if bits == 1:
        return np.where(x < 0, np.float32(-1), np.float32(1)), step
    low, high = code_range(bits, unsigned)
    y = np.clip(x * (np.float32(1) / step), np.float32(low), np.float32(high))
    return np.rint(y), step


@on_floats("fake_quantize")
def fake_quantize(a, x, scale):
    axis = a.axis % max(x.ndim, 1)
    codes, step = fake_quantized_codes(x, scale, a.bits, axis, a.unsigned)
    return codes * step


@on_floats("fake_quantize_dynamic")
def fake_quantize_dynamic(a, x):
    codes, step = fake_quantized_codes(x, own_scale(x, a.bits), a.bits, 0)
    return codes * step
