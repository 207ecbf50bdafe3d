"""SparseMatrix from and to SciPy, blocks, N:M and scales; and what it says of hostile arrays."""

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st

from gluonzip.errors import ConfigError, DataError, ShapeError, UnsupportedError
from gluonzip.runtime import SparseMatrix, spmm, spmm_s8

CHECK = settings(max_examples=60, deadline=None, derandomize=True)
DTYPES = st.sampled_from([np.float32, np.int8])


def random_matrix(rng, m, k, density, dtype):
    return (rng.integers(-128, 128, (m, k)) * (rng.random((m, k)) < density)).astype(dtype)


@CHECK
@given(
    m=st.integers(0, 9), k=st.integers(0, 9), dtype=DTYPES, seed=st.integers(0, 999),
    form=st.sampled_from(["csr", "csc", "coo", "lil", "dia", "dok"]),
)  # fmt: skip
def test_scipy_there_and_back(m, k, dtype, seed, form):
    dense = random_matrix(np.random.default_rng(seed), m, k, 0.4, dtype)
    if form in ("lil", "dok") and m * k == 0:
        form = "coo"
    s = SparseMatrix.from_scipy(scipy.sparse.coo_matrix(dense).asformat(form))
    back = s.to_scipy()
    assert (s.dtype, back.dtype, back.shape) == (dtype, dtype, (m, k))
    np.testing.assert_array_equal(back.toarray(), dense)
    np.testing.assert_array_equal(s.to_dense(), dense)


@CHECK
@given(
    lines=st.integers(0, 4), width=st.integers(0, 4), dtype=DTYPES, seed=st.integers(0, 999),
    block=st.sampled_from([(1, 4), (4, 1), (2, 3)]),
)  # fmt: skip
def test_blocks_there_and_back(lines, width, block, dtype, seed):
    shape = lines * block[0], width * block[1]
    dense = random_matrix(np.random.default_rng(seed), *shape, 0.2, dtype)
    s = SparseMatrix.from_dense(dense, block=block)
    assert s.values.shape == (len(s.columns), *block)
    assert s.block == block
    np.testing.assert_array_equal(s.to_dense(), dense)
    np.testing.assert_array_equal(s.to_csr().to_dense(), dense)
    if s.nnz:
        again = SparseMatrix.from_scipy(s.to_scipy())
        assert again.block == block
        np.testing.assert_array_equal(again.to_dense(), dense)


def test_blocks_of_scipy_are_sorted_and_summed():
    values = np.float32([[[1, 2]], [[3, 4]], [[5, 6]]])
    bsr = scipy.sparse.bsr_matrix((values, [1, 0, 1], [0, 3]), shape=(1, 4))
    s = SparseMatrix.from_scipy(bsr)
    assert s.columns.tolist() == [0, 1]
    assert s.to_dense().tolist() == [[3, 4, 6, 8]]


def test_repeated_int8_elements_that_add_up_to_too_much():
    coo = scipy.sparse.coo_matrix((np.int8([100, 100]), ([0, 0], [1, 1])), shape=(1, 3))
    with pytest.raises(DataError, match="repeated int8 elements add up to 200, outside int8"):
        SparseMatrix.from_scipy(coo)


@pytest.mark.parametrize("form", ["csr", "csc", "bsr"])
@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("indices", [0, 9, 1], "index 9 at place 1 is outside"),
        ("indices", [0, -1, 1], "index -1 at place 1 is outside"),
        ("indptr", [0, 3, 2, 3], "row 1 begins at 3 and ends at 2"),
        ("indptr", [0, 1, 2, 2**31], "does not fit int32"),
        ("indptr", [0, 1, 2, 1000], "run from 0 to 1000"),
        ("indptr", [0, 3], "3 rows need 4 row offsets, got 2"),
        ("indices", [0, 1], "2 columns but 3 values"),
    ],
)
def test_scipy_matrices_that_were_tampered_with(form, name, value, message):
    matrix = scipy.sparse.csr_matrix(np.eye(3, dtype=np.float32)).asformat(form)
    setattr(matrix, name, np.array(value))
    with pytest.raises((ShapeError, DataError), match=message):
        SparseMatrix.from_scipy(matrix)


def test_what_is_no_scipy_matrix():
    with pytest.raises(ShapeError, match=r"from_scipy: ndarray is not a scipy\.sparse matrix"):
        SparseMatrix.from_scipy(np.eye(3, dtype=np.float32))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"block": (2, 2)}, ShapeError, "blocks of 2 x 2 do not divide a matrix of 3 x 4"),
        ({"block": (0, 1)}, ShapeError, r"block is \(0, 1\), must be two numbers from 1 to"),
        ({"block": 4}, ShapeError, "block is 4, must be two numbers"),
        ({"pattern": "2of4"}, ConfigError, "pattern is '2of4', must be 'N:M'"),
        ({"pattern": "5:4"}, ConfigError, "must be 'N:M' with 1 <= N <= M"),
        ({"pattern": "2:3"}, ShapeError, "has no rows of whole groups of 3"),
        ({"pattern": "1:4"}, DataError, "row 1, columns 0 to 3 have 2 elements other than zero"),
        ({"scale": 1.0}, ShapeError, "only int8 values have a scale, these are float32"),
    ],
)
def test_forms_that_do_not_fit(options, error, message):
    dense = np.float32([[1, 0, 0, 0], [0, 1, 0, 1], [0, 0, 0, 0]])
    with pytest.raises(error, match=message):
        SparseMatrix.from_dense(dense, **options)


def test_n_of_m():
    dense = np.float32([[1, 0, 0, 2, 0, 0, 0, 0]])
    assert SparseMatrix.from_dense(dense, pattern="2:4").pattern == "2:4"


@pytest.mark.parametrize("scale", [0.0, -1.0, np.nan, np.inf])
def test_scales_that_are_none(scale):
    with pytest.raises(DataError, match="scale 1 is .*, must be finite and above zero"):
        SparseMatrix.from_dense(np.zeros((2, 3), np.int8), scale=[1.0, scale])
    with pytest.raises(
        ShapeError, match=r"scale has shape \(3,\), must be one number or one a row"
    ):
        SparseMatrix.from_dense(np.zeros((2, 3), np.int8), scale=[1.0, 1.0, 1.0])


@pytest.mark.parametrize("block", [(1, 1), (1, 4), (2, 2)])
@pytest.mark.parametrize("per_row", [True, False])
def test_quantize_and_dequantize(block, per_row):
    rng = np.random.default_rng(4)
    dense = (rng.normal(size=(6, 8)) * (rng.random((6, 8)) < 0.5)).astype(np.float32)
    dense[2] = 0
    codes = SparseMatrix.from_dense(dense, block=block).quantize(per_row=per_row)
    largest = np.abs(dense).max(axis=1) if per_row else np.abs(dense).max()
    want = np.where(largest > 0, largest / np.float32(127), 1).astype(np.float32)
    np.testing.assert_allclose(codes.scale, want, rtol=1e-6)
    assert np.abs(codes.to_dense()).max() == 127
    error = np.abs(codes.dequantize().to_dense() - dense)
    assert (error <= np.broadcast_to(want, 6)[:, None] * 0.5001).all()
    with pytest.raises(DataError, match="is not float32"):
        codes.quantize()
    with pytest.raises(DataError, match="is not int8 with a scale"):
        SparseMatrix.from_dense(dense).dequantize()


def test_arrays_are_copied_and_read_only():
    columns, values = np.int32([0, 2]), np.float32([1, 2])
    s = SparseMatrix([0, 2], columns, values, (1, 3))
    columns[1], values[0] = 99, np.nan
    assert (s.columns.tolist(), s.values.tolist()) == ([0, 2], [1, 2])
    with pytest.raises(ValueError, match="read-only"):
        s.columns[1] = 99
    s.to_scipy().indices[1] = 99
    assert s.columns.tolist() == [0, 2]


@CHECK
@given(
    begin=st.lists(st.integers(-(2**40), 2**40) | st.integers(0, 4), max_size=5),
    columns=st.lists(st.integers(-(2**40), 2**40) | st.integers(0, 4), max_size=5),
    values=st.lists(st.floats(width=32) | st.just(1.0), max_size=5),
    shape=st.tuples(st.integers(-2, 2**33) | st.integers(0, 4), st.integers(0, 2**31)),
    block=st.sampled_from([(1, 1), (1, 2), (2, 1)]),
)
def test_hostile_arrays_are_refused_or_right(begin, columns, values, shape, block):
    try:
        s = SparseMatrix(begin, columns, np.float32(values), shape, block=block)
    except (ShapeError, DataError):
        return  # what it says is tested case by case
    assert s.nnz == len(values)
    if s.shape[1] < 100:
        got = spmm(s, np.ones((s.shape[1], 2), np.float32))
        np.testing.assert_allclose(got[:, 0], s.to_dense().sum(axis=1), rtol=1e-3, atol=1e-3)


def test_the_core_checks_again():
    """As if a SparseMatrix had been tampered with."""
    from gluonzip import _core

    one, x = np.ones(1, np.float32), (4, "avx2", 1)
    for begin, columns in ([0, 1], [4]), ([0, 1], [-1]), ([0, 2], [0]), ([1, 1], [0]), ([0], [0]):
        with pytest.raises((ShapeError, DataError), match="sparse matrix: "):
            _core.SpmmF32(np.int32(begin), np.int32(columns), one, *x)


def test_the_choice_is_the_cheaper_kernel_and_says_why():
    rng = np.random.default_rng(5)
    dense = random_matrix(rng, 512, 512, 0.05, np.float32)
    sparse = SparseMatrix.from_dense(dense).choose(64)
    assert sparse.kernel == "sparse"
    assert "cycles sparse and" in sparse.reason
    full = SparseMatrix.from_dense(rng.normal(size=(512, 512)).astype(np.float32))
    choice = full.choose(64)
    assert choice.kernel == "dense" or choice.sparse_cycles < choice.dense_cycles
    assert SparseMatrix.from_dense(np.full((64, 64), 3, np.int8)).choose(1).kernel == "dense"


def test_auto_runs_the_chosen_kernel():
    rng = np.random.default_rng(6)
    s = SparseMatrix.from_dense(np.full((64, 64), 3, np.int8))
    x = rng.integers(-128, 128, (64, 1)).astype(np.int8)
    np.testing.assert_array_equal(spmm_s8(s, x, kernel="auto"), spmm_s8(s, x))
    assert ("dense", "avx2", 0) not in s._packed
    assert {key[0] for key in s._packed} == {"dense", "sparse"}
    assert s.packed_bytes > 64 * 64


def test_minus_128_is_for_the_sparse_kernel():
    s = SparseMatrix.from_dense(np.full((2, 64), -128, np.int8))
    assert s.choose(64).reason == "the dense kernel takes no weight of -128"
    with pytest.raises(UnsupportedError, match="a value is -128; use kernel='sparse'"):
        spmm_s8(s, np.zeros((64, 1), np.int8), kernel="dense")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"kernel": "best"}, ConfigError, "kernel is 'best', must be one of sparse, dense, auto"),
        ({"out": "int16"}, ConfigError, "out is 'int16', must be int32, float32 or int8"),
        ({"relu": True}, ConfigError, "int32 sums take no multiplier, bias or relu"),
        ({"out": "int8", "bias": [1.0]}, ShapeError, r"bias has shape \(1,\), must be \(2,\)"),
        ({"out": "int8", "multiplier": np.nan}, DataError, "multiplier 0 is nan, must be finite"),
    ],
)
def test_options_that_do_not_fit(options, error, message):
    s = SparseMatrix.from_dense(np.ones((2, 3), np.int8))
    with pytest.raises(error, match=f"spmm_s8: {message}"):
        spmm_s8(s, np.ones((3, 1), np.int8), **options)


def test_products_too_large_to_hold():
    s = SparseMatrix(np.zeros(2**16 + 1, int), [], np.zeros(0, np.float32), (2**16, 0))
    with pytest.raises(UnsupportedError, match=r"product \(65536, 65536\) has more than 2\^31"):
        spmm(s, np.zeros((0, 2**16), np.float32))
