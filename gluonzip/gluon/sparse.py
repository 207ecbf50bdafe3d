"""Sparse products in Gluon: an operator with gradients, and CSR NDArrays from sparse matrices."""

from __future__ import annotations

import hashlib
from typing import Any
from weakref import WeakKeyDictionary, WeakValueDictionary

import numpy as np

from gluonzip.errors import DataError, ShapeError
from gluonzip.gluon._mxnet import mx
from gluonzip.gluon.arrays import view
from gluonzip.runtime import SparseMatrix, sddmm, spmm

__all__ = ["csr_ndarray", "sparse_dot"]

_OP = "gluonzip_sparse_dot"


def csr_ndarray(s: SparseMatrix) -> Any:
    """A ``CSRNDArray`` on the CPU with the matrix's elements; blocks become elements.

    Raises:
        ShapeError: no rows or no columns, which MXNet cannot hold.
    """
    if 0 in s.shape:
        raise ShapeError(f"csr_ndarray: MXNet has no arrays of shape {s.shape}")
    plain = s.to_csr()
    if not plain.nnz:
        return mx.nd.sparse.zeros("csr", s.shape, dtype=s.dtype)
    arrays = (plain.values, plain.columns, plain.row_begin)
    return mx.nd.sparse.csr_matrix(arrays, shape=s.shape, dtype=s.dtype)


def sparse_dot(values: Any, structure: SparseMatrix, x: Any) -> Any:
    """``x @ S.T``, S the matrix with these values at the places of ``structure``.

    What a dense layer computes, with a sparse weight, through :func:`gluonzip.runtime.spmm`,
    with gradients for x and for the values. Works on NDArrays and, as a custom operator, on symbols
    in hybridized blocks. A symbol holds a reference by name to the structure in this process: it
    cannot be exported (see :meth:`gluonzip.gluon.SparseDense.to_dense`).

    Args:
        values: NDArray or Symbol, float32 (nnz,), in the order of ``structure.values``.
        structure: (M, K), without blocks, with at least one element; keep it as long as a symbol
            that was made with it. Its own values are not used.
        x: of the same kind, float32 (N, K).

    Returns:
        (N, M), float32.

    Raises:
        ShapeError: the structure has blocks; or (as MXNetError, when it runs) shapes or dtypes
            that do not fit.
        DataError: the structure has no elements.
    """
    frontend = mx.nd if isinstance(x, mx.nd.NDArray) else mx.sym
    key = structure_key(structure)
    return frontend.Custom(values, x, op_type=_OP, structure=key)


class Structure:
    """Places of a sparse matrix and of its transpose, and the products of the latest values."""

    def __init__(self, s: SparseMatrix):
        if s.block != (1, 1):
            raise ShapeError(f"sparse_dot: {s!r} has blocks; use its to_csr()")
        if not s.nnz:
            raise DataError(f"sparse_dot: {s!r} has no elements, so that nothing would be computed")
        self.rows, self.columns = s.shape
        self.count = s.nnz
        self.places = SparseMatrix(s.row_begin, s.columns, np.ones(s.nnz, np.float32), s.shape)
        self._latest: SparseMatrix | None = None
        # The elements column by column: order[i] is the i-th of them.
        row = np.repeat(np.arange(self.rows), np.diff(s.row_begin))
        self.order = np.lexsort((row, s.columns))
        begin = np.zeros(self.columns + 1, np.int64)
        np.cumsum(np.bincount(s.columns, minlength=self.columns), out=begin[1:])
        ones = self.places.values
        self.transposed = SparseMatrix(begin, row[self.order], ones, s.shape[::-1])

    def matrix(self, values: np.ndarray) -> SparseMatrix:
        """The matrix with these values; as long as they are the same, packed already."""
        latest = self._latest
        if latest is None or not np.array_equal(latest.values, values):
            self._latest = latest = self.places.with_values(values)
        return latest

    def product(self, values: np.ndarray, x: np.ndarray) -> np.ndarray:
        """(N, M) from (N, K)."""
        return spmm(self.matrix(values), x.T, transposed=True).T

    def gradient_of_x(self, values: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        """(N, K) from (N, M)."""
        matrix = self.transposed.with_values(values[self.order])
        return spmm(matrix, gradient.T, transposed=True).T

    def gradient_of_values(self, gradient: np.ndarray, x: np.ndarray) -> np.ndarray:
        """(nnz,) from (N, M) and (N, K)."""
        return sddmm(self.places, gradient.T, x.T)


# By content, so that equal structures share one; gone when no matrix or operator uses it.
_by_key: WeakValueDictionary[str, Structure] = WeakValueDictionary()
_of_matrix: WeakKeyDictionary[SparseMatrix, Structure] = WeakKeyDictionary()


def structure_key(s: SparseMatrix) -> str:
    """The name under which operators find the places of ``s``."""
    digest = hashlib.sha256(repr(s.shape).encode())
    digest.update(s.row_begin.tobytes())
    digest.update(s.columns.tobytes())
    key = digest.hexdigest()
    if s not in _of_matrix:
        structure = _by_key.get(key) or Structure(s)
        _by_key[key] = _of_matrix[s] = structure
    return key


class _SparseDot(mx.operator.CustomOp):
    def __init__(self, structure: Structure):
        super().__init__()
        self.structure = structure

    def forward(self, is_train, req, in_data, out_data, aux):
        values, x = (view(array) for array in in_data)
        self._give(out_data[0], req[0], self.structure.product(values, x))

    def backward(self, req, out_grad, in_data, out_data, in_grad, aux):
        values, x = (view(array) for array in in_data)
        gradient = view(out_grad[0])
        if req[0] != "null":
            self._give(in_grad[0], req[0], self.structure.gradient_of_values(gradient, x))
        if req[1] != "null":
            self._give(in_grad[1], req[1], self.structure.gradient_of_x(values, gradient))

    def _give(self, to: Any, req: str, result: np.ndarray) -> None:
        self.assign(to, req, mx.nd.array(result, ctx=to.context, dtype=np.float32))


@mx.operator.register(_OP)
class _SparseDotProp(mx.operator.CustomOpProp):
    def __init__(self, structure: str):
        super().__init__(need_top_grad=True)
        found = _by_key.get(structure)
        if found is None:
            raise DataError(
                f"sparse_dot: the structure {structure[:12]}… is not in this process; keep its "
                "SparseMatrix, and export SparseDense.to_dense() instead of the sparse layer"
            )
        self.structure = found

    def list_arguments(self):
        return ["values", "data"]

    def infer_shape(self, in_shape):
        values, data = in_shape
        structure = self.structure
        if len(data) != 2 or data[1] not in (0, structure.columns):
            raise ShapeError(f"sparse_dot: x is {tuple(data)}, must be (N, {structure.columns})")
        if list(values) not in ([], [0], [structure.count]):
            raise ShapeError(
                f"sparse_dot: values are {tuple(values)}, the structure has {structure.count}"
            )
        return [[structure.count], data], [[data[0], structure.rows]], []

    def infer_type(self, in_type):
        wrong = [str(np.dtype(t)) for t in in_type if np.dtype(t) != np.float32]
        if wrong:
            raise ShapeError(f"sparse_dot: values and x must be float32, not {wrong[0]}")
        return [np.float32] * 2, [np.float32], []

    def create_operator(self, ctx, in_shapes, in_dtypes):
        if "cpu" not in str(ctx):
            raise ShapeError(f"sparse_dot: runs on the CPU only, not on {ctx}")
        return _SparseDot(self.structure)
