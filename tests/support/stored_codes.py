"""Codes as the engine stores them (csrc/kernels/layout.h): "s8" is int8 plus 128, "u8" as it is."""

from __future__ import annotations

import numpy as np

KINDS = ("s8", "u8")
ZERO = {"s8": 128, "u8": 0}
"""The stored byte of code 0."""
LOWEST = {"s8": -127, "u8": 0}
HIGHEST = {"s8": 127, "u8": 255}


def random_bytes(rng: np.random.Generator, kind: str, shape) -> np.ndarray:
    """Stored codes, every one of them possible."""
    low, high = LOWEST[kind] + ZERO[kind], HIGHEST[kind] + ZERO[kind]
    return rng.integers(low, high + 1, shape).astype(np.uint8)


def codes_of(stored: np.ndarray, kind: str) -> np.ndarray:
    """Codes, int64."""
    return stored.astype(np.int64) - ZERO[kind]


def stored_codes(y: np.ndarray, kind: str) -> np.ndarray:
    """Values in units of the step as stored codes; ties go to even, NaN becomes the lowest code."""
    y = np.where(np.isnan(y), LOWEST[kind], y)
    return (np.rint(np.clip(y, LOWEST[kind], HIGHEST[kind])) + ZERO[kind]).astype(np.uint8)
