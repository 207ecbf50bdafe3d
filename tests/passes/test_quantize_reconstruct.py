"""A layer fitted to quantized inputs, against least squares and brute force."""

import itertools

import numpy as np
import pytest

from gluonzip.graph import Constant, Node
from gluonzip.passes.quantize import reconstruct
from gluonzip.passes.quantize.reconstruct import LayerFit
from gluonzip.passes.quantize.schemes import scale_of

DENSE = Node("dense", "fc", ["x", "w"], ["y"])


def nearest(weight, bits):
    scale = scale_of(np.abs(weight).max(axis=1), bits)
    codes = np.rint(weight / scale[:, None]).astype(np.int8)
    return Constant(codes, scale, 0, bits)


def fit(x, given, weight, bias, bits=8, residuals=()):
    layer = LayerFit(DENSE, weight, bias)
    for part in (slice(0, len(x) // 2), slice(len(x) // 2, None)):
        layer.feed(x[part], given[part], *(r[part] for r in residuals))
    return layer.solve(nearest(weight, bits))


@pytest.fixture
def case():
    """Correlated inputs, and the same with coarse rounding."""
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(400, 3)) @ rng.normal(size=(3, 8)) + 5).astype(np.float32)
    given = (np.rint(x / 2) * 2 + 0.3).astype(np.float32)
    return x, given, rng.normal(size=(4, 8)).astype(np.float32), np.ones(4, np.float32)


def test_real_weights_are_those_of_least_squares(case, monkeypatch):
    x, given, weight, bias = case
    monkeypatch.setattr(reconstruct, "DAMPING", 0.0)
    seen = []
    monkeypatch.setattr(
        reconstruct, "_rounded", lambda wanted, *rest: seen.append(wanted) or rest[1]
    )
    fit(x, given, weight, bias)
    columns = np.concatenate([given, np.ones((len(x), 1))], axis=1)
    expected = np.linalg.lstsq(columns, x @ weight.T + bias, rcond=None)[0]
    np.testing.assert_allclose(seen[0][0], expected[:-1].T, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("bits", [3, 8])
def test_the_error_is_smaller_than_that_of_rounding_and_its_mean_is_zero(case, bits):
    x, given, weight, bias = case
    constant, fitted = fit(x, given, weight, bias, bits)
    target = x @ weight.T + bias
    plain = target - (given @ nearest(weight, bits).dense().T + bias)
    error = target - (given @ constant.dense().T + fitted)
    assert (np.square(error).mean(axis=0) < np.square(plain).mean(axis=0)).all()
    np.testing.assert_allclose(error.mean(axis=0), 0, atol=1e-3)
    assert constant.bits == bits


def test_near_the_best_of_all_codes():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(200, 4)).astype(np.float32) @ rng.normal(size=(4, 4)).astype(np.float32)
    given = x + 0.1 * rng.normal(size=x.shape).astype(np.float32)
    weight, bias = rng.normal(size=(1, 4)).astype(np.float32), np.zeros(1, np.float32)
    constant, _ = fit(x, given, weight, bias, bits=3)
    target = x @ weight.T

    def error(codes):
        found = given @ (np.array(codes) * constant.scale[0])
        return np.var(target[:, 0] - found)

    best = min(map(error, itertools.product(range(-3, 4), repeat=4)))
    assert error(constant.data[0]) <= 1.05 * best + 1e-3 * np.var(target)


def test_errors_of_what_is_added_are_made_up_for(case):
    x, given, weight, bias = case
    rng = np.random.default_rng(5)
    mix = rng.normal(size=(8, 4)).astype(np.float32)
    added, rounded = x @ mix, given @ mix
    alone, with_residual = (
        fit(x, given, weight, bias, residuals=r) for r in ((), (added, rounded))
    )
    target = x @ weight.T + bias + added

    def error(found):
        constant, fitted = found
        return np.square(target - (given @ constant.dense().T + fitted + rounded)).mean()

    assert error(with_residual) < 0.5 * error(alone)


def test_pruned_weights_stay_zero(case):
    x, given, weight, bias = case
    weight[:, ::2] = 0
    constant, _ = fit(x, given, weight, bias)
    assert (constant.data[:, ::2] == 0).all()
    assert (constant.data[:, 1::2] != 0).any()


def test_constant_and_zero_inputs(case):
    x, _, weight, bias = case
    for given in (np.zeros_like(x), np.full_like(x, 3)):
        constant, fitted = fit(x, given, weight, bias)
        np.testing.assert_allclose(
            (given @ constant.dense().T + fitted).mean(axis=0),
            (x @ weight.T + bias).mean(axis=0),
            rtol=1e-4, atol=1e-3,
        )  # fmt: skip


@pytest.mark.parametrize(("widest", "bits"), [(4, 8), (4608, 2)])
def test_wide_layers_and_two_bits_keep_their_weights(case, monkeypatch, widest, bits):
    x, given, weight, bias = case
    monkeypatch.setattr(reconstruct, "WIDEST", widest)
    constant, fitted = fit(x, given, weight, bias, bits)
    np.testing.assert_array_equal(constant.data, nearest(weight, bits).data)
    error = x @ weight.T + bias - (given @ constant.dense().T + fitted)
    np.testing.assert_allclose(error.mean(axis=0), 0, atol=1e-3)
