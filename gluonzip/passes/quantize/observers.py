"""Observers: from what was seen of a tensor to the range that its integers will span.

An observer is a function of (:class:`Statistics`, ``bits``); the decorator gives it a name. All
look at the same statistics, so that comparing them costs one pass over the data. Add yours::

    @observer("half")
    def half(statistics, bits):
        return statistics.peak / 2

or give the function itself wherever a name is expected
(``functools.partial(percentile, share=99.9)``).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gluonzip import _core
from gluonzip.errors import ConfigError
from gluonzip.passes.quantize.statistics import BINS, Statistics
from gluonzip.spec import code_range

Observer = Callable[[Statistics, int], float]
OBSERVERS: dict[str, Observer] = {}
_PEAKS_SUFFICE: set[Observer] = set()


def observer(name: str, histogram: bool = True) -> Callable[[Observer], Observer]:
    """Enter a function as the observer ``name``; ``histogram=False`` if the peaks suffice it."""

    def enter(function: Observer) -> Observer:
        OBSERVERS[name] = function
        if not histogram:
            _PEAKS_SUFFICE.add(function)
        return function

    return enter


def find_observer(what: str | Observer) -> Observer:
    """The observer of that name; functions pass through. ConfigError for another name."""
    if callable(what):
        return what
    if what not in OBSERVERS:
        raise ConfigError(f"observer {what!r} is unknown; use one of {', '.join(OBSERVERS)}")
    return OBSERVERS[what]


def needs_histogram(what: str | Observer) -> bool:
    """Does the observer look at more than the peaks?"""
    return find_observer(what) not in _PEAKS_SUFFICE


def observe(what: str | Observer, statistics: Statistics, bits: int) -> float:
    """The observer's range for ``bits``-bit codes. ConfigError if it is not finite and >= 0, or if
    the statistics lack the histogram it needs."""
    if needs_histogram(what) and statistics.counts.size == 0:
        raise ConfigError(f"observer {what!r} needs a histogram, and none was kept")
    found = float(find_observer(what)(statistics, bits))
    if not (np.isfinite(found) and found >= 0):
        raise ConfigError(
            f"observer {what!r} gave {found!r} for {statistics.what}; a range is finite and >= 0"
        )
    return found


# ---------------------------------------------------------------- the observers
@observer("minmax", histogram=False)
def minmax(statistics: Statistics, bits: int) -> float:
    """The largest magnitude: nothing saturates."""
    return statistics.peak


@observer("moving_average", histogram=False)
def moving_average(statistics: Statistics, bits: int, rate: float = 0.1) -> float:
    """Exponential moving average of the batches' peaks (B. Jacob et al., arXiv:1712.05877)."""
    average = statistics.peaks[0] if statistics.peaks else 0.0
    for peak in statistics.peaks[1:]:
        average += rate * (peak - average)
    return average


@observer("percentile")
def percentile(statistics: Statistics, bits: int, share: float = 99.99) -> float:
    """The magnitude that ``share`` percent of the values do not exceed, even inside its bin.

    Raises ConfigError unless 0 < share <= 100.
    """
    if not 0 < share <= 100:
        raise ConfigError(f"percentile: share = {share!r} must be above 0 and at most 100")
    wanted = share / 100 * statistics.count - statistics.zeros
    below = np.cumsum(statistics.counts)
    if wanted <= 0:
        return 0.0 if statistics.peak == 0 else _first_hit(statistics)
    at = int(np.searchsorted(below, wanted))
    if at >= BINS:
        return statistics.peak
    inside = (wanted - (below[at] - statistics.counts[at])) / statistics.counts[at]
    return min((at + inside) * statistics.width, statistics.peak)


@observer("kl")
def kl(statistics: Statistics, bits: int) -> float:
    """The threshold whose rounded histogram diverges least from the whole one (TensorRT's entropy
    calibration; exact zeros, which every scale keeps, are left out)."""
    if statistics.peak == 0:
        return 0.0
    bins = _core.kl_bins(statistics.counts, _highest_code(statistics, bits) + 1)
    return min(bins * statistics.width, statistics.peak)


@observer("mse")
def mse(statistics: Statistics, bits: int, steps: int = 200) -> float:
    """The range with the least mean squared error of rounding and saturation, of ``steps`` even
    fractions of the peak; bins count as values at their centres."""
    if statistics.peak == 0:
        return 0.0
    hit = np.flatnonzero(statistics.counts)
    counts, centres = statistics.counts[hit], (hit + 0.5) * statistics.width
    centres = np.minimum(centres, statistics.peak)
    ranges = statistics.peak * np.arange(1, steps + 1) / steps
    limit = _highest_code(statistics, bits)
    errors = [_squared_error(counts, centres, r / limit, limit) for r in ranges]
    return float(ranges[int(np.argmin(errors))])


def _squared_error(counts: np.ndarray, x: np.ndarray, scale: float, limit: int) -> float:
    rounded = np.minimum(np.rint(x / scale), limit) * scale
    return float(counts @ np.square(x - rounded))


def _highest_code(statistics: Statistics, bits: int) -> int:
    return code_range(bits, unsigned=not statistics.signed)[1]


def _first_hit(statistics: Statistics) -> float:
    """Upper end of the first bin that anything fell into: a range above zero."""
    end = (np.flatnonzero(statistics.counts)[0] + 1) * statistics.width
    return min(float(end), statistics.peak)
