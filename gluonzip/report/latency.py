"""Latency of two sides in one run: warmed up, alternating, medians."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

Call = Callable[[], object]


def alternate(
    sides: list[Call], rounds: int = 15, calls: int = 10, budget: float = 5.0
) -> tuple[list[float], int]:
    """Median milliseconds of a call of each side, and the number of calls timed on each.

    Each round times ``calls`` calls of one side after the other, one by one; it stops after
    ``rounds`` or, with at least 3 rounds done, ``budget`` seconds.
    """
    for side in sides:
        for _ in range(3):
            side()
    times: list[list[float]] = [[] for _ in sides]
    begin = time.perf_counter()
    for done in range(1, rounds + 1):
        for side, taken in zip(sides, times, strict=True):
            taken += [_timed(side) for _ in range(calls)]
        if done >= 3 and time.perf_counter() - begin > budget:
            break
    return [1000 * statistics.median(taken) for taken in times], len(times[0])


def _timed(call: Call) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin
