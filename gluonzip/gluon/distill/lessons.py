"""What a teacher says, fresh or from a cache."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gluonzip.errors import DataError
from gluonzip.gluon._mxnet import mx
from gluonzip.gluon.distill.cache import AnswerCache


@dataclass(frozen=True, eq=False)
class Lesson:
    """What the teacher says of a batch: ``outputs`` (an array; a list of them from several
    teachers) and an array for each feature, none with gradients."""

    outputs: Any
    features: tuple[Any, ...] = ()


class Lessons:
    """Cached lessons: ``lessons[rows]`` in the place of ``distiller.teach(x)``.

    ``rows``: indices of the samples, in the order of the inputs that were remembered. ``arrays``:
    the memory-mapped answers and features.
    """

    def __init__(self, cache: AnswerCache, teachers: int) -> None:
        self._cache, self._teachers = cache, teachers
        self.arrays = cache.arrays

    def __len__(self) -> int:
        return self._cache.rows

    def __getitem__(self, rows: Any) -> Lesson:
        rows = rows.asnumpy() if isinstance(rows, mx.nd.NDArray) else rows
        values = [mx.nd.array(a, dtype=a.dtype) for a in self._cache[rows]]
        outputs, features = values[: self._teachers], values[self._teachers :]
        return Lesson(outputs if self._teachers > 1 else outputs[0], tuple(features))


def as_batch(values: Any) -> Any:
    if isinstance(values, mx.nd.NDArray):
        return values
    values = np.asarray(values)
    if not values.size:
        raise DataError(f"an empty batch (shape {values.shape}) teaches nothing")
    return mx.nd.array(values, dtype=np.float32 if values.dtype == np.float64 else values.dtype)
