"""Reductions."""

from __future__ import annotations

import numpy as np

from gluonzip.graph.reference.registry import on_floats
from gluonzip.graph.shapes import axes_of


def _reduce(function):
    return lambda a, x: function(x, axis=axes_of(a.axes, x.shape), keepdims=a.keepdims)


on_floats("mean")(_reduce(np.mean))
on_floats("sum")(_reduce(np.sum))
on_floats("max")(_reduce(np.max))


@on_floats("peak")
def peak(a, x):
    return np.abs(x.reshape(len(x), -1)).max(axis=1, initial=0)


@on_floats("matmul")
def matmul(a, x, y):
    x = np.swapaxes(x, -1, -2) if a.transpose_a else x
    y = np.swapaxes(y, -1, -2) if a.transpose_b else y
    return np.matmul(x, y)
