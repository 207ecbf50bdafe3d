"""A tensor while the interpreter runs: an array, or int8 codes with their scale."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gluonzip.graph.ir import Constant
from gluonzip.graph.scales import spread
from gluonzip.spec import max_code


@dataclass(frozen=True, eq=False)
class Value:
    """``data`` as it is, or int8 codes with a float32 ``scale``: (), (data.shape[axis],) or, of
    weights, (data.shape[axis], groups)."""

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


def to_codes(y: np.ndarray, limit: int = 127) -> np.ndarray:
    """Values in units of the step to int8 codes; ties go to even."""
    return np.rint(np.clip(y, np.float32(-limit), np.float32(limit))).astype(np.int8)


def quantize(x: np.ndarray, scale: float) -> Value:
    """float32 values to an int8 tensor of this scale."""
    step = np.float32(scale)
    return Value(to_codes(np.asarray(x, np.float32) * (np.float32(1) / step)), np.asarray(step))


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
