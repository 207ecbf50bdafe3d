"""Schedules against their formulas, and their errors."""

import doctest

import numpy as np
import pytest

from gluonzip import schedule
from gluonzip.errors import ConfigError
from gluonzip.schedule import Constant, Cosine, Ramp, Steps, as_schedule


def test_docstrings():
    assert doctest.testmod(schedule).failed == 0


def test_ramps_stay_between_their_ends():
    times = np.linspace(-3, 20, 47)
    for ramp in (Ramp(0.1, 0.9, 2, 12, 3), Ramp(1, 0, 2, 12), Cosine(1, 0.25, 2, 12)):
        values = [ramp(t) for t in times]
        assert values[0] == ramp.start
        assert values[-1] == ramp.final
        assert sorted(values, reverse=ramp.start > ramp.final) == values


def test_linear_and_cubic_by_formula():
    assert Ramp(0.2, 0.6, 10, 20)(15) == pytest.approx(0.4)
    assert Ramp(0, 0.8, 0, 10, 3)(4) == pytest.approx(0.8 * (1 - 0.6**3))


def test_one_shot():
    jump = Ramp(0, 0.5, begin=3, end=3)
    assert [jump(t) for t in (2.9, 3, 4)] == [0, 0.5, 0.5]


def test_numbers_are_schedules():
    assert as_schedule(0.5) == Constant(0.5)
    assert as_schedule(len) is len


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Ramp(0, 1, 5, 4), "Ramp: end = 4 lies before begin = 5"),
        (lambda: Cosine(0, 1, 5, 4), "Cosine: end = 4 lies before begin = 5"),
        (lambda: Ramp(0, 1, 0, 4, power=0), "power = 0"),
        (lambda: Steps(((3, 1), (2, 1))), r"times \[3, 2\] must rise"),
        (lambda: as_schedule("fast"), "'fast' is neither a number nor a schedule"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
