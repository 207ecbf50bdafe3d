"""Weights as initializers: float32 or float16, int8 or int4, dense or without their zeros."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from gluonzip.onnx.package import onnx

helper, numpy_helper, T = onnx.helper, onnx.numpy_helper, onnx.TensorProto


@dataclass(frozen=True)
class Storage:
    """How weights are stored.

    ``float16``: float32 weights are rounded to float16, and cast back when the file is loaded.
    ``int4``: weights of at most 4 bits take half a byte each (the int8 kernels read them through a
    cast that runtimes fold). ``sparse``: pruned weights are stored as non-zero values and the
    distances between them, and scattered when the file is loaded, where that is smaller by a fifth.
    ONNX Runtime folds it; OpenVINO accepts it but computes such layers in floating point.
    """

    float16: bool = False
    int4: bool = False
    sparse: bool = False


@dataclass
class Notes:
    """What was stored how, for the user."""

    dense_zeros: int = 0
    """Bytes of zeros stored in weights of which at least half is zero."""
    tensors: dict[str, str] = field(default_factory=dict)


def int4_tensor(name: str, codes: np.ndarray) -> onnx.TensorProto:
    """Codes within [-8, 7], two in a byte, the first in the low half."""
    flat = codes.reshape(-1).astype(np.int8)
    if flat.size % 2:
        flat = np.append(flat, np.int8(0))
    low, high = flat[::2].view(np.uint8) & 15, flat[1::2].view(np.uint8) & 15
    tensor = T(name=name, data_type=T.INT4, dims=codes.shape)
    tensor.raw_data = (low | (high << 4)).astype(np.uint8).tobytes()
    return tensor


@dataclass(frozen=True)
class Gaps:
    """Non-zero values of a flattened tensor: each lies ``gaps`` places behind the one before (the
    first behind place -1); a value may be zero where a gap would not fit a byte."""

    gaps: np.ndarray
    values: np.ndarray

    @property
    def nbytes(self) -> int:
        return self.gaps.nbytes + self.values.nbytes


def without_zeros(data: np.ndarray) -> Gaps:
    flat = data.reshape(-1)
    at = np.flatnonzero(flat)
    steps = np.diff(at, prepend=-1)
    # A step beyond 255 is made of steps of 255 onto zeros, which are values, too.
    extra = (steps - 1) // 255
    ends = np.cumsum(extra + 1) - 1
    gaps = np.full(int(ends[-1]) + 1 if len(at) else 0, 255, np.uint8)
    gaps[ends] = steps - 255 * extra
    values = np.zeros(len(gaps), data.dtype)
    values[ends] = flat[at]
    return Gaps(gaps, values)


def worth_it(data: np.ndarray, packed: Gaps) -> bool:
    return len(packed.gaps) > 0 and packed.nbytes < 0.8 * data.nbytes
