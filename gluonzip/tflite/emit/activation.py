"""Activations that TFLite fuses, and those that it does not."""

from __future__ import annotations

from gluonzip.tflite.emit.registry import View
from gluonzip.tflite.flat import Tensor
from gluonzip.tflite.package import tflite

_F = tflite.ActivationFunctionType


def fused(v: View) -> int | None:
    """The activation that an operator can fuse; None for one that must follow it."""
    a = v.a
    act = getattr(a, "act", "none")
    if act == "none":
        return _F.NONE
    if act == "relu":
        return _F.RELU
    if act == "clip" and (a.act_min, a.act_max) == (0.0, 6.0):
        return _F.RELU6
    codes = v.out_codes
    if act == "clip" and a.act_min == 0.0 and codes and a.act_max >= codes.reach:
        return _F.RELU  # codes saturate before the clip does
    return None


def code(v: View) -> int:
    """For the operator's options: what can be fused."""
    found = fused(v)
    return _F.NONE if found is None else found


def activated(v: View, y: Tensor) -> Tensor:
    """What is not fused, in float32."""
    a = v.a
    if fused(v) is not None:
        return y
    y = v.state.real(y)
    if a.act == "leaky_relu":
        return v.op("LEAKY_RELU", y, shape=y.shape, table="LeakyRelu", Alpha=a.act_slope)
    return clipped(v, y, a.act_min, a.act_max)


def clipped(v: View, y: Tensor, low: float, high: float) -> Tensor:
    if (low, high) == (0.0, 6.0):
        return v.op("RELU6", y, shape=y.shape)
    y = v.op("MAXIMUM", y, v.floats(low), shape=y.shape, table="MaximumMinimum")
    return v.op("MINIMUM", y, v.floats(high), shape=y.shape, table="MaximumMinimum")
