"""Normalizations and softmax."""

from __future__ import annotations

import numpy as np

from gluonzip.graph.reference.registry import on_floats
from gluonzip.graph.reference.value import activate


def along(parameter: np.ndarray, axis: int, rank: int) -> np.ndarray:
    """A (C,) parameter in a shape that broadcasts along ``axis``."""
    shape = [1] * rank
    shape[axis] = -1
    return parameter.reshape(shape)


@on_floats("batch_norm")
def batch_norm(a, x, gamma, beta, mean, var):
    scale = (gamma / np.sqrt(var + np.float32(a.eps))).astype(np.float32)
    centred = x - along(mean, a.axis, x.ndim)
    return centred * along(scale, a.axis, x.ndim) + along(beta, a.axis, x.ndim)


@on_floats("scale_shift")
def scale_shift(a, x, scale, shift):
    y = x * along(scale, a.axis, x.ndim) + along(shift, a.axis, x.ndim)
    return activate(y, a)


@on_floats("layer_norm")
def layer_norm(a, x, gamma, beta):
    centred = x - x.mean(axis=a.axis, keepdims=True)
    variance = np.square(centred).mean(axis=a.axis, keepdims=True)
    y = centred / np.sqrt(variance + np.float32(a.eps))
    return y * along(gamma, a.axis, x.ndim) + along(beta, a.axis, x.ndim)


@on_floats("l2_normalize")
def l2_normalize(a, x):
    first = {"instance": 1, "channel": 1, "spatial": 2}[a.mode]
    axes = (1,) if a.mode == "channel" else tuple(range(first, x.ndim))
    return x / np.sqrt(np.square(x).sum(axis=axes, keepdims=True) + np.float32(a.eps))


def _shifted(a, x: np.ndarray) -> np.ndarray:
    x = x / np.float32(a.temperature)
    return x - x.max(axis=a.axis, keepdims=True)


@on_floats("softmax")
def softmax(a, x):
    e = np.exp(_shifted(a, x))
    return e / e.sum(axis=a.axis, keepdims=True)


@on_floats("log_softmax")
def log_softmax(a, x):
    x = _shifted(a, x)
    return x - np.log(np.exp(x).sum(axis=a.axis, keepdims=True))
