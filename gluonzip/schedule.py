"""Values that change while a network trains: sparsity, learning rate, weight of a loss.

A schedule is any function from time to value. Time counts steps or epochs, as its user chooses; a
fraction of an epoch is fine. The classes here are frozen values, so they compare, print and can be
stored.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real

from gluonzip.errors import ConfigError

Schedule = Callable[[float], float]
"""Time (from 0) to value."""


@dataclass(frozen=True)
class Constant:
    """Always ``value``."""

    value: float

    def __call__(self, time: float) -> float:
        return float(self.value)


@dataclass(frozen=True)
class Ramp:
    """From ``start`` to ``final`` between the times ``begin`` and ``end``, flat outside.

    ``final + (start - final) * (1 - t) ** power`` where t runs from 0 to 1. ``power=1`` is linear,
    3 the gradual pruning of Zhu and Gupta 2017 (https://arxiv.org/abs/1710.01878). With ``end`` at
    ``begin`` the value jumps (one shot).

    >>> [round(Ramp(0, 0.8, begin=0, end=4, power=3)(t), 4) for t in range(6)]
    [0.0, 0.4625, 0.7, 0.7875, 0.8, 0.8]
    """

    start: float
    final: float
    begin: float = 0
    end: float = 0
    power: float = 1

    def __post_init__(self) -> None:
        _check_span(self)
        if not self.power > 0:
            raise ConfigError(f"Ramp: power = {self.power!r} is not usable; it must be above 0")

    def __call__(self, time: float) -> float:
        return _between(self, (1 - _share(self, time)) ** self.power)


@dataclass(frozen=True)
class Cosine:
    """From ``start`` to ``final`` along half a cosine (Loshchilov and Hutter 2016).

    >>> [round(Cosine(1, 0, begin=0, end=4)(t), 4) for t in range(6)]
    [1.0, 0.8536, 0.5, 0.1464, 0.0, 0.0]
    """

    start: float
    final: float
    begin: float = 0
    end: float = 0

    def __post_init__(self) -> None:
        _check_span(self)

    def __call__(self, time: float) -> float:
        fall = (1 + math.cos(math.pi * _share(self, time))) / 2
        return _between(self, fall)


@dataclass(frozen=True)
class Steps:
    """Jumps: ``(time, value)`` pairs in order of time; before the first, ``start``.

    >>> [Steps(((2, 0.5), (4, 0.75)))(t) for t in range(6)]
    [0.0, 0.0, 0.5, 0.5, 0.75, 0.75]
    """

    jumps: tuple[tuple[float, float], ...]
    start: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "jumps", tuple((t, v) for t, v in self.jumps))
        times = [time for time, _ in self.jumps]
        if times != sorted(set(times)):
            raise ConfigError(f"Steps: the times {times} must rise")

    def __call__(self, time: float) -> float:
        value = self.start
        for at, after in self.jumps:
            if time >= at:
                value = after
        return float(value)


def as_schedule(value: float | Schedule) -> Schedule:
    """A number as a constant schedule; a schedule as it is. ConfigError for anything else."""
    if isinstance(value, Real) and not isinstance(value, bool):
        return Constant(float(value))
    if callable(value):
        return value
    raise ConfigError(f"{value!r} is neither a number nor a schedule (a function of time)")


def _check_span(ramp: Ramp | Cosine) -> None:
    if not ramp.end >= ramp.begin:
        raise ConfigError(
            f"{type(ramp).__name__}: end = {ramp.end!r} lies before begin = {ramp.begin!r}"
        )


def _share(ramp: Ramp | Cosine, time: float) -> float:
    """How much of the ramp is over at ``time``: 0 to 1."""
    if time < ramp.begin:
        return 0.0
    if time >= ramp.end:
        return 1.0
    return (time - ramp.begin) / (ramp.end - ramp.begin)


def _between(ramp: Ramp | Cosine, left: float) -> float:
    """The value when the share ``left`` of the way is to go; exactly the ends at 1 and 0."""
    return ramp.start * left + ramp.final * (1 - left)
