"""Operators that move values about."""

from __future__ import annotations

import numpy as np

from gluonzip.graph import shapes
from gluonzip.graph.reference.registry import on_codes, on_values
from gluonzip.graph.reference.value import Value, quantize


@on_codes("flatten")
def flatten(a, x):
    return x.reshape(shapes.flatten(a, x.shape))


@on_codes("reshape")
def reshape(a, x):
    return x.reshape(shapes.reshape(a, x.shape))


@on_codes("transpose")
def transpose(a, x):
    return x.transpose(a.axes)


@on_codes("slice_axis")
def slice_axis(a, x):
    index = [slice(None)] * x.ndim
    index[a.axis] = slice(a.begin, a.end)
    return x[tuple(index)]


@on_codes("pad")
def pad(a, x):
    width = list(zip(a.width[::2], a.width[1::2], strict=True))
    return np.pad(x, width, constant_values=a.value)


@on_codes("expand_dims")
def expand_dims(a, x):
    return np.expand_dims(x, a.axis)


@on_codes("squeeze")
def squeeze(a, x):
    return np.squeeze(x, tuple(a.axes) or None)


@on_codes("split")
def split(a, x):
    parts = np.split(x, a.n_outputs, axis=a.axis)
    return [np.squeeze(part, a.axis) if a.squeeze else part for part in parts]


@on_codes("upsample")
def upsample(a, x):
    return x.repeat(a.factor, axis=2).repeat(a.factor, axis=3)


@on_values("concat")
def concat(a, *values: Value) -> Value:
    if a.out_scale is None:
        return Value(np.concatenate([v.real() for v in values], axis=a.axis))
    step = np.float32(a.out_scale)
    dtype = np.uint8 if a.unsigned else np.int8
    codes = [
        v.data
        if v.quantized and v.scale == step and v.data.dtype == dtype
        else quantize(v.real(), step, a.unsigned).data
        for v in values
    ]
    return Value(np.concatenate(codes, axis=a.axis), np.asarray(step))
