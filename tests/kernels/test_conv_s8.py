"""int8 convolution kernels: the same integers and the same epilogue on every instruction set."""

from __future__ import annotations

import numpy as np
import pytest
from conv_cases import SHAPES, Case, cases, gemm, square, sums
from hypothesis import given, settings
from hypothesis import strategies as st
from stored_codes import HIGHEST, KINDS, LOWEST, ZERO, codes_of, random_bytes, stored_codes

from gluonzip import _core

quick = settings(max_examples=60, deadline=None, derandomize=True)
UNTOUCHED = 0xAB


def operands(case: Case, seed: int, kind: str = "s8") -> tuple[np.ndarray, np.ndarray]:
    """Stored bytes (N, H, W, stride), garbage in the gaps, and weights; often at the extremes."""
    random = np.random.default_rng(seed)
    stored = random.integers(0, 256, (case.n, case.h, case.w, case.stride_c)).astype(np.uint8)
    used = (*stored.shape[:3], case.channels)
    stored[..., : case.channels] = random_bytes(random, kind, used)
    shape = (case.out_channels, case.kh, case.kw, case.channels)
    weights = random.integers(-127, 128, shape).astype(np.int8)
    if seed % 3 == 0:
        stored[random.random(stored.shape) < 0.7] = 255
        weights[random.random(weights.shape) < 0.7] = 127
    return stored, weights


def oracle_sums(
    case: Case, stored: np.ndarray, weights: np.ndarray, kind: str = "s8"
) -> np.ndarray:
    return sums(case, codes_of(stored[..., : case.channels], kind), weights.astype(np.int64))


def packed(case: Case, weights: np.ndarray, isa: str, kind: str = "s8"):
    return _core.PackedConvS8(case.geometry() | {"zero": ZERO[kind]}, weights, isa)


def raw(case, isa, stored, weights, kind="s8", **cuts: int) -> np.ndarray:
    conv = packed(case, weights, isa, kind)
    out = conv.run(stored, "s32", case.out_channels, **cuts)
    return out.reshape(case.rows, case.out_channels)


@quick
@given(
    case=cases(),
    seed=st.integers(0, 99),
    cuts=st.tuples(st.integers(0, 9), st.integers(0, 3)),
    kind=st.sampled_from(KINDS),
)
def test_sums_are_exact(isa, case, seed, cuts, kind):
    stored, weights = operands(case, seed, kind)
    got = raw(case, isa, stored, weights, kind, row_cut=cuts[0], panel_cut=cuts[1])
    np.testing.assert_array_equal(got, oracle_sums(case, stored, weights, kind))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", SHAPES)
def test_each_class_of_shapes_is_exact(isa, name, kind):
    case = SHAPES[name]
    stored, weights = operands(case, 1, kind)
    np.testing.assert_array_equal(
        raw(case, isa, stored, weights, kind, row_cut=2), oracle_sums(case, stored, weights, kind)
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sign", [-127, 127])
@pytest.mark.parametrize("case", [gemm(7, 65, 4099), square(5, 130, 20, 3, pad=1)], ids=str)
def test_the_largest_products_do_not_saturate(isa, case, sign, kind):
    stored = np.full((case.n, case.h, case.w, case.stride_c), 255, np.uint8)
    weights = np.full((case.out_channels, case.kh, case.kw, case.channels), sign, np.int8)
    np.testing.assert_array_equal(
        raw(case, isa, stored, weights, kind), oracle_sums(case, stored, weights, kind)
    )


@st.composite
def epilogues(draw):
    lo = draw(st.sampled_from([-np.inf, 0.0, -3.25, 140.0]))
    return {
        "output": draw(st.sampled_from([*KINDS, "f32"])),
        "residual": draw(st.sampled_from([None, *KINDS, "f32"])),
        "slope": draw(st.sampled_from([None, None, 0.1])),
        "lo": lo,
        "hi": draw(st.sampled_from([np.inf, max(lo, 6.0), max(lo, 126.7), max(lo, 200.2)])),
        "extra": draw(st.integers(0, 5)),
    }


def oracle_epilogue(
    total, multiplier, bias, residual, residual_type, factor, slope, lo, hi, output
):
    """As csrc/kernels/epilogue.h says, one rounding at a time."""
    y = total.astype(np.float32) * multiplier + bias
    if residual is not None:
        wide = residual if residual_type == "f32" else codes_of(residual, residual_type)
        y = y + wide.astype(np.float32) * np.float32(factor)
    if slope is not None:
        y = np.where(y < 0, y * np.float32(slope), y)
    y = np.clip(y, np.float32(lo), np.float32(hi))
    if output == "f32":
        return y
    return stored_codes(y, output)


def random_residual(random, kind: str | None, shape: tuple[int, int]) -> np.ndarray | None:
    if kind is None:
        return None
    stored = random_bytes(random, "u8" if kind == "f32" else kind, shape)
    return stored.astype(np.float32) if kind == "f32" else stored


@quick
@given(case=cases(), seed=st.integers(0, 99), epilogue=epilogues(), kind=st.sampled_from(KINDS))
def test_the_epilogue_rounds_as_written(isa, case, seed, epilogue, kind):
    stored, weights = operands(case, seed, kind)
    random = np.random.default_rng(seed)
    stride, channels = case.out_channels + epilogue["extra"], case.out_channels
    terms = case.kh * case.kw * case.channels
    multiplier = random.uniform(0, 0.02 / np.sqrt(terms), channels).astype(np.float32)
    if seed % 4 == 0:
        multiplier[:] = 0.5  # ties
    bias = (random.integers(-80, 80, channels) * 0.5).astype(np.float32)
    residual = random_residual(random, epilogue["residual"], (case.rows, stride))
    added = epilogue["residual"] or "s8"
    out = packed(case, weights, isa, kind).run(
        stored, epilogue["output"], stride, multiplier, bias, residual, added, 0.37,
        epilogue["slope"], epilogue["lo"], epilogue["hi"], row_cut=1, panel_cut=1,
    ).reshape(case.rows, stride)  # fmt: skip
    expected = oracle_epilogue(
        oracle_sums(case, stored, weights, kind), multiplier, bias,
        None if residual is None else residual[:, :channels], added, 0.37, epilogue["slope"],
        epilogue["lo"], epilogue["hi"], epilogue["output"],
    )  # fmt: skip
    np.testing.assert_array_equal(out[:, :channels], expected)
    gap = np.ascontiguousarray(out[:, channels:])
    assert (gap.view(np.uint8) == UNTOUCHED).all(), "wrote past the last channel of a row"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [3e9, -3e9, 1e30, -1e30, np.inf, -np.inf, np.nan])
def test_values_beyond_int32_become_the_nearest_code(isa, value, kind):
    case = gemm(9, 64, 8)
    stored, weights = operands(case, seed=2)
    zero, bias = np.zeros(64, np.float32), np.full(64, value, np.float32)
    out = _core.PackedConvS8(case.geometry(), weights, isa).run(stored, kind, 64, zero, bias)
    assert (codes_of(out, kind) == (HIGHEST if value > 0 else LOWEST)[kind]).all()
