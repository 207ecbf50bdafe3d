"""What a :class:`gluonzip.runtime.SparseMatrix` must be: every array that comes in is checked here.

Each check raises on the first thing wrong and says where it is. Nothing here trusts a size: numbers
are compared as 64-bit integers before anything is allocated from them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gluonzip.errors import DataError, ShapeError

MAX = 2**31 - 1


def checked_shape(shape: Any) -> tuple[int, int]:
    """Two whole numbers from 0 to 2**31 - 1."""
    return _pair("shape", shape, 0)


def checked_block(block: Any, shape: tuple[int, int]) -> tuple[int, int]:
    """Two whole numbers from 1 on that divide the shape."""
    block = _pair("block", block, 1)
    if shape[0] % block[0] or shape[1] % block[1]:
        raise ShapeError(
            f"SparseMatrix: blocks of {block[0]} x {block[1]} do not divide a matrix of "
            f"{shape[0]} x {shape[1]}; pad it with zeros or choose other blocks"
        )
    return block


def _pair(name: str, numbers: Any, least: int) -> tuple[int, int]:
    try:
        first, second = (int(n) for n in numbers)
        whole = (first, second) == tuple(numbers)
    except (TypeError, ValueError, OverflowError):
        whole = False
    if not whole or not (least <= first <= MAX and least <= second <= MAX):
        raise ShapeError(
            f"SparseMatrix: {name} is {numbers!r}, must be two numbers from {least} to 2**31 - 1"
        )
    return first, second


def checked_indices(name: str, array: Any) -> np.ndarray:
    """A copy of its own as int32; numbers that do not fit are an error, not wrapped."""
    array = np.asarray(array)
    if array.size == 0 and array.ndim == 1:
        return np.zeros(0, np.int32)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise ShapeError(
            f"SparseMatrix: {name} is {array.dtype} {array.shape}, must be integers with one axis"
        )
    if array.max() > MAX or array.min() < -MAX - 1:
        raise ShapeError(f"SparseMatrix: {name} holds a number that does not fit int32")
    return np.array(array, np.int32)


def checked_values(values: Any, block: tuple[int, int]) -> np.ndarray:
    """A copy of its own, (count,) or, in blocks, (count, rows, columns)."""
    values = np.asarray(values)
    wanted = (-1,) if block == (1, 1) else (-1, *block)
    axes = "one axis" if block == (1, 1) else f"shape (count, {block[0]}, {block[1]})"
    if values.dtype not in (np.float32, np.int8) or values.shape[1:] != wanted[1:] or (
        values.ndim != len(wanted)
    ):  # fmt: skip
        raise ShapeError(
            f"SparseMatrix: values are {values.dtype} {values.shape}, must be float32 or int8 "
            f"with {axes}"
        )
    return np.array(values, order="C")


def checked_scale(scale: Any, rows: int, dtype: np.dtype) -> np.ndarray | None:
    """float32: one number, or one a row, all finite and above zero; for int8 alone."""
    if scale is None:
        return None
    if dtype != np.int8:
        raise ShapeError(f"SparseMatrix: only int8 values have a scale, these are {dtype}")
    scale = np.array(scale, np.float32)
    if scale.shape not in ((), (rows,)):
        raise ShapeError(
            f"SparseMatrix: scale has shape {scale.shape}, must be one number or one a row, {rows}"
        )
    wrong = np.flatnonzero(~(np.isfinite(scale) & (scale > 0)))
    if wrong.size:
        raise DataError(
            f"SparseMatrix: scale {wrong[0]} is {scale.reshape(-1)[wrong[0]]}, must be finite and "
            "above zero"
        )
    return scale


def check_offsets(begin: np.ndarray, columns: int, values: int, rows: int) -> None:
    """The row offsets rise from 0 to the number of values."""
    if len(begin) != rows + 1:
        raise ShapeError(f"SparseMatrix: {rows} rows need {rows + 1} row offsets, got {len(begin)}")
    if values != columns:
        raise ShapeError(f"SparseMatrix: {columns} columns but {values} values")
    if begin[0] != 0 or begin[-1] != columns:
        raise DataError(
            f"SparseMatrix: row offsets run from {begin[0]} to {begin[-1]}, must run from 0 "
            f"to the number of values, {columns}"
        )
    falls = np.flatnonzero(begin[1:] < begin[:-1])
    if falls.size:
        i = falls[0]
        raise DataError(f"SparseMatrix: row {i} begins at {begin[i]} and ends at {begin[i + 1]}")


def rows_of(begin: np.ndarray) -> np.ndarray:
    """The row of each element; offsets were checked."""
    return np.repeat(np.arange(len(begin) - 1, dtype=np.int32), np.diff(begin))


def check_columns(begin: np.ndarray, columns: np.ndarray, width: int) -> None:
    """Each row's columns ascend without repetition and are inside the matrix."""
    outside = np.flatnonzero((columns < 0) | (columns >= width))
    if outside.size:
        i = outside[0]
        raise ShapeError(
            f"SparseMatrix: row {rows_of(begin)[i]} has a value in column {columns[i]}, the matrix "
            f"has {width} columns"
        )
    falls = columns[1:] <= columns[:-1]
    starts = begin[1:-1]
    starts = starts[(starts > 0) & (starts < len(columns))]
    falls[starts - 1] = False  # from one row to the next
    wrong = np.flatnonzero(falls)
    if wrong.size:
        i = wrong[0]
        raise DataError(
            f"SparseMatrix: row {rows_of(begin)[i]} has column {columns[i]} before "
            f"{columns[i + 1]}; columns must ascend without repetition "
            "(from_scipy sorts and sums)"
        )


def check_finite(begin: np.ndarray, columns: np.ndarray, values: np.ndarray) -> None:
    """No value is NaN or infinite."""
    if values.dtype.kind != "f" or np.isfinite(values).all():
        return
    i = int(np.argwhere(~np.isfinite(values))[0, 0])
    bad = values[i][~np.isfinite(values[i])] if values.ndim > 1 else values[i]
    raise DataError(
        f"SparseMatrix: the value at row {rows_of(begin)[i]}, column {columns[i]}"
        f"{' (of blocks)' if values.ndim > 1 else ''} is {np.ravel(bad)[0]}"
    )
