"""Products of a sparse matrix: sparse times dense, and dense times dense sampled at its places.

A :class:`SparseMatrix` is packed for the kernel with its first product and keeps that form. x is
(K, N), C-contiguous or the transpose of such an array (``batch.T``): both are read in place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gluonzip import _core
from gluonzip.errors import ConfigError, DataError, ShapeError, UnsupportedError
from gluonzip.runtime.isa import resolve_isa
from gluonzip.runtime.sparse import SparseMatrix, checked_matrix

if TYPE_CHECKING:
    from numpy.typing import NDArray

KERNELS = ("sparse", "dense", "auto")


def spmm(
    s: SparseMatrix,
    x: NDArray[np.float32],
    *,
    bias: NDArray[np.float32] | None = None,
    relu: bool = False,
    kernel: str = "sparse",
    transposed: bool = False,
    isa: str | None = None,
    threads: int = 0,
) -> NDArray[np.float32]:
    """``s @ x``: a sparse float32 matrix times a dense one.

    Args:
        s: float32 (M, K).
        x: float32 (K, N).
        bias: float32 (M,), added to each column.
        relu: negative results become 0.
        kernel: 'sparse'; 'dense' for the dense kernel on the same matrix, zeros and all; 'auto'
            for the one that ``s.choose(N)`` names.
        transposed: the result is laid out by columns, so that its ``.T`` is C-contiguous.
        isa: see :mod:`gluonzip.runtime.isa`.
        threads: 0 for all cores.

    Returns:
        float32 (M, N). An infinity or NaN of x reaches only rows with an element at its place
        (with the sparse kernel; a dense zero times infinity is NaN). Sums are reordered and fused:
        within eps * (K + 1) * (|s| @ |x|) of the exact ones. With N = 0, K = 0 or no elements,
        zeros (plus bias).

    Raises:
        ShapeError: a wrong dtype or number of axes, or the K differ.
        ConfigError: an unknown kernel.
        DataError: bias is not finite.
        UnsupportedError: M * N is beyond 2**31.
        IsaError: the instruction set is unknown or not available.
    """
    matrix = checked_matrix("spmm", s, np.float32)
    x = _dense_operand("spmm", matrix, x)
    bias = _of_rows("spmm", "bias", bias, len(matrix))
    isa = resolve_isa(isa)
    limits = {"lo": 0.0} if relu else {}
    if _chosen("spmm", matrix, kernel, x, isa, transposed) == "dense":
        y = matrix._pack("dense", 0, isa).run(x, threads, transposed)
        return _finish(y, None, bias, limits, "float32")
    packed = matrix._pack("sparse", x.shape[1], isa)
    return packed.run(x, "float32", threads, transposed, bias=bias, **limits)


def spmm_s8(
    s: SparseMatrix,
    x: NDArray[np.int8],
    *,
    out: str = "int32",
    multiplier: Any = None,
    bias: NDArray[np.float32] | None = None,
    relu: bool = False,
    kernel: str = "sparse",
    transposed: bool = False,
    isa: str | None = None,
    threads: int = 0,
) -> NDArray:
    """``s @ x`` of int8 matrices, in exact int32, requantized if asked.

    Args:
        s: int8 (M, K); its scale is not used here (see ``multiplier``).
        x: int8 (K, N).
        out: 'int32', the exact sums; 'float32', y = float32(sum) * multiplier + bias, two
            roundings, then relu; 'int8', rint(clip(y, -127, 127)), ties to even.
        multiplier: float32, one number or (M,): for 'int8', scale of s * scale of x / scale of the
            result. Not for 'int32'.
        bias: float32 (M,), in units of the result. Not for 'int32'.

    Returns:
        (M, N) of ``out``; the same for every ISA, kernel and number of threads.

    Raises:
        as :func:`spmm`, and ConfigError for an unknown ``out`` or what 'int32' cannot have;
        UnsupportedError: a row's values add up to more than 2**24 - 1 in magnitude, so that a sum
        may not fit int32, or the dense kernel is asked for a matrix with -128.

    >>> s = SparseMatrix.from_dense(np.int8([[0, 3, 0], [2, 0, -1]]))
    >>> spmm_s8(s, np.int8([[1], [10], [100]])).ravel().tolist()
    [30, -98]
    """
    matrix = checked_matrix("spmm_s8", s, np.int8)
    x = _dense_operand("spmm_s8", matrix, x)
    if out not in ("int32", "float32", "int8"):
        raise ConfigError(f"spmm_s8: out is {out!r}, must be int32, float32 or int8")
    if out == "int32" and (multiplier is not None or bias is not None or relu):
        raise ConfigError(
            "spmm_s8: int32 sums take no multiplier, bias or relu; choose another out"
        )
    if multiplier is None and out != "int32":
        multiplier = 1.0
    multiplier = _of_rows("spmm_s8", "multiplier", multiplier, len(matrix))
    bias = _of_rows("spmm_s8", "bias", bias, len(matrix))
    isa = resolve_isa(isa)
    limits = {"lo": 0.0} if relu else {}
    if _chosen("spmm_s8", matrix, kernel, x, isa, transposed) == "dense":
        _check_dense_sums(matrix)
        y = matrix._pack("dense", 0, isa).run(x, threads, transposed)
        return _finish(y, multiplier, bias, limits, out)
    packed = matrix._pack("sparse", x.shape[1], isa)
    return packed.run(x, out, threads, transposed, multiplier=multiplier, bias=bias, **limits)


def sddmm(
    s: SparseMatrix,
    a: NDArray[np.float32],
    b: NDArray[np.float32],
    *,
    isa: str | None = None,
    threads: int = 0,
) -> NDArray[np.float32]:
    """``(a @ b.T)`` at the places of the elements of ``s``: the gradient of its values.

    Args:
        s: (M, K), without blocks; its values are not used.
        a: float32 (M, N).
        b: float32 (K, N).

    Returns:
        float32 (nnz,), in the order of ``s.values``.

    Raises:
        ShapeError: a wrong dtype or shape, or ``s`` has blocks.
        IsaError: the instruction set is unknown or not available.
    """
    if not isinstance(s, SparseMatrix) or s.block != (1, 1):
        raise ShapeError(f"sddmm: {s!r} must be a SparseMatrix without blocks (to_csr)")
    a, b = operand("sddmm", "a", a, np.float32, 2), operand("sddmm", "b", b, np.float32, 2)
    if a.shape[0] != s.shape[0] or b.shape[0] != s.shape[1] or a.shape[1] != b.shape[1]:
        raise ShapeError(
            f"sddmm: the sparse matrix is {s.shape}, a {a.shape} and b {b.shape}; a must be (M, N) "
            "and b (K, N)"
        )
    return _core.sddmm(s.row_begin, s.columns, a, b, isa=isa or "", threads=threads)


def operand(op: str, name: str, array: object, dtype: type, ndim: int) -> np.ndarray:
    """A C-contiguous array of the dtype and number of axes that ``op`` needs."""
    return np.ascontiguousarray(_checked(op, name, array, dtype, ndim))


def _checked(op: str, name: str, array: object, dtype: type, ndim: int) -> np.ndarray:
    array = np.asarray(array)
    if array.dtype != dtype or array.ndim != ndim:
        raise ShapeError(
            f"{op}: {name} is {array.dtype} {array.shape}, must be {np.dtype(dtype)} "
            f"with {ndim} axes"
        )
    return array


def _dense_operand(op: str, s: SparseMatrix, x: object) -> np.ndarray:
    x = _checked(op, "x", x, s.dtype.type, 2)
    if x.shape[0] != s.shape[1]:
        raise ShapeError(
            f"{op}: the sparse matrix is {s.shape} and x {x.shape}; x must have {s.shape[1]} rows"
        )
    return x if x.flags.c_contiguous or x.flags.f_contiguous else np.ascontiguousarray(x)


def _of_rows(op: str, name: str, values: Any, rows: int) -> np.ndarray | None:
    if values is None:
        return None
    values = np.asarray(values, np.float32)
    if values.shape not in ((), (rows,)):
        raise ShapeError(f"{op}: {name} has shape {values.shape}, must be ({rows},), one a row")
    if not np.isfinite(values).all():
        i = np.flatnonzero(~np.isfinite(values))[0]
        raise DataError(f"{op}: {name} {i} is {values.reshape(-1)[i]}, must be finite")
    return np.ascontiguousarray(np.broadcast_to(values, rows))


def _chosen(
    op: str, s: SparseMatrix, kernel: str, x: np.ndarray, isa: str, transposed: bool
) -> str:
    if kernel not in KERNELS:
        raise ConfigError(f"{op}: kernel is {kernel!r}, must be one of {', '.join(KERNELS)}")
    if kernel != "auto":
        return kernel
    by_columns = transposed and x.flags.f_contiguous
    return s.choose(x.shape[1], isa=isa, transposed=by_columns).kernel


def _check_dense_sums(s: SparseMatrix) -> None:
    if s.nnz and s.values.min() == -128:
        raise UnsupportedError(
            "spmm_s8: the dense kernel takes weights in [-127, 127] and a value is -128; "
            "use kernel='sparse'"
        )
    if s.shape[1] > 132_104:
        raise UnsupportedError(
            f"spmm_s8: a sum of {s.shape[1]} int8 products may not fit int32 in the dense kernel; "
            "at most 132104 do; use kernel='sparse'"
        )


def _finish(
    y: np.ndarray,
    multiplier: np.ndarray | None,
    bias: np.ndarray | None,
    limits: dict[str, float],
    out: str,
) -> np.ndarray:
    """What the sparse kernel does to a sum, on the dense kernel's sums."""
    if out == "int32":
        return y
    y = y.astype(np.float32, copy=False)
    if multiplier is not None:
        y = y * multiplier[:, None]
    if bias is not None:
        y = y + bias[:, None]
    if limits:
        y = np.maximum(y, np.float32(0))
    return np.rint(np.clip(y, -127, 127)).astype(np.int8) if out == "int8" else y
