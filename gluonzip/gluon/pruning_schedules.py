"""Schedules of pruning: time -> share of the target sparsity in force, 0 to 1."""

from __future__ import annotations

from gluonzip.errors import ConfigError
from gluonzip.schedule import Ramp, Schedule, Steps


def one_shot(at: float = 0) -> Schedule:
    """All of the sparsity at the time ``at``."""
    return Ramp(0, 1, begin=at, end=at)


def linear(begin: float, end: float) -> Schedule:
    """Sparsity grows evenly between two times."""
    return Ramp(0, 1, begin=begin, end=end, power=1)


def polynomial(begin: float, end: float, power: float = 3) -> Schedule:
    """Fast first, then ever slower (Zhu and Gupta 2017, https://arxiv.org/abs/1710.01878)."""
    return Ramp(0, 1, begin=begin, end=end, power=power)


def iterative(rounds: int, every: float, sparsity: float, begin: float | None = None) -> Schedule:
    """``rounds`` prunings, ``every`` so much time, that each take the same share of what is left.

    After round r of R, 1 - (1 - s) ** (r / R) of the weights are zero (Frankle and Carbin, "The
    Lottery Ticket Hypothesis", ICLR 2019). ``begin``: time of the first; default: ``every``.

    >>> [round(0.9 * iterative(2, every=5, sparsity=0.9)(t), 3) for t in (0, 5, 9, 10)]
    [0.0, 0.684, 0.684, 0.9]
    """
    if rounds < 1 or not every > 0 or not 0 < sparsity < 1:
        raise ConfigError(
            f"iterative: rounds = {rounds!r}, every = {every!r}, sparsity = {sparsity!r} do not "
            "fit; use at least 1 round, time above 0, a sparsity between 0 and 1"
        )
    first = every if begin is None else begin
    shares = [(1 - (1 - sparsity) ** (r / rounds)) / sparsity for r in range(1, rounds)] + [1.0]
    return Steps(tuple((first + i * every, share) for i, share in enumerate(shares)))
