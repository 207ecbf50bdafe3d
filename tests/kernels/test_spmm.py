"""Sparse times dense against NumPy: int8 exactly, float32 within the error of a dot product."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gluonzip import _core
from gluonzip.errors import ConfigError, ShapeError, UnsupportedError
from gluonzip.runtime import SparseMatrix, sddmm, spmm, spmm_s8

CHECK = settings(max_examples=40, deadline=None, derandomize=True)
SIZES = st.tuples(
    st.integers(0, 20), st.integers(0, 90), st.sampled_from([0, 1, 7, 16, 33, 64, 150])
)
DENSITY = st.sampled_from([0.0, 0.1, 0.5, 1.0])
SEEDS = st.integers(0, 2**32 - 1)


@pytest.fixture(scope="module", params=_core.isas())
def isa(request):
    """All: int8 products with one column take a bitmap on one that the others here leave out."""
    return request.param


def test_one_column_takes_a_bitmap_where_words_share_little():
    rng = np.random.default_rng(1)
    for isa in _core.isas():
        for density, block, wanted in ((0.3, 1, True), (0.1, 1, True), (0.05, 4, False)):
            keep = np.repeat(rng.random((64, 1024 // block)) < density, block, axis=1)
            s = SparseMatrix.from_dense(rng.integers(1, 100, keep.shape).astype(np.int8) * keep)
            got = s._pack("sparse", 1, isa)
            assert isinstance(got, _core.SpmmBitmap) == (wanted and _core.has_bitmap(isa))


def test_a_bitmap_says_what_it_cannot_do():
    rows, columns = np.array([0, 1, 2], np.int32), np.array([0, 2], np.int32)
    bitmap = _core.SpmmBitmap(rows, columns, np.array([3, -5], np.int8), 4, "reference")
    with pytest.raises(ShapeError, match="a bitmap is for one column, x has 2"):
        bitmap.run(np.ones((4, 2), np.int8), "int32", 1)
    with pytest.raises(ConfigError, match="cannot give int16"):
        bitmap.run(np.ones((4, 1), np.int8), "int16", 1)


@CHECK
@given(sizes=SIZES, density=DENSITY, seed=SEEDS, threads=st.sampled_from([1, 3]))
def test_int8_is_exact(isa, sizes, density, seed, threads):
    (m, k, n), rng = sizes, np.random.default_rng(seed)
    s = (rng.integers(-128, 128, (m, k)) * (rng.random((m, k)) < density)).astype(np.int8)
    x = rng.integers(-128, 128, (k, n)).astype(np.int8)
    got = spmm_s8(SparseMatrix.from_dense(s), x, isa=isa, threads=threads)
    assert got.dtype == np.int32
    np.testing.assert_array_equal(got, s.astype(int) @ x.astype(int))


@CHECK
@given(sizes=SIZES, density=DENSITY, seed=SEEDS, threads=st.sampled_from([1, 3]))
def test_float32(isa, sizes, density, seed, threads):
    (m, k, n), rng = sizes, np.random.default_rng(seed)
    s = rng.normal(0, 1, (m, k)) * (rng.random((m, k)) < density)
    s, x = s.astype(np.float32), rng.normal(0, 9, (k, n)).astype(np.float32)
    got = spmm(SparseMatrix.from_dense(s), x, isa=isa, threads=threads)
    real = s.astype(float) @ x.astype(float)
    error = np.finfo(np.float32).eps * (k + 1) * (np.abs(s).astype(float) @ np.abs(x))
    assert got.dtype == np.float32
    assert (np.abs(got - real) <= error).all()


def test_extremes_are_exact(isa):
    s = np.full((2, 99), -128, np.int8)
    s[1] = 127
    x = np.full((99, 40), -128, np.int8)
    want = s.astype(int) @ x.astype(int)
    np.testing.assert_array_equal(spmm_s8(SparseMatrix.from_dense(s), x, isa=isa), want)


def test_a_sum_that_may_not_fit_int32_is_refused(isa):
    k = 2**24 // 127 + 1
    s = SparseMatrix.from_dense(np.full((1, k), -127, np.int8))
    with pytest.raises(UnsupportedError, match=r"values of row 0 add up to 16777\d+ in magnitude"):
        spmm_s8(s, np.zeros((k, 1), np.int8), isa=isa)
    most = SparseMatrix.from_dense(np.full((1, k - 1), 127, np.int8))
    x = np.full((k - 1, 2), -128, np.int8)
    np.testing.assert_array_equal(spmm_s8(most, x, isa=isa), [[-128 * 127 * (k - 1)] * 2])


@pytest.mark.parametrize("n", [1, 5])
def test_a_depth_of_several_slices(isa, n):
    """More words than a 16-bit index counts, and sums that wait for the next slice."""
    k, rng = 300_000, np.random.default_rng(3)
    columns = np.sort(rng.choice(k, (3, 2000), replace=False), axis=1)
    begin = np.arange(4) * 2000
    x = rng.integers(-128, 128, (k, n)).astype(np.int8)
    values = rng.integers(-128, 128, 6000).astype(np.int8)
    want = (values.reshape(3, 2000, 1).astype(int) * x[columns]).sum(axis=1)
    s = SparseMatrix(begin, columns.ravel(), values, (3, k))
    np.testing.assert_array_equal(spmm_s8(s, x, isa=isa), want)
    real = SparseMatrix(begin, columns.ravel(), values.astype(np.float32), (3, k))
    np.testing.assert_array_equal(spmm(real, x.astype(np.float32) / 128, isa=isa), want / 128)


@CHECK
@given(sizes=SIZES, density=DENSITY, seed=SEEDS, out=st.sampled_from(["float32", "int8"]))
def test_requantization_is_exact(isa, sizes, density, seed, out):
    (m, k, n), rng = sizes, np.random.default_rng(seed)
    s = (rng.integers(-127, 128, (m, k)) * (rng.random((m, k)) < density)).astype(np.int8)
    x = rng.integers(-127, 128, (k, n)).astype(np.int8)
    multiplier = rng.uniform(0, 0.01, m).astype(np.float32)
    bias = rng.normal(0, 20, m).astype(np.float32)
    y = (s.astype(int) @ x.astype(int)).astype(np.float32)
    want = np.maximum(y * multiplier[:, None] + bias[:, None], np.float32(0))
    if out == "int8":
        want = np.rint(np.clip(want, -127, 127)).astype(np.int8)
    options = {"out": out, "multiplier": multiplier, "bias": bias, "relu": True}
    for kernel in ("sparse", "dense"):
        got = spmm_s8(SparseMatrix.from_dense(s), x, kernel=kernel, isa=isa, **options)
        np.testing.assert_array_equal(got, want)


def test_ties_round_to_even_and_codes_saturate(isa):
    s = SparseMatrix.from_dense(np.int8([[1], [3], [5], [-1], [-3], [127], [-127]]))
    got = spmm_s8(s, np.full((1, 20), 1, np.int8), out="int8", multiplier=0.5, isa=isa)
    assert got[:5, 19].tolist() == [0, 2, 2, 0, -2]
    got = spmm_s8(s, np.full((1, 1), 9, np.int8), out="int8", isa=isa)
    assert got.ravel().tolist() == [9, 27, 45, -9, -27, 127, -127]


@CHECK
@given(sizes=SIZES, seed=SEEDS, of_x=st.booleans(), of_y=st.booleans(), dense=st.booleans())
def test_transposed_operands_and_results(isa, sizes, seed, of_x, of_y, dense):
    (m, k, n), rng = sizes, np.random.default_rng(seed)
    s = (rng.integers(-127, 128, (m, k)) * (rng.random((m, k)) < 0.3)).astype(np.int8)
    x = rng.integers(-127, 128, (k, n)).astype(np.int8)
    laid_out = np.ascontiguousarray(x.T).T if of_x else x
    kernel = "dense" if dense else "sparse"
    options = {"kernel": kernel, "transposed": of_y, "isa": isa}
    got = spmm_s8(SparseMatrix.from_dense(s), laid_out, **options)
    np.testing.assert_array_equal(got, s.astype(int) @ x.astype(int))
    assert (got.T if of_y else got).flags.c_contiguous
    real = spmm(
        SparseMatrix.from_dense(s.astype(np.float32)), laid_out.astype(np.float32), **options
    )
    np.testing.assert_array_equal(real, got)  # sums below 2**24 are exact in float32


def test_what_meets_no_element_leaves_no_trace(isa):
    s = np.zeros((3, 70), np.float32)
    s[0, 3], s[2, :4] = 2, 1
    x = np.full((70, 33), np.inf, np.float32)
    x[3] = 5
    for columns in (1, 33):
        got = spmm(SparseMatrix.from_dense(s), x[:, :columns], isa=isa)
        assert (got[0] == 10).all()
        assert (got[1] == 0).all()
        assert np.isinf(got[2]).all()


@CHECK
@given(sizes=SIZES, density=DENSITY, seed=SEEDS)
def test_blocks_are_their_elements(isa, sizes, density, seed):
    (m, k, n), rng = sizes, np.random.default_rng(seed)
    m, k = m // 2 * 2, k // 4 * 4
    mask = np.kron(rng.random((m // 2, k // 4)) < density, np.ones((2, 4), bool)).reshape(m, k)
    s = (rng.integers(-127, 128, (m, k)) * mask).astype(np.int8)
    x = rng.integers(-128, 128, (k, n)).astype(np.int8)
    got = spmm_s8(SparseMatrix.from_dense(s, block=(2, 4)), x, isa=isa)
    np.testing.assert_array_equal(got, s.astype(int) @ x.astype(int))


@CHECK
@given(sizes=SIZES, density=DENSITY, seed=SEEDS, threads=st.sampled_from([1, 3]))
def test_sampled_products(isa, sizes, density, seed, threads):
    (m, k, n), rng = sizes, np.random.default_rng(seed)
    mask = (rng.random((m, k)) < density).astype(np.float32)
    a, b = (rng.normal(size=(rows, n)).astype(np.float32) for rows in (m, k))
    s = SparseMatrix.from_dense(mask)
    got = sddmm(s, a, b, isa=isa, threads=threads)
    real, size = (x.astype(float) @ y.astype(float).T for x, y in ((a, b), (abs(a), abs(b))))
    error = np.finfo(np.float32).eps * (n + 1) * size
    places = np.nonzero(mask)
    assert (np.abs(got - real[places]) <= error[places]).all()
