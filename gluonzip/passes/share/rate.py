"""Zeros and codebooks chosen by the bits that they cost once they are entropy-coded. NumPy only.

Entropy-constrained scalar quantization: Chou, Lookabaugh and Gray 1989; for networks Choi, El-Khamy
and Lee 2017, https://arxiv.org/abs/1612.01543. A weight w becomes the value c (zero is one of them)
of least ``h * (w - c)^2 + rate * bits(c)``, where h is its curvature and ``bits(c)`` the length of
an ideal order-0 code: ``-log2`` of the share of all weights that have this value.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gluonzip.passes.share.kmeans import kmeans

_ITERATIONS = 60
_CHUNK = 2**16


@dataclass(frozen=True, eq=False)
class Assignment:
    """``values`` (k,) float32 ascending, none zero; ``codes`` (n,) int64 into them, -1 for zero;
    ``bits``: what all n weights cost by an ideal order-0 code, without the codebook."""

    values: np.ndarray
    codes: np.ndarray
    bits: float


def entropy_bits(counts: np.ndarray) -> float:
    """Length of an ideal order-0 code of symbols that occur this often."""
    counts = counts[counts > 0].astype(np.float64)
    return float(-(counts * np.log2(counts / counts.sum())).sum()) if counts.size else 0.0


def entropy_constrained(
    weights: np.ndarray,
    entries: int,
    rate: float,
    curvature: np.ndarray | None = None,
    start: str = "linear",
    seed: int = 0,
) -> Assignment:
    """Values and zeros for a flat array of weights, its zeros included (they stay zero).

    ``rate``: see the head of this module; 0 is k-means of the weights that are not zero.
    ``curvature``: (n,) >= 0, by default 1 over the mean square of the weights that are not zero.
    """
    where = np.flatnonzero(weights)
    codes = np.full(weights.size, -1, np.int64)
    if not where.size:
        return Assignment(np.zeros(0, np.float32), codes, 0.0)
    kept = weights[where].astype(np.float64)
    book = kmeans(kept, entries, start, seed)
    values, chosen = book.values.astype(np.float64), book.codes
    values, chosen = _without(values, chosen, values == 0)
    if rate > 0:
        h = _curvature(kept, None if curvature is None else curvature[where])
        # A zero that nobody has would never be taken: at first it costs nothing.
        first = np.full(values.size + 1, np.log2(values.size + 1) + 1)
        first[0] = 0
        values, chosen = _centres(kept, h, values, _assign(kept, h, values, rate * first))
        for _ in range(_ITERATIONS):
            lengths = _lengths(chosen, values.size, weights.size)
            better = _assign(kept, h, values, rate * lengths)
            if np.array_equal(better, chosen):
                break
            values, chosen = _centres(kept, h, values, better)
    values = values.astype(np.float32)
    codes[where] = chosen
    return Assignment(values, codes, entropy_bits(np.bincount(codes + 1)))


def _curvature(kept: np.ndarray, given: np.ndarray | None) -> np.ndarray:
    if given is None:
        return np.full(kept.size, 1 / np.mean(kept**2))
    return given.astype(np.float64)


def _lengths(codes: np.ndarray, entries: int, total: int) -> np.ndarray:
    """Bits of zero, then of each value."""
    counts = np.bincount(codes + 1, minlength=entries + 1)
    counts[0] += total - codes.size
    return -np.log2(np.maximum(counts, 0.5) / total)


def _assign(kept: np.ndarray, h: np.ndarray, values: np.ndarray, price: np.ndarray) -> np.ndarray:
    candidates = np.concatenate([[0.0], values])
    out = np.empty(kept.size, np.int64)
    for begin in range(0, kept.size, _CHUNK):
        part = slice(begin, begin + _CHUNK)
        error = (kept[part, None] - candidates) ** 2
        out[part] = (h[part, None] * error + price).argmin(axis=1) - 1
    return out


def _centres(kept, h, values, codes) -> tuple[np.ndarray, np.ndarray]:
    """Each value moved to the weighted mean of its weights; unused ones are dropped."""
    used = codes >= 0
    mass = np.bincount(codes[used], h[used], values.size)
    moment = np.bincount(codes[used], h[used] * kept[used], values.size)
    moved = np.where(mass > 0, moment / np.where(mass > 0, mass, 1), values)
    unused = np.bincount(codes[used], minlength=values.size) == 0
    return _without(moved, codes, unused | (moved == 0))


def _without(values, codes, gone) -> tuple[np.ndarray, np.ndarray]:
    """Values in ascending order without those of ``gone``, whose weights become zero."""
    order = np.argsort(values, kind="stable")
    order = order[~gone[order]]
    renamed = np.full(values.size + 1, -1, np.int64)  # the last stands for -1
    renamed[order] = np.arange(order.size)
    return values[order], renamed[codes]


# ---------------------------------------------------------------- which weights to keep
def keep_by_rate(
    weights: dict, curvatures: dict, value_bits: float, budget: float
) -> tuple[dict, float]:
    """Masks of the weights worth their bits, by layer, and the rate at which they are.

    Of each layer the weights of largest ``h * w^2`` stay, as many as make the sum of these less
    ``rate`` times the layer's bits largest: ``value_bits`` for each value, and the entropy of the
    places. The rate is the lowest for which all layers' bits fit ``budget``. ``weights`` and
    ``curvatures`` map layers to arrays; zeros stay zero.
    """
    gains = {key: curvatures[key].astype(np.float64) * w.astype(np.float64) ** 2
             for key, w in weights.items()}  # fmt: skip
    ordered = {key: np.sort(gain, axis=None)[::-1] for key, gain in gains.items()}
    nonzeros = {key: int(np.count_nonzero(gain)) for key, gain in gains.items()}

    def counts(rate: float) -> dict:
        return {k: _count(ordered[k], nonzeros[k], rate, value_bits) for k in ordered}

    def fits(kept: dict) -> bool:
        return sum(_bits(n, ordered[k].size, value_bits) for k, n in kept.items()) <= budget

    if fits(nonzeros):
        return {key: gain > 0 for key, gain in gains.items()}, 0.0
    high = max((float(g[0]) for g in ordered.values() if g.size), default=0.0)
    low, many, few = 1e-30 * high, nonzeros, dict.fromkeys(ordered, 0)
    for _ in range(100):
        middle = np.sqrt(low * high)
        kept = counts(middle)
        if fits(kept):
            high, few = middle, kept
        else:
            low, many = middle, kept
    kept = _between(few, many, fits)
    return {key: _largest(gain, kept[key]) for key, gain in gains.items()}, high


def _between(few: dict, many: dict, fits: Callable[[dict], bool]) -> dict:
    """As far from ``few`` towards ``many`` as the budget allows: counts jump with the rate, for
    places become cheaper the more of them there are."""
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        kept = {k: few[k] + round(middle * (many[k] - few[k])) for k in few}
        low, high = (middle, high) if fits(kept) else (low, middle)
    return {k: few[k] + round(low * (many[k] - few[k])) for k in few}


def _bits(count: int, total: int, value_bits: float) -> float:
    return entropy_bits(np.array([count, total - count])) + count * value_bits


def _count(gains: np.ndarray, nonzeros: int, rate: float, value_bits: float) -> int:
    """How many of the descending ``gains`` give the most gain less ``rate`` times bits."""
    tried = np.unique(np.linspace(0, nonzeros, 4096).astype(np.int64))
    worth = np.concatenate([[0.0], np.cumsum(gains)])[tried]
    share = np.clip(tried / max(gains.size, 1), 1e-300, 1)
    zeros = np.clip(1 - share, 1e-300, 1)
    bits = -gains.size * (share * np.log2(share) + zeros * np.log2(zeros)) + tried * value_bits
    return int(tried[(worth - rate * bits).argmax()])


def _largest(gain: np.ndarray, count: int) -> np.ndarray:
    keep = np.zeros(gain.size, bool)
    keep[np.argsort(-gain, axis=None, kind="stable")[:count]] = True
    return keep.reshape(gain.shape)
