"""One-dimensional k-means: a codebook for the values of a weight. NumPy only.

Deep Compression: Han, Mao and Dally 2016, https://arxiv.org/abs/1510.00149, section 3.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gluonzip.errors import ConfigError, DataError
from gluonzip.spec import STARTS

_ITERATIONS = 300


@dataclass(frozen=True, eq=False)
class Codebook:
    """``values`` (k,) float32, ascending; ``codes`` (n,) int64: which value each weight takes."""

    values: np.ndarray
    codes: np.ndarray


def kmeans(weights: np.ndarray, entries: int, start: str = "linear", seed: int = 0) -> Codebook:
    """At most ``entries`` values for a flat array of weights, of least squared error (locally).

    ``start``: see :class:`gluonzip.spec.WeightSharing`. Weights that have no more than ``entries``
    different values keep them, exactly. A cluster that loses its last weight starts again where
    the error is largest. Raises ConfigError (entries, start), DataError (no or infinite weights).
    """
    if entries < 1:
        raise ConfigError(f"a codebook of {entries} entries; it needs at least one")
    if start not in STARTS:
        raise ConfigError(f"start = {start!r} is unknown; use one of {list(STARTS)}")
    if not weights.size or not np.isfinite(weights).all():
        raise DataError("k-means needs at least one weight, and all of them finite")
    distinct = np.unique(weights.astype(np.float32))
    if distinct.size > entries:
        distinct = _lloyd(np.sort(weights, axis=None).astype(np.float64), entries, start, seed)
    return Codebook(distinct, nearest(weights, distinct))


def nearest(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Index of the nearest of the ascending ``values``; the lower one of two equally near."""
    middles = (values[1:].astype(np.float64) + values[:-1]) / 2
    return np.searchsorted(middles, weights, side="left")


def _lloyd(ordered: np.ndarray, entries: int, start: str, seed: int) -> np.ndarray:
    """Cluster means of sorted weights: clusters are intervals, so prefix sums do it all."""
    sums = np.concatenate([[0.0], np.cumsum(ordered)])
    squares = np.concatenate([[0.0], np.cumsum(ordered**2)])
    centres, before = _first(ordered, entries, start, seed), None
    for _ in range(_ITERATIONS):
        middles = (centres[1:] + centres[:-1]) / 2
        cuts = np.searchsorted(ordered, middles, side="right")
        cuts = np.concatenate([[0], cuts, [ordered.size]])
        if before is not None and np.array_equal(cuts, before):
            break
        before = cuts
        counts = np.diff(cuts)
        means = np.diff(sums[cuts]) / np.maximum(counts, 1)
        errors = np.diff(squares[cuts]) - counts * means**2
        centres = np.sort(_refill(ordered, cuts, counts, means, errors))
    return np.unique(centres.astype(np.float32))


def _first(ordered: np.ndarray, entries: int, start: str, seed: int) -> np.ndarray:
    if start == "linear":
        return np.linspace(ordered[0], ordered[-1], entries)
    if start == "density":
        places = ((np.arange(entries) + 0.5) / entries * ordered.size).astype(np.int64)
        return ordered[places]
    distinct = np.unique(ordered)
    return np.sort(np.random.default_rng(seed).choice(distinct, entries, replace=False))


def _refill(ordered, cuts, counts, means, errors) -> np.ndarray:
    """The means, those of empty clusters moved to the far ends of the clusters of most error."""
    empty = np.flatnonzero(counts == 0)
    worst = np.argsort(-errors, kind="stable")[: empty.size]
    means = means.copy()
    for at, source in zip(empty, worst, strict=True):
        low, high = ordered[cuts[source]], ordered[cuts[source + 1] - 1]
        means[at] = low if means[source] - low > high - means[source] else high
    return means
