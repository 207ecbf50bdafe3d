"""quantize, dequantize and what simulates the two."""

from __future__ import annotations

import numpy as np

from gluonzip.onnx.emit.normalization import along
from gluonzip.onnx.emit.registry import View, emitter
from gluonzip.spec import code_range, max_code


@emitter("quantize", "dequantize")
def cross(v: View) -> str:
    """Real values: that they are int8 on one side is the view's business."""
    return v.x


@emitter("fake_quantize")
def fake_quantize(v: View) -> str:
    """What is left of these after lowering (other than 8 bits, or several scales): computed."""
    low, high = map(float, code_range(v.a.bits, v.a.unsigned))
    constant = v.constant(1)
    if constant is None:
        raise v.decline("its scale is not a constant")
    if constant.data.ndim == 0 or constant.data.size == 1:
        step = v.array(np.float32(constant.data.reshape(())), "scale")
    else:
        step = along(v, 1, v.a.axis)
    inverse = v.emit("Reciprocal", step)
    codes = v.emit("Clip", v.emit("Mul", v.x, inverse), v.floats(low), v.floats(high))
    return v.emit("Mul", v.emit("Round", codes), step)


@emitter("fake_quantize_dynamic")
def fake_quantize_dynamic(v: View) -> str:
    limit = float(max_code(v.a.bits))
    peak = v.emit("ReduceMax", v.emit("Abs", v.x), keepdims=0)
    step = v.emit("Div", peak, v.floats(limit))
    step = v.emit("Max", step, v.floats(float(np.finfo(np.float32).tiny)))  # all zeros: no 0 / 0
    scaled = v.emit("Mul", v.x, v.emit("Reciprocal", step))
    codes = v.emit("Clip", scaled, v.floats(-limit), v.floats(limit))
    return v.emit("Mul", v.emit("Round", codes), step)
