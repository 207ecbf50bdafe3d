"""Sparse matrices: compressed rows of elements or of blocks."""

from __future__ import annotations

import copy
import importlib
from typing import Any

import numpy as np

from gluonzip import _core
from gluonzip.errors import DataError, ShapeError
from gluonzip.runtime import sparse_checks as checks
from gluonzip.runtime import sparse_convert as convert
from gluonzip.runtime.isa import resolve_isa
from gluonzip.runtime.sparse_choice import KernelChoice, choose_kernel, takes_bitmap

__all__ = ["KernelChoice", "SparseMatrix"]


class SparseMatrix:
    """An (M, K) matrix of float32 or int8 that holds its non-zero elements, or blocks, by row.

    Args:
        row_begin: integers (M / bh + 1,); row ``i`` (of blocks) is ``row_begin[i]`` to
            ``row_begin[i + 1]``.
        columns: integers (count,), of blocks; ascending within a row, without repetition.
        values: float32 or int8, finite: (count,), or in blocks (count, bh, bw). Explicit zeros are
            allowed.
        shape: (M, K), 0 to 2**31 - 1 each.
        block: (bh, bw), rows and columns of a block; must divide the shape.
        scale: of int8 values: one number, or (M,), real value = code * scale.

    Raises:
        ShapeError: a wrong dtype, rank or length, a number that does not fit int32, a column
            outside the matrix, blocks that do not divide the shape.
        DataError: the offsets do not rise from 0 to the number of elements, a row's columns are
            not ascending, a column is repeated, a value is NaN or infinite, a scale is not above
            zero. The message says where.

    The arrays are copied and read-only. Matrices with no rows, no columns or no elements are fine:
    products with them are zero. Packed forms for the kernels are kept once made (``packed_bytes``).

    >>> s = SparseMatrix.from_dense(np.float32([[0, 5], [0, 0], [7, 0]]))
    >>> s.columns.tolist(), s.row_begin.tolist(), s.density
    ([1, 0], [0, 1, 1, 2], 0.3333333333333333)
    """

    def __init__(
        self,
        row_begin: Any,
        columns: Any,
        values: Any,
        shape: tuple[int, int],
        *,
        block: tuple[int, int] = (1, 1),
        scale: Any = None,
    ):
        self.shape = checks.checked_shape(shape)
        self.block = checks.checked_block(block, self.shape)
        self.row_begin = checks.checked_indices("row_begin", row_begin)
        self.columns = checks.checked_indices("columns", columns)
        self.values = checks.checked_values(values, self.block)
        lines, width = (n // b for n, b in zip(self.shape, self.block, strict=True))
        checks.check_offsets(self.row_begin, len(self.columns), len(self.values), lines)
        checks.check_columns(self.row_begin, self.columns, width)
        checks.check_finite(self.row_begin, self.columns, self.values)
        self.scale = checks.checked_scale(scale, self.shape[0], self.values.dtype)
        self.pattern = "unstructured" if self.block == (1, 1) else "x".join(map(str, self.block))
        self._packed: dict[tuple, Any] = {}
        for array in (self.row_begin, self.columns, self.values, self.scale):
            if array is not None:
                array.flags.writeable = False

    @classmethod
    def from_dense(
        cls,
        dense: np.ndarray,
        *,
        block: tuple[int, int] = (1, 1),
        pattern: str | None = None,
        scale: Any = None,
    ) -> SparseMatrix:
        """The non-zero elements, or the blocks that have one, of a float32 or int8 (M, K) array.

        Args:
            block: (bh, bw); (1, 4) is the engine's 4x1 block, four inputs of one output.
            pattern: 'N:M', e.g. '2:4', to check that each group of M neighbours in a row has no
                more than N non-zero elements. Nothing is pruned here.

        Raises:
            ShapeError: not two axes, another dtype, or blocks or groups that do not divide it.
            DataError: an element is NaN or infinite, or a group has too many elements.
            ConfigError: the pattern is not of the form N:M.
        """
        dense = np.asarray(dense)
        if pattern is not None:
            convert.check_n_of_m(dense, pattern)
        made = cls._of(convert.parts_of_dense(dense, block), scale)
        if pattern is not None:
            made.pattern = pattern
        return made

    @classmethod
    def from_scipy(cls, matrix: Any, *, scale: Any = None) -> SparseMatrix:
        """Any ``scipy.sparse`` matrix of float32 or int8; BSR keeps its blocks.

        Unsorted columns are sorted and repeated elements summed, as SciPy means them.

        Raises:
            ShapeError: not a SciPy matrix, another dtype, an index outside the matrix.
            DataError: malformed offsets, a value that is NaN or infinite, int8 sums outside int8.
        """
        return cls._of(convert.parts_of_scipy(matrix), scale)

    @classmethod
    def from_mxnet(cls, array: Any, *, scale: Any = None) -> SparseMatrix:
        """An ``mx.nd.sparse.CSRNDArray`` of float32 or int8; as strict as the constructor."""
        return cls._of(convert.parts_of_mxnet(array), scale)

    @classmethod
    def _of(cls, parts: convert.Parts, scale: Any) -> SparseMatrix:
        begin, columns, values, shape, block = parts
        return cls(begin, columns, values, shape, block=block, scale=scale)

    def to_dense(self) -> np.ndarray:
        """The (M, K) array; int8 stays codes (see :meth:`dequantize`)."""
        tall, wide = self.block
        lines, width = self.shape[0] // tall, self.shape[1] // wide
        dense = np.zeros((lines, tall, width, wide), self.dtype)
        values = self.values.reshape(-1, tall, wide)
        dense[checks.rows_of(self.row_begin), :, self.columns, :] = values
        return dense.reshape(self.shape)

    def to_scipy(self) -> Any:
        """A ``scipy.sparse.csr_matrix``, or ``bsr_matrix`` if there are blocks, with copies."""
        from scipy import sparse

        form = sparse.csr_matrix if self.block == (1, 1) else sparse.bsr_matrix
        blocksize = {} if self.block == (1, 1) else {"blocksize": self.block}
        arrays = (self.values.copy(), self.columns.copy(), self.row_begin.copy())
        return form(arrays, shape=self.shape, **blocksize)

    def to_mxnet(self) -> Any:
        """A ``CSRNDArray`` on the CPU; blocks become elements. Needs MXNet, which it imports."""
        return importlib.import_module("gluonzip.gluon.sparse").csr_ndarray(self)

    def to_csr(self) -> SparseMatrix:
        """The same elements without blocks; zeros inside of blocks are kept."""
        if self.block == (1, 1):
            return self
        rows, columns, values = self._elements()
        begin = np.zeros(self.shape[0] + 1, np.int64)
        np.cumsum(np.bincount(rows, minlength=self.shape[0]), out=begin[1:])
        return SparseMatrix(begin, columns, values, self.shape, scale=self.scale)

    def with_values(self, values: Any) -> SparseMatrix:
        """The same places with other values of the same shape and dtype, which are copied.

        They are not searched for NaN and infinities, so that a training step shows them as any
        other operator would.

        Raises:
            ShapeError: another shape or dtype.
        """
        values = checks.checked_values(values, self.block)
        if values.shape != self.values.shape or values.dtype != self.dtype:
            raise ShapeError(
                f"with_values: values are {values.dtype} {values.shape}, must be {self.dtype} "
                f"{self.values.shape}"
            )
        made = copy.copy(self)
        made.values = values
        made.values.flags.writeable = False
        made._packed = {}
        return made

    def dequantize(self) -> SparseMatrix:
        """float32 values, code * scale, at the same places.

        Raises:
            DataError: the values are not int8 or have no scale.
        """
        if self.dtype != np.int8 or self.scale is None:
            raise DataError(f"dequantize: {self!r} is not int8 with a scale")
        rows = np.repeat(self.scale, len(self)) if self.scale.ndim == 0 else self.scale
        lines = checks.rows_of(self.row_begin)
        scale = rows.reshape(-1, self.block[0], 1)[lines]
        values = self.values.astype(np.float32).reshape(-1, *self.block) * scale
        return SparseMatrix(
            self.row_begin, self.columns, values.reshape(self.values.shape), self.shape,
            block=self.block,
        )  # fmt: skip

    def quantize(self, *, per_row: bool = True) -> SparseMatrix:
        """int8 codes in [-127, 127] with scale = max|w| / 127 a row, or one for all.

        A row of zeros has scale 1. Elements that round to zero stay as explicit zeros.

        Raises:
            DataError: the values are not float32.
        """
        if self.dtype != np.float32:
            raise DataError(f"quantize: {self!r} is not float32")
        lines = checks.rows_of(self.row_begin)
        blocks = self.values.reshape(-1, *self.block)
        largest = np.zeros((len(self.row_begin) - 1, self.block[0]), np.float32)
        np.maximum.at(largest, lines, np.abs(blocks).max(axis=2, initial=0.0))
        scale = largest.reshape(-1) if per_row else largest.max(initial=0.0)
        scale = np.float32(scale) / np.float32(127)
        scale = np.where(scale > 0, scale, np.float32(1)).astype(np.float32)
        of_rows = np.broadcast_to(scale, len(self)).reshape(-1, self.block[0], 1)[lines]
        codes = np.clip(np.rint(blocks / of_rows), -127, 127).astype(np.int8)
        return SparseMatrix(
            self.row_begin, self.columns, codes.reshape(self.values.shape), self.shape,
            block=self.block, scale=scale,
        )  # fmt: skip

    def choose(
        self, columns: int, *, isa: str | None = None, transposed: bool = False
    ) -> KernelChoice:
        """Which kernel a product with so many columns takes under ``kernel='auto'``, and why."""
        return choose_kernel(self, columns, resolve_isa(isa), transposed)

    @property
    def dtype(self) -> np.dtype:
        """float32 or int8."""
        return self.values.dtype

    @property
    def nnz(self) -> int:
        """Number of elements held; all of a block."""
        return self.values.size

    @property
    def density(self) -> float:
        """Elements held as a share of M * K; 0 for a matrix without elements."""
        size = self.shape[0] * self.shape[1]
        return self.nnz / size if size else 0.0

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays."""
        arrays = (self.values, self.columns, self.row_begin, self.scale)
        return sum(a.nbytes for a in arrays if a is not None)

    @property
    def packed_bytes(self) -> int:
        """Bytes of the packed forms that products have made so far."""
        return sum(packed.bytes for packed in self._packed.values())

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        return (
            f"SparseMatrix({self.shape}, {self.dtype}, {self.pattern}, nnz={self.nnz}, "
            f"density={self.density:.3g})"
        )

    def _elements(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return convert.elements(self.row_begin, self.columns, self.values, self.block)

    def _pack(self, kernel: str, columns: int, isa: str) -> Any:
        """The matrix as a kernel reads it: sparse for one, a few or many columns; or dense."""
        few = 1 if columns == 1 else min(-(-columns // 16) * 16, 96)
        key = (kernel, isa, few if kernel == "sparse" else 0)
        if key not in self._packed:
            form = "F32" if self.dtype == np.float32 else "S8"
            if kernel == "dense":
                packed = getattr(_core, f"PackedDense{form}")(self.to_dense(), isa)
            else:
                plain = self.to_csr()
                arrays = (plain.row_begin, plain.columns, plain.values)
                if columns == 1 and takes_bitmap(self, isa):
                    packed = _core.SpmmBitmap(*arrays, self.shape[1], isa)
                else:
                    packed = getattr(_core, f"Spmm{form}")(*arrays, self.shape[1], isa, few)
            self._packed[key] = packed
        return self._packed[key]


def checked_matrix(op: str, s: object, dtype: type) -> SparseMatrix:
    """``s`` if it is a SparseMatrix of that dtype."""
    if not isinstance(s, SparseMatrix):
        raise ShapeError(
            f"{op}: the first argument is {type(s).__name__}, must be a SparseMatrix "
            "(SparseMatrix.from_dense, SparseMatrix.from_scipy)"
        )
    if s.dtype != dtype:
        raise ShapeError(f"{op}: the sparse matrix is {s.dtype}, must be {np.dtype(dtype)}")
    return s
