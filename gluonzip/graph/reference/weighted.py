"""Convolutions and matrix products, in float32 and in exact integers."""

from __future__ import annotations

import numpy as np

from gluonzip.graph import shapes
from gluonzip.graph.reference.registry import on_floats, on_values
from gluonzip.graph.reference.value import (
    Value,
    activate,
    from_reals,
    from_steps,
    own_scale,
    quantize,
    ratio,
)


# ---------------------------------------------------------------- epilogue
def _per_channel(v: np.ndarray, rank: int, axis: int) -> np.ndarray:
    shape = [1] * rank
    shape[axis] = -1
    return v.reshape(shape)


def _float_epilogue(
    a, y: np.ndarray, bias: Value | None, residual: Value | None, axis: int
) -> Value:
    if bias is not None:
        y = y + _per_channel(bias.real(), y.ndim, axis)
    if residual is not None:
        y = y + residual.real()
    y = activate(y, a)
    return from_reals(y, a)


def _integer_epilogue(
    a, acc, sx, sw: np.ndarray, bias: Value | None, residual: Value | None, axis: int
) -> Value:
    """``acc``: exact sums; ``sw``: scale of the weight, () or one an output channel."""
    so = a.out_scale
    multiplier = np.float64(sx) * sw.astype(np.float64)
    if so is not None:
        multiplier = multiplier / np.float64(np.float32(so))
    y = acc.astype(np.float32) * _per_channel(multiplier.astype(np.float32), acc.ndim, axis)
    if bias is not None:
        b = bias.real() if so is None else bias.real() / np.float32(so)
        y = y + _per_channel(b, acc.ndim, axis)
    if residual is not None and residual.quantized:
        y = y + residual.data.astype(np.float32) * ratio(residual.scale, so)
    elif residual is not None:
        y = y + (
            residual.real() if so is None else residual.real() * (np.float32(1) / np.float32(so))
        )
    return from_steps(activate(y, a, so), a)


def _weighted(product, a, x: Value, weight: Value, bias, residual, out_axis: int) -> Value:
    """``product`` of arrays, then the epilogue; ``out_axis`` counts output channels."""
    integer = weight.quantized and weight.scale.ndim < 2
    if integer and getattr(a, "dynamic", False):
        x = quantize(x.real(), own_scale(x.real(), 8), unsigned=False)
    if x.quantized and integer:
        dtype = _exact_dtype(x.data, weight.data)
        acc = product(a, x.data.astype(dtype), weight.data.astype(dtype))
        scale = weight.scale
        if scale.ndim:  # a transposed convolution's scales count the channels of one group
            scale = np.tile(scale, acc.shape[out_axis] // scale.size)
        return _integer_epilogue(a, acc, x.scale, scale, bias, residual, out_axis)
    y = product(a, x.real(), weight.real())
    return _float_epilogue(a, y, bias, residual, out_axis)


def _exact_dtype(x: np.ndarray, weight: np.ndarray) -> type:
    """The narrowest float in which every partial sum is an exact integer: the sum of |weight|
    over an output bounds it, and float32 holds integers up to 2^24, float64 up to 2^53."""
    magnitude = np.abs(weight.astype(np.int64))
    # Axis 0 or 1 counts outputs; the larger of both bounds serves every layout.
    bound = max(
        magnitude.sum(axis=tuple(i for i in range(weight.ndim) if i != axis)).max(initial=0)
        for axis in (0, 1)
    )
    return np.float32 if bound * int(np.iinfo(x.dtype).max) < 2**24 else np.float64


# ---------------------------------------------------------------- products
def _columns(x: np.ndarray, kernel, a, size) -> np.ndarray:
    """im2col of one padded image (C, H, W): (C, KH, KW, OH, OW)."""
    (kh, kw), (sh, sw), (dh, dw) = kernel, a.stride, a.dilation
    oh, ow = size
    c, h, w = x.strides
    view = np.lib.stride_tricks.as_strided(
        x, (x.shape[0], kh, kw, oh, ow), (c, h * dh, w * dw, h * sh, w * sw), writeable=False
    )
    return np.ascontiguousarray(view)


def conv2d_product(a, x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Convolution by im2col and a matrix product for each image and group."""
    n, o, oh, ow = shapes.conv2d(a, x.shape, weight.shape)
    top, left, bottom, right = a.pad
    x = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
    filters = weight.reshape(a.groups, o // a.groups, -1)
    out = np.empty((n, o, oh, ow), x.dtype)
    for image, result in zip(x, out, strict=True):
        columns = _columns(image, weight.shape[2:], a, (oh, ow))
        columns = columns.reshape(a.groups, filters.shape[2], oh * ow)
        np.matmul(filters, columns, out=result.reshape(a.groups, o // a.groups, oh * ow))
    return out


def conv_transpose2d_product(a, x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The gradient of a convolution: every input pixel adds its kernel to the output."""
    n, c, h, w = x.shape
    kh, kw = weight.shape[2:]
    _, o, oh, ow = shapes.conv_transpose2d(a, x.shape, weight.shape)
    (sh, sw), (dh, dw), (top, left, bottom, right) = a.stride, a.dilation, a.pad
    filters = weight.reshape(a.groups, c // a.groups, -1).transpose(0, 2, 1)
    taps = np.matmul(filters, x.reshape(n, a.groups, c // a.groups, h * w))
    taps = taps.reshape(n, o, kh, kw, h, w)
    out = np.zeros((n, o, oh + top + bottom, ow + left + right), x.dtype)
    for i in range(kh):
        for j in range(kw):
            rows = slice(i * dh, i * dh + (h - 1) * sh + 1, sh)
            columns = slice(j * dw, j * dw + (w - 1) * sw + 1, sw)
            out[:, :, rows, columns] += taps[:, :, i, j]
    return out[:, :, top : top + oh, left : left + ow]


def dense_product(a, x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    if a.flatten:
        x = x.reshape(x.shape[0], -1)
    return np.matmul(x, weight.T)


# ---------------------------------------------------------------- operators
@on_values("conv2d")
def conv2d(a, x, weight, bias=None, residual=None):
    return _weighted(conv2d_product, a, x, weight, bias, residual, 1)


@on_values("conv_transpose2d")
def conv_transpose2d(a, x, weight, bias=None, residual=None):
    return _weighted(conv_transpose2d_product, a, x, weight, bias, residual, 1)


@on_values("dense")
def dense(a, x, weight, bias=None, residual=None):
    return _weighted(dense_product, a, x, weight, bias, residual, -1)


@on_floats("embedding")
def embedding(a, x, weight):
    return weight[np.clip(np.floor(x), 0, len(weight) - 1).astype(np.int64)]
