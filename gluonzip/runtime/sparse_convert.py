"""Arrays of a sparse matrix from and to other forms: dense, SciPy's, MXNet's CSR NDArray.

Functions return (row_begin, columns, values, shape, block) for
:class:`gluonzip.runtime.SparseMatrix`, which checks them. What SciPy's compiled code would read is
checked before it reads it: it trusts indices.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from gluonzip.errors import ConfigError, DataError, ShapeError
from gluonzip.runtime import sparse_checks as checks

Parts = tuple[np.ndarray, np.ndarray, np.ndarray, tuple[int, int], tuple[int, int]]


def parts_of_dense(dense: np.ndarray, block: tuple[int, int]) -> Parts:
    """Blocks that have an element other than zero (NaN is other than zero)."""
    if dense.ndim != 2:
        raise ShapeError(f"SparseMatrix: the dense array is {dense.shape}, must have 2 axes")
    block = checks.checked_block(block, dense.shape)
    tall, wide = block
    rows, width = dense.shape[0] // tall, dense.shape[1] // wide
    blocks = dense.reshape(rows, tall, width, wide)
    present = (blocks != 0).any(axis=(1, 3))
    row, column = np.nonzero(present)
    begin = np.zeros(rows + 1, np.int64)
    np.cumsum(present.sum(axis=1), out=begin[1:])
    values = blocks.transpose(0, 2, 1, 3)[row, column]
    return begin, column, values.reshape(-1) if block == (1, 1) else values, dense.shape, block


def check_n_of_m(dense: np.ndarray, pattern: str) -> None:
    """Each group of M neighbours in a row has N elements other than zero, at most."""
    found = re.fullmatch(r"(\d+):(\d+)", pattern) if isinstance(pattern, str) else None
    n, m = (int(g) for g in found.groups()) if found else (0, 0)
    if not 1 <= n <= m:
        raise ConfigError(
            f"SparseMatrix: pattern is {pattern!r}, must be 'N:M' with 1 <= N <= M, as '2:4'"
        )
    if dense.ndim != 2 or dense.shape[1] % m:
        raise ShapeError(
            f"SparseMatrix: a dense array of {dense.shape} has no rows of whole groups of {m}"
        )
    held = (dense.reshape(dense.shape[0], -1, m) != 0).sum(axis=2)
    wrong = np.argwhere(held > n)
    if wrong.size:
        row, group = wrong[0]
        raise DataError(
            f"SparseMatrix: row {row}, columns {group * m} to {group * m + m - 1} have "
            f"{held[row, group]} elements other than zero, '{pattern}' allows {n}: prune first"
        )


def parts_of_scipy(matrix: Any) -> Parts:
    """CSR and BSR as they are, others by way of CSR; sorted, and repeated elements summed."""
    form = getattr(matrix, "format", None)
    if form is None or not hasattr(matrix, "tocsr"):
        raise ShapeError(f"from_scipy: {type(matrix).__name__} is not a scipy.sparse matrix")
    if form in ("csr", "csc", "bsr"):
        _check_compressed(matrix, form)
    elif form != "coo":
        matrix = matrix.tocoo()  # Python code, which checks what it indexes
    shape = checks.checked_shape(matrix.shape)
    if form == "bsr" and tuple(matrix.blocksize) != (1, 1):
        return _parts_of_bsr(matrix, shape)
    row, column = _coordinates(matrix, form)
    begin, column, values = _sorted_sums(row, column, np.asarray(matrix.data).reshape(-1), shape)
    return begin, column, values, shape, (1, 1)


def _check_compressed(matrix: Any, form: str) -> None:
    shape = checks.checked_shape(matrix.shape)
    block = checks.checked_block(matrix.blocksize, shape) if form == "bsr" else (1, 1)
    lines, width = shape[0] // block[0], shape[1] // block[1]
    if form == "csc":
        lines, width = width, lines
    begin = checks.checked_indices("indptr", matrix.indptr)
    indices = checks.checked_indices("indices", matrix.indices)
    checks.check_offsets(begin, len(indices), len(matrix.data), lines)
    outside = np.flatnonzero((indices < 0) | (indices >= width))
    if outside.size:
        raise ShapeError(
            f"SparseMatrix: index {indices[outside[0]]} at place {outside[0]} is outside a {form} "
            f"matrix of {shape[0]} x {shape[1]}"
        )


def _coordinates(matrix: Any, form: str) -> tuple[np.ndarray, np.ndarray]:
    if form in ("csr", "csc", "bsr"):
        major = checks.rows_of(np.asarray(matrix.indptr))
        minor = np.asarray(matrix.indices)
        return (minor, major) if form == "csc" else (major, minor)
    row = checks.checked_indices("row", matrix.row)
    column = checks.checked_indices("col", matrix.col)
    if not len(row) == len(column) == len(matrix.data):
        raise ShapeError(
            f"SparseMatrix: {len(row)} rows, {len(column)} columns, {len(matrix.data)} values"
        )
    for name, index, size in (("row", row, matrix.shape[0]), ("column", column, matrix.shape[1])):
        outside = np.flatnonzero((index < 0) | (index >= size))
        if outside.size:
            raise ShapeError(
                f"SparseMatrix: {name} {index[outside[0]]} at place {outside[0]} is outside a "
                f"matrix of {matrix.shape[0]} x {matrix.shape[1]}"
            )
    return row, column


def _sorted_sums(
    row: np.ndarray, column: np.ndarray, values: np.ndarray, shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row offsets, columns and values; elements (or blocks) at one place are summed."""
    order = np.lexsort((column, row))
    row, column, values = row[order], column[order], values[order]
    first = np.ones(len(row), bool)
    first[1:] = (row[1:] != row[:-1]) | (column[1:] != column[:-1])
    if not first.all():
        values = _summed(values, np.flatnonzero(first))
        row, column = row[first], column[first]
    begin = np.zeros(shape[0] + 1, np.int64)
    np.cumsum(np.bincount(row, minlength=shape[0]), out=begin[1:])
    return begin, column, values


def _summed(values: np.ndarray, first: np.ndarray) -> np.ndarray:
    if values.dtype != np.int8:
        return np.add.reduceat(values, first, axis=0)
    sums = np.add.reduceat(values.astype(np.int32), first, axis=0)
    if sums.size and (sums.max() > 127 or sums.min() < -128):
        worst = sums.flat[np.abs(sums).argmax()]
        raise DataError(f"SparseMatrix: repeated int8 elements add up to {worst}, outside int8")
    return sums.astype(np.int8)


def _parts_of_bsr(matrix: Any, shape: tuple[int, int]) -> Parts:
    block = tuple(int(n) for n in matrix.blocksize)
    row = checks.rows_of(np.asarray(matrix.indptr))
    lines = (shape[0] // block[0], shape[1] // block[1])
    begin, column, values = _sorted_sums(row, np.asarray(matrix.indices), matrix.data, lines)
    return begin, column, values, shape, block


def parts_of_mxnet(array: Any) -> Parts:
    """A CSRNDArray, read through its own methods: MXNet is not imported here."""
    if getattr(array, "stype", None) != "csr":
        raise ShapeError(
            f"from_mxnet: {type(array).__name__} with stype {getattr(array, 'stype', None)!r}, "
            "must be a CSRNDArray (array.tostype('csr'))"
        )
    begin, columns, values = (a.asnumpy() for a in (array.indptr, array.indices, array.data))
    return begin, columns, values, tuple(array.shape), (1, 1)


def elements(
    begin: np.ndarray, columns: np.ndarray, values: np.ndarray, block: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(rows, columns, values) of every element of the blocks, row by row, zeros of blocks too."""
    rows = checks.rows_of(begin)
    if block == (1, 1):
        return rows, columns, values
    tall, wide = block
    row = rows[:, None, None].astype(np.int64) * tall + np.arange(tall)[:, None]
    column = columns[:, None, None].astype(np.int64) * wide + np.arange(wide)
    row, column = (np.broadcast_to(a, values.shape).reshape(-1) for a in (row, column))
    if tall == 1:  # in order already
        return row, column, values.reshape(-1)
    order = np.lexsort((column, row))
    return row[order], column[order], values.reshape(-1)[order]
