"""Matrices in compressed sparse rows (CSR)."""

from __future__ import annotations

from typing import Any

import numpy as np

from gluonzip.errors import DataError, ShapeError

__all__ = ["SparseMatrix"]

_MAX = 2**31 - 1


class SparseMatrix:
    """An (M, K) matrix of float32 or int8 that holds its non-zero elements by row.

    Args:
        row_begin: int32 (M + 1,); row ``i`` is elements ``row_begin[i]`` to ``row_begin[i + 1]``.
        columns: int32 (number of elements,); ascending within a row, without repetition.
        values: float32 or int8 (number of elements,); finite. Explicit zeros are allowed.
        shape: (M, K).

    Raises:
        ShapeError: a wrong dtype, rank or length, or a column outside the matrix.
        DataError: the offsets do not rise from 0 to the number of elements, a row's columns are
            not ascending, a column is repeated, or a value is NaN or infinite. The message says
            where.

    The arrays are copied only if their dtype or layout calls for it; do not change them after.

    >>> s = SparseMatrix.from_dense(np.float32([[0, 5], [0, 0], [7, 0]]))
    >>> s.columns.tolist(), s.row_begin.tolist(), s.density
    ([1, 0], [0, 1, 1, 2], 0.3333333333333333)
    """

    def __init__(self, row_begin: Any, columns: Any, values: Any, shape: tuple[int, int]):
        self.shape = _checked_shape(shape)
        self.row_begin = _indices("row_begin", row_begin)
        self.columns = _indices("columns", columns)
        self.values = _checked_values(values)
        self._check_offsets()
        self._check_columns()
        self._check_finite()

    @classmethod
    def from_dense(cls, dense: np.ndarray) -> SparseMatrix:
        """The non-zero elements of a float32 or int8 (M, K) array.

        Raises:
            ShapeError: not two axes, or another dtype.
            DataError: an element is NaN or infinite.
        """
        dense = np.asarray(dense)
        if dense.ndim != 2:
            raise ShapeError(f"SparseMatrix: the dense array is {dense.shape}, must have 2 axes")
        rows, columns = np.nonzero(dense)
        row_begin = np.searchsorted(rows, np.arange(dense.shape[0] + 1))
        return cls(row_begin, columns, dense[rows, columns], dense.shape)

    @classmethod
    def from_scipy(cls, matrix: Any) -> SparseMatrix:
        """Any ``scipy.sparse`` matrix of float32 or int8; repeated elements are summed.

        Raises:
            ShapeError: another dtype.
            DataError: a value is NaN or infinite.
        """
        csr = matrix.tocsr(copy=True)
        csr.sum_duplicates()  # sorts too
        return cls(csr.indptr, csr.indices, csr.data, csr.shape)

    def to_dense(self) -> np.ndarray:
        """The (M, K) array."""
        dense = np.zeros(self.shape, self.dtype)
        dense[self._rows(), self.columns] = self.values
        return dense

    def to_scipy(self) -> Any:
        """A ``scipy.sparse.csr_matrix`` that shares the arrays."""
        from scipy.sparse import csr_matrix

        return csr_matrix((self.values, self.columns, self.row_begin), shape=self.shape)

    @property
    def dtype(self) -> np.dtype:
        """float32 or int8."""
        return self.values.dtype

    @property
    def nnz(self) -> int:
        """Number of elements held."""
        return len(self.values)

    @property
    def density(self) -> float:
        """Elements held as a share of M * K; 0 for a matrix without elements."""
        size = self.shape[0] * self.shape[1]
        return self.nnz / size if size else 0.0

    @property
    def nbytes(self) -> int:
        """Bytes of the three arrays."""
        return self.values.nbytes + self.columns.nbytes + self.row_begin.nbytes

    def __repr__(self) -> str:
        return (
            f"SparseMatrix({self.shape}, {self.dtype}, nnz={self.nnz}, density={self.density:.3g})"
        )

    def _rows(self) -> np.ndarray:
        return np.repeat(np.arange(self.shape[0]), np.diff(self.row_begin))

    def _check_offsets(self) -> None:
        begin, count = self.row_begin, len(self.columns)
        if len(begin) != self.shape[0] + 1:
            raise ShapeError(
                f"SparseMatrix: {self.shape[0]} rows need {self.shape[0] + 1} row offsets, "
                f"got {len(begin)}"
            )
        if len(self.values) != count:
            raise ShapeError(f"SparseMatrix: {count} columns but {len(self.values)} values")
        if begin[0] != 0 or begin[-1] != count:
            raise DataError(
                f"SparseMatrix: row offsets run from {begin[0]} to {begin[-1]}, must run from 0 "
                f"to the number of values, {count}"
            )
        falls = np.flatnonzero(np.diff(begin) < 0)
        if falls.size:
            i = falls[0]
            raise DataError(
                f"SparseMatrix: row {i} begins at {begin[i]} and ends at {begin[i + 1]}"
            )

    def _check_columns(self) -> None:
        rows = self._rows()
        outside = np.flatnonzero((self.columns < 0) | (self.columns >= self.shape[1]))
        if outside.size:
            i = outside[0]
            raise ShapeError(
                f"SparseMatrix: row {rows[i]} has a value in column {self.columns[i]}, the matrix "
                f"has {self.shape[1]} columns"
            )
        step = np.diff(self.columns.astype(np.int64))
        wrong = np.flatnonzero((step <= 0) & (np.diff(rows) == 0))
        if wrong.size:
            i = wrong[0]
            raise DataError(
                f"SparseMatrix: row {rows[i]} has column {self.columns[i]} before "
                f"{self.columns[i + 1]}; columns must ascend without repetition "
                "(from_scipy sorts and sums)"
            )

    def _check_finite(self) -> None:
        bad = np.flatnonzero(~np.isfinite(self.values))
        if bad.size:
            i = bad[0]
            raise DataError(
                f"SparseMatrix: the value at row {self._rows()[i]}, column {self.columns[i]} is "
                f"{self.values[i]}"
            )


def _checked_shape(shape: Any) -> tuple[int, int]:
    if len(shape) != 2 or not all(0 <= int(n) <= _MAX for n in shape):
        raise ShapeError(f"SparseMatrix: shape is {shape}, must be two numbers below 2**31")
    return int(shape[0]), int(shape[1])


def _indices(name: str, array: Any) -> np.ndarray:
    array = np.asarray(array)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise ShapeError(
            f"SparseMatrix: {name} is {array.dtype} {array.shape}, must be integers with one axis"
        )
    if array.size and (array.max() > _MAX or array.min() < -_MAX - 1):
        raise ShapeError(f"SparseMatrix: {name} holds a number that does not fit int32")
    return np.ascontiguousarray(array, np.int32)


def _checked_values(values: Any) -> np.ndarray:
    values = np.asarray(values)
    if values.ndim != 1 or values.dtype not in (np.float32, np.int8):
        raise ShapeError(
            f"SparseMatrix: values are {values.dtype} {values.shape}, must be float32 or int8 "
            "with one axis"
        )
    return np.ascontiguousarray(values)
