"""One-dimensional k-means against a plain Lloyd iteration and brute force."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gluonzip.errors import ConfigError, DataError
from gluonzip.passes.share import kmeans, nearest
from gluonzip.spec import STARTS, WeightSharing

WEIGHTS = np.random.default_rng(4).laplace(size=3000).astype(np.float32)


def error(weights, book):
    return float(((weights - book.values[book.codes]) ** 2).sum())


def plain_lloyd(weights, centres):
    """The textbook's iteration, on all weights, until nothing changes."""
    while True:
        codes = np.abs(weights[:, None] - centres).argmin(axis=1)
        moved = np.array([weights[codes == k].mean() for k in range(len(centres))])
        if np.allclose(moved, centres, rtol=0, atol=1e-7):
            return np.sort(moved)
        centres = moved


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("entries", [1, 2, 16])
def test_the_means_are_those_of_a_plain_iteration(start, entries):
    book = kmeans(WEIGHTS, entries, start, seed=1)
    assert len(book.values) == entries
    assert book.values.dtype == np.float32
    for k, value in enumerate(book.values):
        np.testing.assert_allclose(value, WEIGHTS[book.codes == k].mean(), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(book.codes, np.abs(WEIGHTS[:, None] - book.values).argmin(axis=1))


def test_density_start_gives_what_the_textbook_gives():
    places = ((np.arange(8) + 0.5) / 8 * WEIGHTS.size).astype(int)
    expected = plain_lloyd(WEIGHTS.astype(np.float64), np.sort(WEIGHTS)[places])
    np.testing.assert_allclose(kmeans(WEIGHTS, 8, "density").values, expected, atol=2e-3)


def test_more_values_never_make_it_much_worse():
    errors = [error(WEIGHTS, kmeans(WEIGHTS, 2**bits, "density")) for bits in range(1, 9)]
    assert errors == sorted(errors, reverse=True)


@given(
    st.lists(st.floats(-4, 4, width=16), min_size=1, max_size=60),
    st.integers(1, 20),
    st.sampled_from(STARTS),
)
@settings(max_examples=150, derandomize=True, deadline=None)
def test_any_weights(values, entries, start):
    weights = np.array(values, np.float32)
    book = kmeans(weights, entries, start)
    distinct = np.unique(weights)
    assert 1 <= len(book.values) <= entries
    assert (np.diff(book.values) > 0).all()
    assert book.codes.min() >= 0
    assert book.codes.max() < len(book.values)
    if len(distinct) <= entries:
        np.testing.assert_array_equal(book.values[book.codes], weights)
    else:
        assert error(weights, book) <= error(weights, kmeans(weights, 1)) + 1e-4


def test_no_cluster_stays_empty():
    # A linear start puts most of its centres where there is no weight at all.
    weights = np.concatenate([np.linspace(0, 0.1, 500), [100.0]]).astype(np.float32)
    book = kmeans(weights, 16, "linear")
    assert len(book.values) == 16
    assert (np.bincount(book.codes, minlength=16) > 0).all()


def test_random_starts_are_of_their_seed():
    same = [kmeans(WEIGHTS, 16, "random", seed=3).values for _ in range(2)]
    assert np.array_equal(*same)
    assert not np.array_equal(same[0], kmeans(WEIGHTS, 16, "random", seed=4).values)


def test_nearest_takes_the_lower_of_two():
    np.testing.assert_array_equal(
        nearest(np.array([-9, 0.5, 0.6, 9]), np.array([0, 1])), [0, 0, 1, 1]
    )


def test_bad_arguments():
    with pytest.raises(ConfigError, match="start = 'middle' is unknown; use one of"):
        kmeans(WEIGHTS, 4, "middle")
    with pytest.raises(ConfigError, match="codebook of 0 entries"):
        kmeans(WEIGHTS, 0)
    with pytest.raises(DataError, match="at least one weight, and all of them finite"):
        kmeans(np.array([1, np.nan]), 4)
    with pytest.raises(DataError, match="at least one weight"):
        kmeans(np.zeros(0), 4)
    with pytest.raises(ConfigError, match="bits = 9 is not supported; use an integer from 1 to 8"):
        WeightSharing(bits=9)
    with pytest.raises(ConfigError, match="rate = -1 must be a number >= 0"):
        WeightSharing(rate=-1)
