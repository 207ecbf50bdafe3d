"""A tensor while the interpreter runs: an array, or codes with their scale."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gluonzip.graph.ir import Constant
from gluonzip.graph.scales import spread
from gluonzip.spec import code_range, max_code


@dataclass(frozen=True, eq=False)
class Value:
    """``data`` as it is, or int8 or uint8 codes with a float32 ``scale``: (), (data.shape[axis],)
    or, of weights, (data.shape[axis], groups)."""

    data: np.ndarray
    scale: np.ndarray | None = None
    axis: int = 0

    @classmethod
    def of(cls, constant: Constant) -> Value:
        if not constant.quantized:
            return cls(constant.data)
        return cls(constant.data, np.asarray(constant.scale, np.float32), constant.axis)

    @property
    def quantized(self) -> bool:
        return self.scale is not None

    def real(self) -> np.ndarray:
        """The values in float32: code * scale."""
        if self.scale is None:
            return np.asarray(self.data, np.float32)
        scale = spread(self.scale, self.data.shape, self.axis)
        return np.asarray(self.data.astype(np.float32) * scale)


def to_codes(y: np.ndarray, unsigned: bool) -> np.ndarray:
    """Values in units of the step to int8 or uint8 codes; ties go to even."""
    low, high = code_range(8, unsigned)
    codes = np.rint(np.clip(y, np.float32(low), np.float32(high)))
    return codes.astype(np.uint8 if unsigned else np.int8)


def quantize(x: np.ndarray, scale: float, unsigned: bool) -> Value:
    """float32 values to a tensor of codes of this scale."""
    step = np.float32(scale)
    y = np.asarray(x, np.float32) * (np.float32(1) / step)
    return Value(to_codes(y, unsigned), np.asarray(step))


def from_steps(y: np.ndarray, a) -> Value:
    """A node's output from values in units of its step (1 without ``out_scale``)."""
    if a.out_scale is None:
        return Value(y)
    return Value(to_codes(y, a.unsigned), np.asarray(np.float32(a.out_scale)))


def from_reals(y: np.ndarray, a) -> Value:
    """A node's output from real values; of a node without ``out_scale`` too."""
    if getattr(a, "out_scale", None) is None:
        return Value(np.asarray(y, np.float32))
    return quantize(y, a.out_scale, a.unsigned)


def own_scale(x: np.ndarray, bits: int) -> np.float32:
    """The step of dynamic quantization: max|x| / max_code, 1 for (next to) nothing."""
    step = np.float32(np.abs(x).max(initial=0)) / np.float32(max_code(bits))
    return np.float32(1) if step <= np.finfo(np.float32).tiny else step


def ratio(numerator: float, denominator: float | None) -> np.float32:
    """float32(float64(numerator) / float64(denominator)); a denominator of None counts as 1."""
    if denominator is None:
        return np.float32(numerator)
    return np.float32(np.float64(numerator) / np.float64(np.float32(denominator)))


def activate(y: np.ndarray, a, step: float | None = None) -> np.ndarray:
    """The epilogue's activation on values in units of ``step`` (None: real values)."""
    if a.act == "relu":
        return np.maximum(y, np.float32(0))
    if a.act == "clip":
        return np.minimum(np.maximum(y, ratio(a.act_min, step)), ratio(a.act_max, step))
    if a.act == "leaky_relu":
        return np.where(y < 0, y * np.float32(a.act_slope), y)
    assert a.act == "none", a.act
    return y
