"""Zeros and values chosen by their bits: against brute force, and monotone where it must be."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gluonzip.passes.share import entropy_bits, entropy_constrained, keep_by_rate, kmeans

WEIGHTS = np.random.default_rng(5).laplace(size=4000).astype(np.float32)


def values_of(assigned):
    return np.concatenate([assigned.values, [0]])[assigned.codes]


def test_entropy_of_known_counts():
    assert entropy_bits(np.array([8, 8])) == 16
    assert entropy_bits(np.array([5, 0])) == 0
    assert entropy_bits(np.array([], int)) == 0


def test_rate_zero_is_k_means_of_what_is_not_zero():
    weights = WEIGHTS * (np.abs(WEIGHTS) > 1)
    assigned = entropy_constrained(weights, 8, 0.0)
    book = kmeans(weights[weights != 0], 8)
    np.testing.assert_array_equal(assigned.values, book.values)
    np.testing.assert_array_equal(assigned.codes == -1, weights == 0)
    assert assigned.bits == pytest.approx(entropy_bits(np.bincount(assigned.codes + 1)))


def test_a_higher_rate_buys_bits_with_error():
    outcomes = [entropy_constrained(WEIGHTS, 16, rate) for rate in (0, 0.01, 0.03, 0.1, 0.3)]
    bits = [a.bits for a in outcomes]
    errors = [float(((WEIGHTS - values_of(a)) ** 2).sum()) for a in outcomes]
    assert bits == sorted(bits, reverse=True)
    assert bits[-1] < bits[0] / 2
    assert errors == sorted(errors)


def test_it_beats_nearest_values_of_equal_bits():
    """Entropy-constrained against plain k-means of fewer values, both at about the same bits."""
    constrained = entropy_constrained(WEIGHTS, 32, 0.02)
    plain = min(
        (entropy_constrained(WEIGHTS, n, 0.0) for n in range(2, 33)),
        key=lambda a: abs(a.bits - constrained.bits),
    )
    wrong = [float(((WEIGHTS - values_of(a)) ** 2).sum()) for a in (constrained, plain)]
    assert plain.bits > 0.95 * constrained.bits
    assert wrong[0] < 0.95 * wrong[1]


def test_curvature_protects_what_matters():
    curvature = np.where(np.arange(WEIGHTS.size) % 2, 100.0, 0.1)
    wrong = (WEIGHTS - values_of(entropy_constrained(WEIGHTS, 8, 0.3, curvature))) ** 2
    assert wrong[1::2].mean() < 0.2 * wrong[::2].mean()


def test_all_zero_and_empty():
    assert entropy_constrained(np.zeros(9, np.float32), 4, 0.1).codes.tolist() == [-1] * 9
    assert entropy_constrained(np.zeros(0, np.float32), 4, 0.1).bits == 0


@given(
    st.lists(st.floats(-2, 2, width=16), min_size=1, max_size=80),
    st.integers(1, 9),
    st.sampled_from([0.0, 0.01, 0.2, 5.0]),
)
@settings(max_examples=150, derandomize=True, deadline=None)
def test_any_weights(values, entries, rate):
    weights = np.array(values, np.float32)
    assigned = entropy_constrained(weights, entries, rate)
    assert len(assigned.values) <= entries
    assert (assigned.values != 0).all()
    assert (assigned.codes[weights == 0] == -1).all()
    used = np.unique(assigned.codes[assigned.codes >= 0])
    np.testing.assert_array_equal(used, np.arange(len(assigned.values)))


# ---------------------------------------------------------------- which weights to keep
def cost(masks, value_bits):
    return sum(
        entropy_bits(np.bincount(m.ravel().astype(int), minlength=2)) + m.sum() * value_bits
        for m in masks.values()
    )


def test_the_budget_holds_and_is_used():
    random = np.random.default_rng(1)
    weights = {"a": random.normal(size=(50, 40)), "b": random.normal(size=500) * 0.2}
    curvatures = {key: np.ones(w.shape) for key, w in weights.items()}
    for budget in (300, 1500, 4000):
        masks, _ = keep_by_rate(weights, curvatures, 3.0, budget)
        assert 0.9 * budget < cost(masks, 3.0) <= budget
        assert masks["a"].mean() > masks["b"].mean()
        for key, mask in masks.items():  # the largest are kept
            kept, gone = np.abs(weights[key][mask]), np.abs(weights[key][~mask])
            assert kept.min(initial=np.inf) >= gone.max(initial=0)


def test_a_budget_of_plenty_keeps_everything_but_zeros():
    weights = {"a": np.array([1.0, 0.0, -2.0])}
    masks, rate = keep_by_rate(weights, {"a": np.ones(3)}, 3.0, 1e6)
    assert masks["a"].tolist() == [True, False, True]
    assert rate == 0


def test_no_choice_within_the_budget_is_worth_more_in_a_small_case():
    """Against all subsets, for the objective that the rate stands for."""
    random = np.random.default_rng(2)
    gains = random.exponential(size=9)
    weights, curvatures = {"a": np.sqrt(gains)}, {"a": np.ones(9)}
    masks, rate = keep_by_rate(weights, curvatures, 2.0, 14.0)
    chosen = gains[masks["a"]].sum()
    spent = cost(masks, 2.0)
    for size in range(10):
        for subset in itertools.combinations(range(9), size):
            mask = np.isin(np.arange(9), subset)
            if cost({"a": mask}, 2.0) <= spent:
                assert gains[mask].sum() <= chosen + 1e-9
    assert rate > 0
