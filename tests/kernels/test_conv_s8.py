"""int8 convolution kernels: the same integers and the same epilogue on every instruction set."""

from __future__ import annotations

import numpy as np
import pytest
from conv_cases import SHAPES, Case, cases, gemm, square, sums
from hypothesis import given, settings
from hypothesis import strategies as st

from gluonzip import _core

quick = settings(max_examples=60, deadline=None, derandomize=True)
UNTOUCHED = 0xAB


def operands(case: Case, seed: int, low: int = -127) -> tuple[np.ndarray, np.ndarray]:
    """Stored bytes (N, H, W, stride), garbage in the gaps, and weights; often at the extremes."""
    random = np.random.default_rng(seed)
    stored = random.integers(0, 256, (case.n, case.h, case.w, case.stride_c)).astype(np.uint8)
    stored[..., : case.channels] = random.integers(1, 256, stored[..., : case.channels].shape)
    shape = (case.out_channels, case.kh, case.kw, case.channels)
    weights = random.integers(low, 128, shape).astype(np.int8)
    if seed % 3 == 0:
        stored[random.random(stored.shape) < 0.7] = 255
        weights[random.random(weights.shape) < 0.7] = 127
    return stored, weights


def oracle_sums(case: Case, stored: np.ndarray, weights: np.ndarray) -> np.ndarray:
    codes = stored[..., : case.channels].astype(np.int64) - 128
    return sums(case, codes, weights.astype(np.int64))


def raw(case: Case, isa: str, stored: np.ndarray, weights: np.ndarray, **cuts: int) -> np.ndarray:
    conv = _core.PackedConvS8(case.geometry(), weights, isa)
    out = conv.run(stored, "s32", case.out_channels, **cuts)
    return out.reshape(case.rows, case.out_channels)


@quick
@given(case=cases(), seed=st.integers(0, 99), cuts=st.tuples(st.integers(0, 9), st.integers(0, 3)))
def test_sums_are_exact(isa, case, seed, cuts):
    stored, weights = operands(case, seed)
    got = raw(case, isa, stored, weights, row_cut=cuts[0], panel_cut=cuts[1])
    np.testing.assert_array_equal(got, oracle_sums(case, stored, weights))


@pytest.mark.parametrize("name", SHAPES)
def test_each_class_of_shapes_is_exact(isa, name):
    case = SHAPES[name]
    stored, weights = operands(case, seed=1)
    np.testing.assert_array_equal(
        raw(case, isa, stored, weights, row_cut=2), oracle_sums(case, stored, weights)
    )


@pytest.mark.parametrize("sign", [-127, 127])
@pytest.mark.parametrize("case", [gemm(7, 65, 4099), square(5, 130, 20, 3, pad=1)], ids=str)
def test_the_largest_products_do_not_saturate(isa, case, sign):
    stored = np.full((case.n, case.h, case.w, case.stride_c), 255, np.uint8)
    weights = np.full((case.out_channels, case.kh, case.kw, case.channels), sign, np.int8)
    np.testing.assert_array_equal(
        raw(case, isa, stored, weights), oracle_sums(case, stored, weights)
    )


@st.composite
def epilogues(draw):
    lo = draw(st.sampled_from([-np.inf, 0.0, -3.25, 140.0]))
    return {
        "output": draw(st.sampled_from(["u8", "u8", "f32"])),
        "residual": draw(st.sampled_from([None, np.uint8, np.float32])),
        "slope": draw(st.sampled_from([None, None, 0.1])),
        "lo": lo,
        "hi": draw(st.sampled_from([np.inf, max(lo, 6.0), max(lo, 126.7)])),
        "extra": draw(st.integers(0, 5)),
    }


def oracle_epilogue(total, multiplier, bias, residual, factor, slope, lo, hi, output):
    """As csrc/kernels/epilogue.h says, one rounding at a time."""
    y = total.astype(np.float32) * multiplier + bias
    if residual is not None:
        wide = residual.astype(np.int32) - 128 if residual.dtype == np.uint8 else residual
        y = y + wide.astype(np.float32) * np.float32(factor)
    if slope is not None:
        y = np.where(y < 0, y * np.float32(slope), y)
    y = np.clip(y, np.float32(lo), np.float32(hi))
    if output == "f32":
        return y
    return (np.rint(np.clip(y, -127, 127)) + 128).astype(np.uint8)


@quick
@given(case=cases(), seed=st.integers(0, 99), epilogue=epilogues())
def test_the_epilogue_rounds_as_written(isa, case, seed, epilogue):
    stored, weights = operands(case, seed)
    random = np.random.default_rng(seed)
    stride, channels = case.out_channels + epilogue["extra"], case.out_channels
    terms = case.kh * case.kw * case.channels
    multiplier = random.uniform(0, 0.02 / np.sqrt(terms), channels).astype(np.float32)
    if seed % 4 == 0:
        multiplier[:] = 0.5  # ties
    bias = (random.integers(-80, 80, channels) * 0.5).astype(np.float32)
    residual = None
    if epilogue["residual"] is not None:
        residual = random.integers(1, 256, (case.rows, stride)).astype(epilogue["residual"])
    conv = _core.PackedConvS8(case.geometry(), weights, isa)
    out = conv.run(
        stored, epilogue["output"], stride, multiplier, bias, residual, 0.37, epilogue["slope"],
        epilogue["lo"], epilogue["hi"], row_cut=1, panel_cut=1,
    ).reshape(case.rows, stride)  # fmt: skip
    expected = oracle_epilogue(
        oracle_sums(case, stored, weights), multiplier, bias,
        None if residual is None else residual[:, :channels], 0.37, epilogue["slope"],
        epilogue["lo"], epilogue["hi"], epilogue["output"],
    )  # fmt: skip
    np.testing.assert_array_equal(out[:, :channels], expected)
    gap = np.ascontiguousarray(out[:, channels:])
    assert (gap.view(np.uint8) == UNTOUCHED).all(), "wrote past the last channel of a row"


@pytest.mark.parametrize("value", [3e9, -3e9, 1e30, -1e30, np.inf, -np.inf])
def test_values_beyond_int32_become_the_nearest_code(isa, value):
    case = gemm(9, 64, 8)
    stored, weights = operands(case, seed=2)
    zero, bias = np.zeros(64, np.float32), np.full(64, value, np.float32)
    out = _core.PackedConvS8(case.geometry(), weights, isa).run(stored, "u8", 64, zero, bias)
    assert (out == (255 if value > 0 else 1)).all()
