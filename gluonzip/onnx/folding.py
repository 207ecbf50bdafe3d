"""ONNX operators on constants, computed at once: shapes, casts, what exporters leave behind."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from gluonzip.errors import DataError
from gluonzip.onnx.load import Budget
from gluonzip.onnx.package import onnx

FOLDERS: dict[str, Callable[..., Any]] = {}
"""Operator -> f(attributes, *arrays) -> array, or a list of arrays. An absent input is None."""


def _folds(name: str) -> Callable:
    def register(function: Callable) -> Callable:
        FOLDERS[name] = function
        return function

    return register


def result_size(op: str, attrs: dict[str, Any], inputs: list[np.ndarray | None]) -> int:
    """Elements of the result, as far as inputs can blow it up."""
    present = [x for x in inputs if x is not None]
    if op == "ConstantOfShape":
        return prod(int(n) for n in present[0].reshape(-1))
    if op == "Expand":
        return prod(max(int(n), 1) for n in present[1].reshape(-1)) * max(present[0].size, 1)
    if op == "Tile":
        return prod(int(n) for n in present[1].reshape(-1)) * present[0].size
    if op == "Range":
        start, stop, step = (float(x) for x in present)
        return int(max(0.0, abs((stop - start) / (step or 1e-9))))
    if op in ("Add", "Sub", "Mul", "Div", "MatMul", "Where", "Equal", "Pow", "Max", "Min"):
        return prod(np.broadcast_shapes(*(_outer(op, x) for x in present)))
    if op == "Gather":
        return present[0].size // max(present[0].shape[attrs.get("axis", 0)], 1) * present[1].size
    return max((x.size for x in present), default=0)


def _outer(op: str, x: np.ndarray) -> tuple[int, ...]:
    """For a product of matrices an upper bound: both its outer axes."""
    return (
        (*x.shape[:-2], max(x.shape[-2:], default=1), max(x.shape[-2:], default=1))
        if (op == "MatMul")
        else x.shape
    )


def fold(
    op: str, attrs: dict[str, Any], inputs: list[np.ndarray | None], budget: Budget, what: str
) -> list[np.ndarray]:
    """The node's outputs. DataError when they do not fit the budget, or the inputs each other."""
    try:
        size = result_size(op, attrs, inputs)
        if size < 0:
            raise ValueError(f"a result of {size} elements")
        budget.take(8 * size, what)
        with np.errstate(all="ignore"):
            result = FOLDERS[op](attrs, *inputs)
    except DataError:
        raise
    except (ValueError, IndexError, TypeError, OverflowError, KeyError, ZeroDivisionError) as error:
        raise DataError(f"{what} cannot be computed from its constants: {error}") from None
    return [np.asarray(x) for x in (result if isinstance(result, list) else [result])]


_BINARY = {
    "Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Pow": np.power, "Equal": np.equal,
    "MatMul": np.matmul, "Max": np.maximum, "Min": np.minimum,
}  # fmt: skip
_UNARY = {
    "Identity": lambda x: x, "Floor": np.floor, "Ceil": np.ceil, "Sqrt": np.sqrt,
    "Neg": np.negative, "Reciprocal": np.reciprocal, "Exp": np.exp, "Abs": np.abs,
    "Dropout": lambda x: x, "Not": np.logical_not,
}  # fmt: skip
for _name, _f in _BINARY.items():
    FOLDERS[_name] = lambda a, x, y, f=_f: f(x, y)
for _name, _f in _UNARY.items():
    FOLDERS[_name] = lambda a, x, *_, f=_f: f(x)


@_folds("Div")
def _div(a, x, y):
    return x // y if x.dtype.kind in "iu" else x / y


@_folds("Cast")
def _cast(a, x):
    return x.astype(onnx.helper.tensor_dtype_to_np_dtype(a["to"]))


@_folds("ConstantOfShape")
def _constant_of_shape(a, shape):
    value = a.get("value", np.zeros(1, np.float32))
    return np.full([int(n) for n in shape], value.reshape(-1)[0], value.dtype)


@_folds("Gather")
def _gather(a, x, at):
    return np.take(x, at, axis=a.get("axis", 0))


@_folds("Concat")
def _concat(a, *xs):
    return np.concatenate(xs, axis=a["axis"])


@_folds("Reshape")
def _reshape(a, x, shape):
    copies = not a.get("allowzero")
    target = [x.shape[i] if n == 0 and copies else int(n) for i, n in enumerate(shape)]
    return x.reshape(target)


@_folds("Flatten")
def _flatten(a, x):
    return x.reshape(prod(x.shape[: a.get("axis", 1)]), -1)


@_folds("Transpose")
def _transpose(a, x):
    return np.transpose(x, a.get("perm"))


@_folds("Unsqueeze")
def _unsqueeze(a, x, axes=None):
    axes = a["axes"] if axes is None else axes
    return np.expand_dims(x, tuple(int(n) for n in axes))


@_folds("Squeeze")
def _squeeze(a, x, axes=None):
    axes = a.get("axes") if axes is None else axes
    return np.squeeze(x, None if axes is None else tuple(int(n) for n in axes))


@_folds("Slice")
def _slice(a, x, starts=None, ends=None, axes=None, steps=None):
    starts, ends = (a[k] if v is None else v for k, v in (("starts", starts), ("ends", ends)))
    axes = a.get("axes", range(len(starts))) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    index = [slice(None)] * x.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        index[int(axis)] = slice(int(start), int(end), int(step))
    return x[tuple(index)]


@_folds("Expand")
def _expand(a, x, shape):
    return np.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(int(n) for n in shape))).copy()


@_folds("Tile")
def _tile(a, x, repeats):
    return np.tile(x, [int(n) for n in repeats])


@_folds("Range")
def _range(a, start, stop, step):
    return np.arange(start, stop, step, dtype=start.dtype)


@_folds("Where")
def _where(a, condition, x, y):
    return np.where(condition, x, y)


@_folds("ReduceProd")
def _reduce_prod(a, x, axes=None):
    axes = a.get("axes") if axes is None else axes
    axis = None if axes is None else tuple(int(n) for n in axes)
    return np.prod(x, axis=axis, keepdims=bool(a.get("keepdims", 1)))


@_folds("CumSum")
def _cumsum(a, x, axis):
    return np.cumsum(x, axis=int(axis), dtype=x.dtype)


@_folds("ScatterElements")
def _scatter(a, x, at, updates):
    result = x.copy()
    if x.ndim != 1 or (len(at) and (at.min() < -len(x) or at.max() >= len(x))):
        raise ValueError("indices outside the tensor")
    result[at] = updates
    return result
