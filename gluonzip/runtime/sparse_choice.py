"""Sparse or dense kernel for a product on arrays: a cost model in cycles of one core.

The constants were fitted to measurements of AlexNet's dense layers and ResNet-50's convolutions as
products on a Zen 5 core with AVX-512 (scripts/bench_sparse.py prints both kernels beside the
choice). Other instruction sets scale by their lanes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gluonzip import _core

if TYPE_CHECKING:
    from gluonzip.runtime.sparse import SparseMatrix

SPARSE_VECTOR = 0.8  # a multiply-accumulate of a vector of columns
SPARSE_WORD = 0.7  # to fetch and broadcast a word of the matrix, once a tile of six vectors
SPARSE_ROW = 40.0  # to begin a row of a slice: its end cannot be foreseen
SPARSE_GATHER = 0.8  # a word of a product of one column
BITMAP_GROUP = 2.0  # 64 places of such a product as a bitmap
BITMAP_ELEMENT = 0.05  # one of them that is held
BITMAP_ROW = 8.0
STAGE = 2.0  # to bring a word of a vector of columns together
DENSE_VECTOR = dict.fromkeys(["avxvnni", "avx512vnni", "avx512vbmi2"], 0.6)  # int8; else twice that
DENSE_FLOAT = 0.55
TRANSPOSE = 2.5  # an element of x or of the product
STREAM = 6.0  # bytes a cycle from memory, words and their places
BITMAP_STREAM = 8.0  # the same of a bitmap
DENSE_STREAM = 9.0  # the same of a dense matrix
MARGIN = 0.9  # sparse must look this much faster: what the estimates may be wrong by


@dataclass(frozen=True)
class KernelChoice:
    """What ``kernel='auto'`` takes: 'sparse' or 'dense', the reason, and both estimates."""

    kernel: str
    reason: str
    sparse_cycles: float
    dense_cycles: float


def choose_kernel(s: SparseMatrix, columns: int, isa: str, transposed: bool) -> KernelChoice:
    """The kernel that is expected to be faster for ``s @ x`` with so many columns of x."""
    sparse = _sparse_cycles(s, columns, isa)
    dense = _dense_cycles(s, columns, isa, transposed)
    if s.dtype == np.int8 and s.nnz and s.values.min() == -128:
        return KernelChoice("sparse", "the dense kernel takes no weight of -128", sparse, dense)
    chosen = "sparse" if sparse < MARGIN * dense else "dense"
    reason = (
        f"about {sparse:.3g} cycles sparse and {dense:.3g} dense, for {columns} columns at "
        f"{1 - s.density:.1%} zeros ({s.pattern}) on {isa}"
    )
    return KernelChoice(chosen, reason, sparse, dense)


def takes_bitmap(s: SparseMatrix, isa: str) -> bool:
    """Whether products with one column are expected to be fastest with int8 as a bitmap."""
    return _bitmap_cycles(s, isa) <= _sparse_cycles(s, 1, isa)


def _bitmap_cycles(s: SparseMatrix, isa: str) -> float:
    if s.dtype != np.int8 or not _core.has_bitmap(isa):
        return math.inf
    groups = s.shape[0] * 4 * -(-s.shape[1] // 256)
    compute = BITMAP_GROUP * groups + BITMAP_ELEMENT * s.nnz
    return max(compute, (8.0 * groups + s.nnz) / BITMAP_STREAM) + BITMAP_ROW * s.shape[0]


def _lanes(isa: str) -> int:
    return {"reference": 1, "avx2": 8, "avxvnni": 8}.get(isa, 16)


def _per_word(s: SparseMatrix, isa: str) -> int:
    if s.dtype == np.float32:
        return 1
    return 2 if isa in ("avx2", "avx512bw") else 4


def _words(s: SparseMatrix, per_word: int) -> int:
    """Words with an element other than zero."""
    wide = s.block[1]
    if per_word == 1:
        return s.nnz
    if wide % per_word == 0:
        return s.nnz // per_word
    plain = s.to_csr()
    places = plain.columns // per_word
    first = np.ones(len(places), bool)
    first[1:] = places[1:] != places[:-1]
    starts = plain.row_begin[:-1]
    first[starts[starts < len(places)]] = True
    return int(first.sum())


def _sparse_cycles(s: SparseMatrix, columns: int, isa: str) -> float:
    per_word, (rows, depth) = _per_word(s, isa), s.shape
    words, depth = _words(s, per_word), -(-depth // per_word)
    streamed = 6.0 * words / STREAM
    if columns == 1:
        by_words = max(words * SPARSE_GATHER, streamed) + 15.0 * rows
        return min(by_words, _bitmap_cycles(s, isa))
    vectors = -(-columns // _lanes(isa))
    tiles = -(-vectors // 6)
    slices = max(1.0, depth * min(vectors, 6) / 576)
    compute = words * (SPARSE_VECTOR * vectors + SPARSE_WORD * tiles)
    return max(compute, streamed) + SPARSE_ROW * rows * slices * tiles + STAGE * depth * vectors


def _dense_cycles(s: SparseMatrix, columns: int, isa: str, transposed: bool) -> float:
    (rows, depth), size = s.shape, s.dtype.itemsize
    vectors = -(-rows // _lanes(isa)) * columns
    if s.dtype == np.float32:
        compute = DENSE_FLOAT * vectors * depth
    else:
        compute = DENSE_VECTOR.get(isa, 1.2) * vectors * -(-depth // 4)
    moved = 0 if transposed or columns == 1 else TRANSPOSE * (depth + rows) * columns
    return max(compute, rows * depth * size / DENSE_STREAM) + moved
