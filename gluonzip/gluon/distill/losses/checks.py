"""What every distillation loss asks of its arguments."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

from gluonzip.errors import ConfigError, ShapeError


def number(name: str, value: object, low: float = 0.0, high: float = math.inf) -> float:
    """A finite number in [low, high]. ConfigError for anything else, NaN included."""
    if not isinstance(value, Real) or isinstance(value, bool) or not low <= value <= high:
        raise ConfigError(f"{name} = {value!r} is not usable; it must be from {low:g} to {high:g}")
    if math.isinf(value):
        raise ConfigError(f"{name} = {value!r} is not usable; it must be finite")
    return float(value)


def positive(name: str, value: object) -> float:
    """A finite number above 0. ConfigError for anything else."""
    if number(name, value) == 0:
        raise ConfigError(f"{name} = {value!r} is not usable; it must be above 0")
    return float(value)  # type: ignore[arg-type]


def same_scores(student: Any, teacher: Any, axis: int) -> None:
    """ShapeError unless both arrays have the same shape; says when the classes are what differs."""
    if student.shape == teacher.shape:
        return
    shapes = f"shapes {student.shape} and {teacher.shape}"
    if student.ndim == teacher.ndim and student.shape[axis] != teacher.shape[axis]:
        raise ShapeError(
            f"the student has {student.shape[axis]} classes and the teacher {teacher.shape[axis]} "
            f"({shapes}); distillation needs the same classes"
        )
    raise ShapeError(
        f"student scores {student.shape} and teacher scores {teacher.shape} differ in shape; feed "
        "both the same batch"
    )


def same_features(what: str, student: Any, teacher: Any, advice: str) -> None:
    """ShapeError unless two features have the same shape."""
    if student.shape != teacher.shape:
        raise ShapeError(
            f"{what}: the student's feature {student.shape} and the teacher's {teacher.shape} "
            f"differ in shape; {advice}"
        )


def same_batch(what: str, student: Any, teacher: Any) -> None:
    """ShapeError unless two features come from as many samples."""
    if student.shape[0] != teacher.shape[0]:
        raise ShapeError(
            f"{what}: {student.shape[0]} samples of the student's feature {student.shape} but "
            f"{teacher.shape[0]} of the teacher's {teacher.shape}; feed both the same batch"
        )
