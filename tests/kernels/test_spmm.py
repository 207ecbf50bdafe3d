"""Sparse times dense against NumPy: int8 exactly, float32 within the error of a dot product."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gluonzip.errors import UnsupportedError
from gluonzip.runtime import SparseMatrix, spmm, spmm_s8

CHECK = settings(max_examples=40, deadline=None, derandomize=True)
SIZES = st.tuples(
    st.integers(0, 20), st.integers(0, 90), st.sampled_from([0, 1, 7, 16, 33, 64, 150])
)
DENSITY = st.sampled_from([0.0, 0.1, 0.5, 1.0])
SEEDS = st.integers(0, 2**32 - 1)


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
    k = 132_105
    s = SparseMatrix.from_dense(np.zeros((1, k), np.int8))
    with pytest.raises(UnsupportedError, match="a sum of 132105 int8 products may not fit int32"):
        spmm_s8(s, np.zeros((k, 1), np.int8), isa=isa)
