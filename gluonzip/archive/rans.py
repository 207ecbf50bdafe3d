"""Entropy coding of small symbols: the choice of a table here, the coder itself in C++.

Static order-0 range coding (rANS: J. Duda, arXiv:1311.2540). The table gives each symbol a level:
0 for a symbol that does not occur, else q for a probability of about 2^((q - 1) / 4 - 12). Levels
are stored as Elias gamma codes of their differences, so a smooth table is a small one, and
:func:`plan` finds the table for which table and symbols together are smallest.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gluonzip.archive.core import load_core

_core = load_core()

MAX_BITS = 8
_LEVELS = 50
_PROBABILITY = np.concatenate([[0.0], 2.0 ** (np.arange(_LEVELS - 1) / 4 - 12)])


@dataclass(frozen=True)
class Plan:
    """A table for symbols of ``bits`` bits, and the bytes that a stream with it will take."""

    bits: int
    levels: np.ndarray
    bytes: int


def plan(histogram: np.ndarray, bits: int) -> Plan:
    """The best table for ``histogram`` (2^bits counts, not all zero), by dynamic programming."""
    count = int(histogram.sum())
    with np.errstate(divide="ignore"):
        surprise = -np.log2(_PROBABILITY)
    # Probabilities that add up to more or less than 1 are scaled: what that costs, linearised.
    share = count / np.log(2) * _PROBABILITY
    best = _step_bits(np.zeros(1, int), np.arange(_LEVELS))[0]
    choices = []
    for i, occurrences in enumerate(histogram.tolist()):
        if i:
            total = best[:, None] + _STEP_COST
            choices.append(total.argmin(axis=0))
            best = total.min(axis=0)
        best = best + share
        if occurrences:
            best = best + occurrences * surprise
    level = int(best.argmin())
    size = float(best[level]) - count / np.log(2)
    levels = [level]
    for choice in reversed(choices):
        levels.append(int(choice[levels[-1]]))
    table = np.array(levels[::-1], np.uint8)
    lanes = 1 if count < 2**15 else 8
    return Plan(bits, table, int(np.ceil(size / 8)) + 4 * lanes)


def entropy_bytes(histogram: np.ndarray) -> float:
    """The least that any order-0 code takes, without its table."""
    counts = histogram[histogram > 0]
    return float(-(counts * np.log2(counts / counts.sum())).sum()) / 8 if counts.size else 0.0


def _step_bits(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Bits of the gamma code of each difference after - before, as a matrix."""
    step = after[None, :] - before[:, None]
    code = np.where(step > 0, 2 * step, 1 - 2 * step)
    return 2.0 * np.floor(np.log2(code)) + 1


_STEP_COST = _step_bits(np.arange(_LEVELS), np.arange(_LEVELS))


def patterns(values: np.ndarray, bits: int) -> np.ndarray:
    """The low ``bits`` bits of integers, as uint8: 0, 1, ... then the negative numbers."""
    return values.astype(np.uint8) & np.uint8(2**bits - 1)


def encode(symbols: np.ndarray, chosen: Plan) -> bytes:
    """``symbols`` (integers, whose low ``bits`` bits count) as a stream."""
    return _core.rans_encode(patterns(symbols, chosen.bits), chosen.bits, chosen.levels)


def decode(data: bytes, count: int, bits: int, signed: bool) -> np.ndarray:
    """``count`` symbols as int32, two's complement if ``signed``; ArchiveError if malformed."""
    symbols = _core.rans_decode(data, bits, count).astype(np.int32)
    return symbols - ((symbols >> (bits - 1)) << bits) if signed else symbols
