"""quantize, dequantize and what simulates the two."""

from __future__ import annotations

import numpy as np

from gluonzip.spec import code_range
from gluonzip.tflite.emit.activation import clipped
from gluonzip.tflite.emit.normalization import along
from gluonzip.tflite.emit.registry import View, emitter
from gluonzip.tflite.flat import Tensor


@emitter("quantize")
def quantize(v: View) -> Tensor:
    return v.state.codes(v.tensor(), v.out_codes)


@emitter("dequantize")
def dequantize(v: View) -> Tensor:
    return v.real()


@emitter("fake_quantize")
def fake_quantize(v: View) -> Tensor:
    scale = v.required(1)
    steps = [scale, (np.float32(1) / scale).astype(np.float32)]
    if scale.size == 1:
        step, inverse = (v.floats(float(s.reshape(()))) for s in steps)
    else:
        step, inverse = (along(v, s, v.a.axis, f"step{i}") for i, s in enumerate(steps))
    low, high = map(float, code_range(v.a.bits, v.a.unsigned))
    codes = clipped(v, v.op("MUL", v.real(), inverse, table="Mul"), low, high)
    return v.op("MUL", v.op("ROUND", codes), step, table="Mul")
