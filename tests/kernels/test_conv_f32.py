"""float32 convolution kernels, against float64."""

from __future__ import annotations

import numpy as np
import pytest
from conv_cases import SHAPES, Case, cases, sums
from hypothesis import given, settings
from hypothesis import strategies as st

from gluonzip import _core

EPS = np.finfo(np.float32).eps


def operands(case: Case, seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    x = random.normal(size=(case.n, case.h, case.w, case.stride_c)).astype(np.float32)
    shape = (case.out_channels, case.kh, case.kw, case.channels)
    return x, random.normal(size=shape).astype(np.float32)


def check_sums(got: np.ndarray, case: Case, x: np.ndarray, weights: np.ndarray) -> None:
    """The bound of csrc/kernels/conv_f32/contract.h: that of a dot product in any order."""
    wide, taps = x[..., : case.channels].astype(np.float64), weights.astype(np.float64)
    terms = case.kh * case.kw * case.channels
    bound = 4 * EPS * terms * sums(case, np.abs(wide), np.abs(taps))
    assert (np.abs(got - sums(case, wide, taps)) <= bound).all()


def run(case: Case, isa: str, x: np.ndarray, weights: np.ndarray, **cuts: int) -> np.ndarray:
    conv = _core.PackedConvF32(case.geometry(), weights, isa)
    return conv.run(x, "f32", case.out_channels, **cuts).reshape(case.rows, case.out_channels)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(case=cases(), seed=st.integers(0, 99), cuts=st.tuples(st.integers(0, 9), st.integers(0, 3)))
def test_sums_stay_within_the_bound(isa, case, seed, cuts):
    x, weights = operands(case, seed)
    check_sums(run(case, isa, x, weights, row_cut=cuts[0], panel_cut=cuts[1]), case, x, weights)


@pytest.mark.parametrize("name", SHAPES)
def test_each_class_of_shapes_stays_within_the_bound(isa, name):
    x, weights = operands(SHAPES[name], seed=1)
    check_sums(run(SHAPES[name], isa, x, weights, row_cut=2), SHAPES[name], x, weights)


@pytest.mark.parametrize("out_channels", [5, 16, 48, 64, 70])
@pytest.mark.parametrize("with_residual", [False, True])
@pytest.mark.parametrize("slope", [None, 0.25])
def test_the_epilogue(isa, out_channels, with_residual, slope):
    case = Case(h=5, w=6, channels=9, kh=3, kw=3, out_channels=out_channels)
    x, weights = operands(case, seed=3)
    random = np.random.default_rng(4)
    bias = random.normal(size=out_channels).astype(np.float32)
    residual = random.normal(size=(case.rows, out_channels)).astype(np.float32)
    out = _core.PackedConvF32(case.geometry(), weights, isa).run(
        x, "f32", out_channels, None, bias, residual if with_residual else None, "f32", 0.5,
        slope, -1.0, 6.0,
    )  # fmt: skip
    y = sums(case, x[..., : case.channels].astype(np.float64), weights) + bias
    y = y + 0.5 * residual * with_residual
    y = np.clip(y if slope is None else np.where(y < 0, slope * y, y), -1, 6)
    np.testing.assert_allclose(out.reshape(y.shape), y, rtol=0, atol=2e-5)


def test_codes_as_output(isa):
    case = Case(w=13, channels=16, out_channels=21)
    x, weights = operands(case, seed=5)
    multiplier = np.full(21, 3.0, np.float32)
    conv = _core.PackedConvF32(case.geometry(), weights, isa)
    out = conv.run(x, "s8", 21, multiplier, lo=0.0).reshape(case.rows, 21)
    y = 3.0 * sums(case, x.astype(np.float64)[..., :16], weights)
    assert (np.abs(out - 128.0 - np.clip(y, 0, 127)) <= 0.5 + 1e-3).all()
