"""Data in batches of NumPy arrays, whatever it comes as. Needs no MXNet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from gluonzip.errors import DataError, ShapeError

SLICE = 64
"""Rows in a batch cut from a whole array."""

Batch = tuple[tuple[np.ndarray, ...], "np.ndarray | None"]
"""The inputs of the network, and the labels if the data has any."""


def batches(data: Any) -> Iterator[Batch]:
    """Inputs and labels of each batch; float64 becomes float32.

    ``data``: an iterable of batches (a Gluon DataLoader, an ``mx.io`` iterator, a list, a
    generator), or one array, or one tuple (inputs, labels) of arrays, which are cut along axis 0. A
    batch is an array, or a tuple or list whose first element is the input (or a tuple or list of
    inputs) and whose second holds the labels, or a DataBatch.

    Raises DataError for no batches, empty ones, values that are not finite (naming the batch), and
    things that are not arrays.
    """
    count = 0
    for index, batch in enumerate(_iterate(data)):
        inputs, labels = _split(batch, index)
        arrays = tuple(_checked(array, index) for array in inputs)
        yield arrays, None if labels is None else _labels(labels, arrays[0], index)
        count += 1
    if not count:
        raise DataError("the data has no batches; give at least one (a generator runs only once)")


def parts(inputs: tuple[np.ndarray, ...], rows: int) -> Iterator[tuple[np.ndarray, ...]]:
    """Pieces of at most ``rows`` samples of a batch (0: the batch as it is)."""
    count = len(inputs[0])
    if not rows or rows >= count or any(len(array) != count for array in inputs):
        yield inputs
        return
    for start in range(0, count, rows):
        yield tuple(array[start : start + rows] for array in inputs)


def _iterate(data: Any) -> Iterable[Any]:
    if _is_array(data):
        return (data[i : i + SLICE] for i in range(0, len(data), SLICE))
    if isinstance(data, tuple) and data and all(_is_array(item) for item in data):
        lengths = [len(item) for item in data]
        if len(set(lengths)) != 1:
            raise DataError(f"the arrays of the data have different lengths: {lengths}")
        steps = range(0, lengths[0], SLICE)
        return (tuple(item[i : i + SLICE] for item in data) for i in steps)
    if hasattr(data, "reset"):
        data.reset()
    if not hasattr(data, "__iter__"):
        raise DataError(
            f"data must be an array or an iterable of batches, got a {type(data).__name__}"
        )
    return data


def _split(batch: Any, index: int) -> tuple[Sequence[Any], Any]:
    """(inputs, labels) of a batch."""
    if hasattr(batch, "data") and hasattr(batch, "label"):  # mx.io.DataBatch
        return batch.data, batch.label[0] if batch.label else None
    if _is_array(batch):
        return (batch,), None
    if isinstance(batch, (tuple, list)) and batch:
        inputs = batch[0] if isinstance(batch[0], (tuple, list)) else (batch[0],)
        return inputs, batch[1] if len(batch) > 1 else None
    raise DataError(
        f"batch {index} of the data is a {type(batch).__name__}; expected an array, or a tuple "
        "whose first element is one"
    )


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray) or hasattr(value, "asnumpy")


def _array(value: Any, index: int) -> np.ndarray:
    if not _is_array(value):
        raise DataError(
            f"batch {index} of the data holds a {type(value).__name__} where an array is needed"
        )
    return value if isinstance(value, np.ndarray) else value.asnumpy()


def _checked(value: Any, index: int) -> np.ndarray:
    array = _array(value, index)
    if array.size == 0:
        raise DataError(f"batch {index} of the data is empty (shape {array.shape})")
    if array.dtype == np.float64:
        array = array.astype(np.float32)
    bad = array.size - int(np.isfinite(array).sum()) if array.dtype.kind == "f" else 0
    if bad:
        raise DataError(
            f"batch {index} of the data has {bad} values of {array.size} that are not finite (NaN "
            "or infinity)"
        )
    return np.ascontiguousarray(array)


def _labels(value: Any, inputs: np.ndarray, index: int) -> np.ndarray:
    labels = _array(value, index)
    if len(labels) != len(inputs):
        raise DataError(
            f"batch {index} of the data has {len(inputs)} samples, {len(labels)} labels"
        )
    return labels


# ---------------------------------------------------------------- larger pieces
def chunks(stream: Iterable[Batch], most: int, samples: int | None = None) -> Iterator[Batch]:
    """Batches joined into pieces of at most ``most`` samples; ``samples``: stop after so many.

    Raises DataError or ShapeError for batches that do not go together.
    """
    waiting: list[Batch] = []
    count, left = 0, samples
    for inputs, labels in stream:
        rows = len(inputs[0]) if left is None else min(left, len(inputs[0]))
        at = 0
        while at < rows:
            part = slice(at, min(rows, at + most - count))
            waiting.append(
                (tuple(x[part] for x in inputs), None if labels is None else labels[part])
            )
            count, at = count + part.stop - at, part.stop
            if count == most:
                yield _joined(waiting)
                waiting, count = [], 0
        if left is not None:
            left -= rows
            if not left:
                break
    if waiting:
        yield _joined(waiting)


def _joined(waiting: list[Batch]) -> Batch:
    shapes = {tuple(x.shape[1:] for x in inputs) for inputs, _ in waiting}
    if len(shapes) > 1:
        raise ShapeError(f"the batches hold samples of different shapes: {sorted(shapes)}")
    if len({labels is None for _, labels in waiting}) > 1:
        raise DataError("some batches of the data have labels and some have not")
    inputs = tuple(np.concatenate(arrays) for arrays in zip(*(i for i, _ in waiting), strict=True))
    labels = None if waiting[0][1] is None else np.concatenate([item for _, item in waiting])
    return inputs, labels
