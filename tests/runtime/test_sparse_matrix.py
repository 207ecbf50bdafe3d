import doctest

import numpy as np
import pytest
import scipy.sparse

from gluonzip.errors import DataError, ShapeError
from gluonzip.runtime import SparseMatrix, operators, sparse, sparse_products

DENSE = np.array([[0, 5, 0], [0, 0, 0], [7, 0, -1]], np.float32)


@pytest.mark.parametrize("dtype", [np.float32, np.int8])
def test_there_and_back(dtype):
    s = SparseMatrix.from_dense(DENSE.astype(dtype))
    assert (s.shape, s.dtype, s.nnz) == ((3, 3), dtype, 3)
    assert s.density == 1 / 3
    assert s.nbytes == 4 * (4 + 3) + 3 * np.dtype(dtype).itemsize
    np.testing.assert_array_equal(s.to_dense(), DENSE)
    np.testing.assert_array_equal(SparseMatrix.from_scipy(s.to_scipy()).to_dense(), DENSE)


def test_matrices_without_elements():
    for shape in [(0, 0), (0, 4), (4, 0), (2, 3)]:
        s = SparseMatrix.from_dense(np.zeros(shape, np.float32))
        assert (s.nnz, s.density, s.to_dense().shape) == (0, 0.0, shape)


def test_scipy_matrices_are_sorted_and_summed():
    coo = scipy.sparse.coo_matrix((np.float32([1, 2, 3]), ([0, 0, 0], [2, 1, 2])), shape=(1, 3))
    s = SparseMatrix.from_scipy(coo)
    assert (s.columns.tolist(), s.values.tolist()) == ([1, 2], [2.0, 4.0])


def test_repr():
    s = SparseMatrix.from_dense(DENSE)
    assert repr(s) == "SparseMatrix((3, 3), float32, unstructured, nnz=3, density=0.333)"


V = np.ones(2, np.float32)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            ([0, 2], [0, 3], V, (1, 3)),
            ShapeError,
            "row 0 has a value in column 3, the matrix has 3",
        ),
        (([0, 2], [-1, 2], V, (1, 3)), ShapeError, "row 0 has a value in column -1"),
        (
            ([0, 2], [1, 1], V, (1, 3)),
            DataError,
            "row 0 has column 1 before 1; columns must ascend",
        ),
        (([0, 2], [2, 1], V, (1, 3)), DataError, "row 0 has column 2 before 1"),
        (
            ([0, 0, 2], [0, 1], V * np.float32([1, np.nan]), (2, 3)),
            DataError,
            "row 1, column 1 is nan",
        ),
        (([0, 2], [0, 1], V * np.inf, (1, 3)), DataError, "row 0, column 0 is inf"),
        (
            ([0, 2], [0, 1], V.astype(int), (1, 3)),
            ShapeError,
            "values are int64 (2,), must be float32",
        ),
        (
            ([0, 1], [0, 1], V, (1, 3)),
            DataError,
            "row offsets run from 0 to 1, must run from 0 to the",
        ),
        (([0, 3, 2], [0, 1], V, (2, 3)), DataError, "row 1 begins at 3 and ends at 2"),
        (([0, 2], [0, 1], V, (2, 3)), ShapeError, "2 rows need 3 row offsets, got 2"),
        (([0, 2], [0, 1], V[:1], (1, 3)), ShapeError, "2 columns but 1 values"),
        (
            ([0.0, 2.0], [0, 1], V, (1, 3)),
            ShapeError,
            "row_begin is float64 (2,), must be integers",
        ),
        (
            ([0, 2], [0, 2**40], V, (1, 3)),
            ShapeError,
            "columns holds a number that does not fit int32",
        ),
        (([0, 2], [0, 1], V, (1, 3, 1)), ShapeError, "shape is (1, 3, 1), must be two numbers"),
        (([0, 2], [0, 1], V, (-1, 3)), ShapeError, "shape is (-1, 3), must be two numbers"),
    ],
)
def test_malformed(arguments, error, message):
    with pytest.raises(error) as raised:
        SparseMatrix(*arguments)
    assert message in str(raised.value)


def test_from_dense_refuses_other_ranks_and_types():
    with pytest.raises(ShapeError, match=r"dense array is \(3,\), must have 2 axes"):
        SparseMatrix.from_dense(np.zeros(3, np.float32))
    with pytest.raises(ShapeError, match="values are float64"):
        SparseMatrix.from_dense(np.ones((2, 2)))


@pytest.mark.parametrize("module", [sparse, operators, sparse_products])
def test_docstrings(module):
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0
