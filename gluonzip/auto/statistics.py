"""Sums over batches: bounded memory however much data there is. float64 throughout."""

from __future__ import annotations

import math

import numpy as np

from gluonzip.report.diagnosis import Quality


class Comparison:
    """Two streams of equal shapes: ``add`` parts of them, then ask for the :class:`Quality`."""

    def __init__(self) -> None:
        self.signal = self.noise = self.dot = self.energy = 0.0
        self.finite = True

    def add(self, reference: np.ndarray, other: np.ndarray) -> None:
        d = reference.astype(np.float64).ravel()
        c = other.astype(np.float64).ravel()
        with np.errstate(over="ignore", invalid="ignore"):
            self.signal += float(d @ d)
            self.energy += float(c @ c)
            self.dot += float(d @ c)
            difference = d - c
            self.noise += float(difference @ difference)
        self.finite = self.finite and bool(np.isfinite(c).all())

    def quality(self) -> Quality:
        if not self.finite:
            return Quality(-math.inf, math.nan)
        length = math.sqrt(self.signal) * math.sqrt(self.energy)
        cosine = self.dot / length if length else math.nan
        return Quality(decibels(self.signal, self.noise), cosine)


def decibels(signal: float, noise: float) -> float:
    """``10 log10(signal / noise)``; infinite without noise, minus infinity without signal.

    >>> decibels(100.0, 1.0)
    20.0
    """
    if noise == 0:
        return math.inf
    return 10 * math.log10(signal / noise) if signal else -math.inf


class ChannelRange:
    """Smallest and largest value of each channel: axis 1 of images (N, C, H, W), else the last."""

    def __init__(self) -> None:
        self.low: np.ndarray | None = None
        self.high: np.ndarray | None = None

    def add(self, values: np.ndarray) -> None:
        axis = 1 if values.ndim > 3 else -1
        rows = np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)
        low, high = rows.min(axis=1), rows.max(axis=1)
        first = self.low is None
        self.low = low if first else np.minimum(self.low, low)
        self.high = high if first else np.maximum(self.high, high)

    def constant(self) -> np.ndarray:
        """Channels that never change: mask (channels,)."""
        return self.low == self.high


class Clipping:
    """How a quantizer of ``bits`` and ``scale`` meets the values that it is given."""

    def __init__(self, scale: float, limits: tuple[int, int]) -> None:
        self.scale, self.limits = np.float32(scale), limits
        self.count = self.clipped = 0
        self.largest = 0.0
        self.comparison = Comparison()

    def add(self, x: np.ndarray) -> None:
        scaled = x * (np.float32(1) / self.scale)
        low, high = self.limits
        codes = np.rint(np.clip(scaled, low, high))
        self.count += x.size
        self.clipped += int(((scaled > high + 0.5) | (scaled < low - 0.5)).sum())
        self.largest = max(self.largest, float(np.abs(scaled).max()) / high)
        self.comparison.add(x, codes * self.scale)
