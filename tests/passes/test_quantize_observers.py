"""Statistics and observers against NumPy and brute force."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gluonzip import _core
from gluonzip.errors import ConfigError, DataError
from gluonzip.passes.quantize import OBSERVERS, Statistics, calibrate, observe, observer
from gluonzip.passes.quantize.observers import percentile
from gluonzip.passes.quantize.statistics import BINS
from gluonzip.spec import ActivationQuantization, max_code


def fed(*batches, histogram=True):
    statistics = Statistics("tensor 'x'", histogram)
    for index, batch in enumerate(batches):
        statistics.feed(np.asarray(batch, np.float32), index)
    return statistics


def gaussian(size=20000, seed=0):
    return np.random.default_rng(seed).standard_normal(size).astype(np.float32)


# ---------------------------------------------------------------- statistics
@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.lists(
        st.lists(st.floats(-(2.0**99), 2.0**99, width=32), min_size=1, max_size=40),
        min_size=1,
        max_size=5,
    )
)
def test_histogram_counts_every_value_where_it_belongs(batches):
    statistics = fed(*batches)
    x = np.abs(np.concatenate([np.asarray(b, np.float32) for b in batches]))
    assert statistics.count == x.size
    assert statistics.zeros == np.count_nonzero(x == 0)
    assert statistics.counts.sum() == np.count_nonzero(x)
    assert statistics.peak == x.max()
    if x.max() > 0:
        assert statistics.peak < statistics.width * BINS
        edges = np.arange(BINS + 1) * statistics.width
        expected = np.histogram(x[x > 0].astype(np.float64), edges)[0]
        np.testing.assert_array_equal(statistics.counts, expected)


def test_half_of_the_bins_at_least_are_used_and_order_does_not_matter():
    x = gaussian()
    forth, back = fed(x / 1000, x, x * 3), fed(x * 3, x, x / 1000)
    assert np.flatnonzero(forth.counts).max() >= BINS // 2
    np.testing.assert_array_equal(forth.counts, back.counts)


def test_denormal_and_zero_tensors():
    assert fed(np.zeros(5)).peak == 0
    assert fed(np.zeros(5)).zeros == 5
    tiny = fed(np.array([1e-44, 0]))
    assert tiny.counts.sum() == 1
    assert tiny.zeros == 1


def test_bad_batches_are_named():
    statistics = fed([1, 2])
    with pytest.raises(DataError, match="batch 7: tensor 'x' has 2 non-finite values .* of 3"):
        statistics.feed(np.array([1, np.nan, np.inf], np.float32), 7)
    with pytest.raises(DataError, match="batch 8: tensor 'x' is empty"):
        statistics.feed(np.zeros((0, 3), np.float32), 8)


# ---------------------------------------------------------------- observers
def test_minmax_and_moving_average():
    statistics = fed([1, -4], [2], [0, 3], histogram=False)
    assert observe("minmax", statistics, 8) == 4
    assert observe("moving_average", statistics, 8) == pytest.approx(
        (4 * 0.9 + 0.1 * 2) * 0.9 + 0.1 * 3
    )


@pytest.mark.parametrize("share", [50, 90, 99, 99.99, 100])
def test_percentile_is_numpys_up_to_a_bin(share):
    x = np.maximum(gaussian(), -0.5)
    statistics = fed(x[:5000], x[5000:])
    got = percentile(statistics, 8, share=share)
    assert got == pytest.approx(np.percentile(np.abs(x), share), abs=2 * statistics.width)


def test_percentile_of_mostly_zeros_is_above_zero():
    x = np.zeros(10**5)
    x[0] = 3
    assert 0 < observe("percentile", fed(x), 8) <= 3 * (1 + 1 / BINS)


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_mse_is_the_best_range_of_a_brute_force_search(bits):
    x = gaussian()
    x[0] = 40  # an outlier
    statistics, limit = fed(x), max_code(bits)

    def error(peak):
        scale = peak / limit
        return np.square(x - np.clip(np.rint(x / scale), -limit, limit) * scale).mean()

    found = observe("mse", statistics, bits)
    best = min(error(peak) for peak in np.linspace(0.02, 1, 400) * 40)
    assert error(found) <= 1.02 * best
    assert error(found) < error(40)


def divergence(counts, kept, levels):
    """KL(P || Q) as TensorRT's calibration defines it, slowly."""
    p = counts[:kept].astype(float)
    q = np.zeros(kept)
    p[-1] += counts[kept:].sum()
    for level in range(levels):
        begin, end = level * kept // levels, (level + 1) * kept // levels
        group = counts[begin:end].astype(float)
        hit = p[begin:end] > 0
        mass = group.sum()
        if level == levels - 1 and counts[kept:].sum():
            mass = max(mass, 0.5)
        if hit.any():
            q[begin:end][hit] = mass / hit.sum()
    p, q = p / p.sum(), q / max(counts[:kept].sum(), 0.5)
    some = p > 0
    return float((p[some] * np.log(p[some] / q[some])).sum())


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.integers(0, 10**6), st.sampled_from([4, 8, 16]), st.integers(20, 90))
def test_kl_is_the_least_divergence_of_a_brute_force_search(seed, levels, bins):
    rng = np.random.default_rng(seed)
    counts = rng.poisson(200 * np.exp(-np.arange(bins) / rng.uniform(2, 20)))
    if not counts.any():
        counts[0] = 1
    used = max(levels, int(np.flatnonzero(counts).max()) + 1)
    found = _core.kl_bins(counts.astype(np.int64), levels)
    least = min(divergence(counts[:used], kept, levels) for kept in range(levels, used + 1))
    assert divergence(counts[:used], found, levels) == pytest.approx(least, abs=1e-9)


def test_kl_cuts_off_an_outlier():
    x = gaussian(10**5)
    assert observe("kl", fed(np.append(x, 100)), 8) < 20
    assert observe("kl", fed(x), 8) > 2


@pytest.mark.parametrize("name", sorted(OBSERVERS))
@pytest.mark.parametrize("bits", [2, 8])
def test_odd_tensors(name, bits):
    assert observe(name, fed(np.zeros(9)), bits) == 0
    for value in (1.0, 1e30, 1e-30, -7.0):
        found = observe(name, fed(np.full(9, value)), bits)
        assert 0 < found <= abs(np.float32(value)) * (1 + 1e-6)
    assert np.isfinite(observe(name, fed([3.0]), bits))


# ---------------------------------------------------------------- registry
def test_unknown_names_and_senseless_answers():
    with pytest.raises(ConfigError, match="observer 'entropy' is unknown; use one of minmax, "):
        observe("entropy", fed([1.0]), 8)
    with pytest.raises(ConfigError, match="gave nan for tensor 'x'"):
        observe(lambda statistics, bits: float("nan"), fed([1.0]), 8)
    with pytest.raises(ConfigError, match="'kl' needs a histogram, and none was kept"):
        observe("kl", fed([1.0], histogram=False), 8)
    with pytest.raises(ConfigError, match="share = 0 must be above 0"):
        percentile(fed([1.0]), 8, share=0)


def test_an_observer_of_ones_own(monkeypatch, networks, sample):
    monkeypatch.delitem(OBSERVERS, "half", raising=False)

    @observer("half", histogram=False)
    def half(statistics, bits):
        return statistics.peak / 2

    try:
        graph = networks["inception"]()
        whole = calibrate(graph, [sample(graph)])
        for what in ("half", half, functools.partial(percentile, share=100)):
            got = calibrate(
                graph, [sample(graph)], activations=ActivationQuantization(observer=what)
            )
            factor = 1 if isinstance(what, functools.partial) else 2
            assert {k: v * factor for k, v in got.items()} == pytest.approx(whole, rel=1e-3)
    finally:
        del OBSERVERS["half"]
