"""Reductions."""

from __future__ import annotations

import numpy as np

from gluonzip.graph.reference.pooling import integer_average
from gluonzip.graph.reference.registry import on_codes, on_floats, on_values
from gluonzip.graph.reference.value import Value, from_reals
from gluonzip.graph.shapes import axes_of


def _reduce(function):
    return lambda a, x: function(x, axis=axes_of(a.axes, x.shape), keepdims=a.keepdims)


on_floats("sum")(_reduce(np.sum))
on_codes("max")(_reduce(np.max))


@on_values("mean")
def mean(a, x: Value) -> Value:
    if x.quantized:
        total = _reduce(np.sum)(a, x.data.astype(np.int64))
        count = x.data.size // max(np.size(total), 1)
        return integer_average(a, x, np.asarray(total), np.float32(count))
    y = np.asarray(_reduce(np.mean)(a, x.real()), np.float32)
    return from_reals(y, a)


@on_floats("peak")
def peak(a, x):
    x = x.reshape(len(x), -1)
    return np.stack([x.min(axis=1, initial=0), x.max(axis=1, initial=0)], axis=1)


@on_floats("matmul")
def matmul(a, x, y):
    x = np.swapaxes(x, -1, -2) if a.transpose_a else x
    y = np.swapaxes(y, -1, -2) if a.transpose_b else y
    return np.matmul(x, y)
