"""What calibration remembers of a tensor: enough for every observer, in memory that is bounded."""

from __future__ import annotations

import copy
import math

import numpy as np

from gluonzip import _core
from gluonzip.errors import DataError

BINS = 4096
"""Bins of a histogram; at least half of them lie below the largest magnitude."""


class Statistics:
    """Magnitudes of one tensor, batch by batch: their peaks, and a histogram of them.

    ``what``: the tensor as errors name it (``tensor 'data'``, ``the input of layer 'conv0'``).
    ``peak``: the largest; ``peaks``: that of each batch; ``signed``: whether any value was below
    zero; ``count``: how many values were seen,
    ``zeros`` of which were exactly zero; ``counts``: how many of the others fell into each of
    BINS bins, ``width`` wide, from zero up. A value beyond the last bin doubles the width, which
    joins bins two by two and loses nothing. ``histogram=False`` keeps the peaks alone
    (``feed`` may then be given parts of a tensor that hold its lowest and highest value).
    """

    def __init__(self, what: str, histogram: bool = True) -> None:
        self.what = what
        self.peaks: list[float] = []
        self.signed = False
        self.count = self.zeros = 0
        self.counts = np.zeros(BINS if histogram else 0, np.int64)
        self.width = 0.0

    @property
    def peak(self) -> float:
        """Largest magnitude seen; 0 for nothing seen."""
        return max(self.peaks, default=0.0)

    def feed(self, array: np.ndarray, batch: int) -> None:
        """Take in the values of one batch. DataError (naming it) for none or non-finite ones."""
        peak = largest(array, self.what, batch)
        self.peaks.append(peak)
        self.signed = self.signed or bool(array.min() < 0)
        self.count += array.size
        if self.counts.size == 0:
            return
        self._reach(peak)
        if self.width == 0:
            self.zeros += array.size
        else:
            values = np.ascontiguousarray(array, np.float32)
            self.zeros += _core.count_magnitudes(values, self.width, self.counts)

    def treated_as(self, signed: bool) -> Statistics:
        """The same values for codes that are signed, or not, whatever was seen."""
        other = copy.copy(self)
        other.signed = signed
        return other

    def _reach(self, peak: float) -> None:
        """Make the bins reach beyond ``peak``."""
        if peak == 0:
            return
        if self.width == 0:
            self.width = math.ldexp(1.0, max(math.frexp(peak)[1], -100)) / BINS
        while peak >= self.width * BINS:
            self.counts = np.concatenate(
                [self.counts.reshape(-1, 2).sum(axis=1), np.zeros(BINS // 2, np.int64)]
            )
            self.width *= 2


def largest(array: np.ndarray, what: str, batch: int) -> float:
    """max |x|; DataError names the tensor and the batch when it is empty or not finite."""
    if array.size == 0:
        raise DataError(f"calibration batch {batch}: {what} is empty")
    value = max(float(array.max()), -float(array.min()))  # NaN and infinities reach it
    if not np.isfinite(value):
        bad = array.size - int(np.isfinite(array).sum())
        raise DataError(
            f"calibration batch {batch}: {what} has {bad} non-finite values (NaN or infinity) of "
            f"{array.size}"
        )
    return value
