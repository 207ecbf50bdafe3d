"""The engine's products on NumPy arrays: dense, convolution and sparse.

They run the very kernels that the engine runs. Each takes ``isa`` (see :mod:`gluonzip.runtime.isa`)
and ``threads`` (0: all cores), and releases the GIL. The int8 products are exact: the same int32
for every instruction set and number of threads. Packing the weights is part of each call; where
that matters, put them in an archive and use :class:`gluonzip.runtime.Engine`. A
:class:`SparseMatrix` packs itself with its first product (``sparse_products.py``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gluonzip import _core
from gluonzip.errors import ConfigError
from gluonzip.runtime.sparse import KernelChoice, SparseMatrix
from gluonzip.runtime.sparse_products import operand as _operand
from gluonzip.runtime.sparse_products import sddmm, spmm, spmm_s8

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "KernelChoice",
    "SparseMatrix",
    "conv2d_f32",
    "conv2d_s8",
    "gemm_f32",
    "gemm_s8",
    "sddmm",
    "spmm",
    "spmm_s8",
]


def gemm_s8(
    a: NDArray[np.int8], b: NDArray[np.int8], *, isa: str | None = None, threads: int = 0
) -> NDArray[np.int32]:
    """``a @ b.T`` in exact int32.

    Args:
        a: activations, int8 (M, K).
        b: weights, int8 (N, K), in [-127, 127].

    Returns:
        int32 (M, N).

    Raises:
        ShapeError: a wrong dtype or number of axes, or the K differ.
        DataError: a weight is -128.
        UnsupportedError: K is beyond 132,104, where a sum may not fit int32.
        IsaError: the instruction set is unknown or not available.

    >>> gemm_s8(np.int8([[1, 2]]), np.int8([[3, 4], [5, 6]]))
    array([[11, 17]], dtype=int32)
    """
    a = _operand("gemm_s8", "a", a, np.int8, 2)
    b = _operand("gemm_s8", "b", b, np.int8, 2)
    return _core.gemm_s8(a, b, isa=isa or "", threads=threads)


def gemm_f32(
    a: NDArray[np.float32], b: NDArray[np.float32], *, isa: str | None = None, threads: int = 0
) -> NDArray[np.float32]:
    """``a @ b.T`` in float32; sums may be reordered and fused.

    Args:
        a: float32 (M, K).
        b: float32 (N, K).

    Returns:
        float32 (M, N).

    Raises:
        ShapeError: a wrong dtype or number of axes, or the K differ.
        IsaError: the instruction set is unknown or not available.
    """
    a = _operand("gemm_f32", "a", a, np.float32, 2)
    b = _operand("gemm_f32", "b", b, np.float32, 2)
    return _core.gemm_f32(a, b, isa=isa or "", threads=threads)


def conv2d_s8(
    x: NDArray[np.int8],
    w: NDArray[np.int8],
    *,
    stride: int | tuple[int, int] = 1,
    pad: int | tuple[int, ...] = 0,
    dilation: int | tuple[int, int] = 1,
    groups: int = 1,
    isa: str | None = None,
    threads: int = 0,
) -> NDArray[np.int32]:
    """Convolution (as networks have it: no flip) in exact int32.

    Args:
        x: activations, int8 (N, C, H, W).
        w: weights, int8 (O, C / groups, KH, KW), in [-127, 127].
        stride: one number or (rows, columns).
        pad: zeros around the image: one number, (rows, columns) or (top, left, bottom, right).
        dilation: one number or (rows, columns).

    Returns:
        int32 (N, O, OH, OW), OH = (H + top + bottom - dilation * (KH - 1) - 1) // stride + 1.

    Raises:
        ShapeError: a wrong dtype or number of axes, channels that do not fit groups, a kernel
            larger than the padded image.
        ConfigError: a stride, dilation, pad or groups outside its range.
        DataError: a weight is -128.
        UnsupportedError: a sum may not fit int32.
        IsaError: the instruction set is unknown or not available.
    """
    x = _operand("conv2d_s8", "x", x, np.int8, 4)
    w = _operand("conv2d_s8", "w", w, np.int8, 4)
    window = _window("conv2d_s8", stride, pad, dilation)
    return _core.conv2d_s8(x, w, *window, groups=groups, isa=isa or "", threads=threads)


def conv2d_f32(
    x: NDArray[np.float32],
    w: NDArray[np.float32],
    *,
    stride: int | tuple[int, int] = 1,
    pad: int | tuple[int, ...] = 0,
    dilation: int | tuple[int, int] = 1,
    groups: int = 1,
    isa: str | None = None,
    threads: int = 0,
) -> NDArray[np.float32]:
    """:func:`conv2d_s8` in float32; sums may be reordered and fused."""
    x = _operand("conv2d_f32", "x", x, np.float32, 4)
    w = _operand("conv2d_f32", "w", w, np.float32, 4)
    window = _window("conv2d_f32", stride, pad, dilation)
    return _core.conv2d_f32(x, w, *window, groups=groups, isa=isa or "", threads=threads)


def _window(op: str, stride: object, pad: object, dilation: object) -> tuple:
    return (
        _integers(op, "stride", stride, (2,)),
        _integers(op, "pad", pad, (2, 4)),
        _integers(op, "dilation", dilation, (2,)),
    )


def _integers(op: str, name: str, value: object, lengths: tuple[int, ...]) -> list[int]:
    """One integer, or a sequence of one of ``lengths``, repeated to the longest of them."""
    try:
        numbers = np.atleast_1d(np.asarray(value))
        if numbers.dtype.kind not in "iu" or numbers.ndim != 1:
            raise ValueError
    except ValueError:
        numbers = np.zeros(0)
    if len(numbers) not in (1, *lengths):
        wanted = " or ".join(str(n) for n in (1, *lengths))
        raise ConfigError(f"{op}: {name} is {value!r}, must be {wanted} integers")
    return [int(n) for n in numbers] * (lengths[-1] // len(numbers))
