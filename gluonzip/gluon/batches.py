"""Batches of network inputs from whatever the user has at hand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from gluonzip.errors import DataError
from gluonzip.gluon._mxnet import mx

SLICE = 64
"""Rows in a batch cut from a whole array."""

_ARRAYS = (mx.nd.NDArray, np.ndarray)


def batches(data: Any, context: Any = None) -> Iterator[tuple[Any, ...]]:
    """Tuples of NDArrays, one for each input of the network, on ``context``.

    ``data``: an iterable of batches (a Gluon DataLoader, an ``mx.io`` iterator, a list, a
    generator), or one array, or one tuple of arrays (x, y, ...), which are cut along axis 0. A
    batch is an array; or a tuple or list whose first element is the input (or a tuple or list of
    inputs) and whose rest (labels) is ignored; or a DataBatch. float64 becomes float32.

    Raises DataError for no batches, values that are not finite (naming the batch), and things
    that are not arrays.
    """
    count = 0
    for index, batch in enumerate(_iterate(data)):
        inputs = _inputs(batch, index)
        yield tuple(_prepare(value, index, context or mx.cpu()) for value in inputs)
        count += 1
    if not count:
        raise DataError("the calibration data has no batches; give at least one")


def _iterate(data: Any) -> Iterable[Any]:
    if isinstance(data, tuple) and data and isinstance(data[0], _ARRAYS):
        data = data[0]
    if isinstance(data, _ARRAYS):
        return (data[i : i + SLICE] for i in range(0, len(data), SLICE))
    if isinstance(data, mx.io.DataIter):
        data.reset()
    if not hasattr(data, "__iter__"):
        raise DataError(
            f"calibration data must be an array or an iterable of batches, got a "
            f"{type(data).__name__}"
        )
    return data


def _inputs(batch: Any, index: int) -> tuple[Any, ...]:
    if isinstance(batch, mx.io.DataBatch):
        batch = batch.data
        return tuple(batch)
    if isinstance(batch, (tuple, list)) and batch:
        batch = batch[0]
    if isinstance(batch, (tuple, list)):
        return tuple(batch)
    if isinstance(batch, _ARRAYS):
        return (batch,)
    raise DataError(
        f"batch {index} of the calibration data is a {type(batch).__name__}; expected an array, or "
        "a tuple whose first element is one"
    )


def _prepare(value: Any, index: int, context: Any) -> Any:
    if not isinstance(value, _ARRAYS):
        raise DataError(
            f"batch {index} of the calibration data holds a {type(value).__name__} where an input "
            "array is needed"
        )
    if value.size == 0:
        raise DataError(f"batch {index} of the calibration data is empty (shape {value.shape})")
    host = value if isinstance(value, np.ndarray) else None
    if value.dtype == np.float64:
        value = value.astype(np.float32)
    if np.dtype(value.dtype).kind == "f":
        host = value.asnumpy() if host is None else host
        if not np.isfinite(host).all():
            raise DataError(
                f"batch {index} of the calibration data holds values that are not finite (NaN or "
                "infinity)"
            )
    if isinstance(value, np.ndarray):
        return mx.nd.array(value, ctx=context, dtype=value.dtype)
    return value.as_in_context(context)  # also takes a DataLoader's cpu_shared arrays along
