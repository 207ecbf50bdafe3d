"""Sparse convolution kernels: int8 equals the dense kernel to the bit, float32 is near float64."""

from __future__ import annotations

import numpy as np
import pytest
from conv_cases import SHAPES, Case, cases, gemm, square, sums
from hypothesis import given, settings
from hypothesis import strategies as st
from stored_codes import HIGHEST, KINDS, ZERO, codes_of

from gluonzip import _core

quick = settings(max_examples=60, deadline=None, derandomize=True)
EPS = np.finfo(np.float32).eps
PATTERNS = ["blocks", "unstructured", "rows", "none", "all"]


def pruned(case: Case, dtype: type, pattern: str, density: float, seed: int) -> np.ndarray:
    """Weights [out][kh][kw][channels] with zeros in a pattern."""
    random = np.random.default_rng(seed)
    shape = (case.out_channels, case.kh, case.kw, case.channels)
    if dtype is np.int8:
        weights = random.integers(-127, 128, shape).astype(np.int8)
        if seed % 3 == 0:
            weights[...] = 127
    else:
        weights = random.normal(size=shape).astype(np.float32)
    if pattern == "blocks":
        keep = random.random((*shape[:3], -(-case.channels // 4))) < density
        weights *= np.repeat(keep, 4, axis=3)[..., : case.channels]
    elif pattern == "unstructured":
        weights *= random.random(shape) < density
    elif pattern == "rows":
        weights *= random.random((case.out_channels, 1, 1, 1)) < density
    elif pattern == "none":
        weights[...] = 0
    return weights


def stored_bytes(case: Case, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    stored = random.integers(0, 256, (case.n, case.h, case.w, case.stride_c)).astype(np.uint8)
    if seed % 3 == 0:
        stored[random.random(stored.shape) < 0.7] = 255
    return stored


def packed(name: str, case: Case, weights: np.ndarray, isa: str, kind: str = "s8"):
    return getattr(_core, name)(case.geometry() | {"zero": ZERO[kind]}, weights, isa)


def exact_sums(case: Case, stored: np.ndarray, weights: np.ndarray, kind: str) -> np.ndarray:
    return sums(case, codes_of(stored[..., : case.channels], kind), weights.astype(np.int64))


patterns = st.tuples(st.sampled_from(PATTERNS), st.sampled_from([0.02, 0.25, 0.6]))


@quick
@given(
    case=cases(),
    seed=st.integers(0, 99),
    cuts=st.tuples(st.integers(0, 9), st.integers(0, 3)),
    pattern=patterns,
    kind=st.sampled_from(KINDS),
)
def test_sums_of_codes_are_exact(isa, case, seed, cuts, pattern, kind):
    stored, weights = stored_bytes(case, seed), pruned(case, np.int8, *pattern, seed)
    conv = packed("SparseConvS8", case, weights, isa, kind)
    got = conv.run(stored, "s32", case.out_channels, row_cut=cuts[0], panel_cut=cuts[1])
    expected = exact_sums(case, stored, weights, kind)
    np.testing.assert_array_equal(got.reshape(expected.shape), expected)


# Several slices of the depth; more pixels than a chunk; taps that slices cut in two.
DEEP = {
    "one row": gemm(1, 33, 1030),
    "few rows": gemm(20, 50, 4099),
    "chunks": gemm(300, 32, 96),
    "1x1": square(14, 520, 48, 1),
    "3x3": square(9, 132, 40, 3, pad=1),
    "strided": square(15, 72, 64, 3, stride=2, pad=1),
}


@pytest.mark.parametrize("name", [*SHAPES, *DEEP])
@pytest.mark.parametrize(("pattern", "kind"), [("blocks", "s8"), ("unstructured", "u8")])
def test_each_class_of_shapes_is_exact(isa, name, pattern, kind):
    case = (SHAPES | DEEP)[name]
    stored, weights = stored_bytes(case, 1), pruned(case, np.int8, pattern, 0.25, 2)
    conv = packed("SparseConvS8", case, weights, isa, kind)
    out = conv.run(stored, "s32", case.out_channels, row_cut=1)
    expected = exact_sums(case, stored, weights, kind)
    np.testing.assert_array_equal(out.reshape(expected.shape), expected)


@st.composite
def epilogues(draw):
    lo = draw(st.sampled_from([-np.inf, 0.0, -3.25, 140.0]))
    return {
        "output": draw(st.sampled_from([*KINDS, *KINDS, "f32"])),
        "residual": draw(st.sampled_from([None, *KINDS, "f32"])),
        "slope": draw(st.sampled_from([None, None, 0.1])),
        "lo": lo,
        "hi": draw(st.sampled_from([np.inf, max(lo, 6.0), max(lo, 126.7), max(lo, 200.2)])),
        "extra": draw(st.integers(0, 5)),
    }


@quick
@given(
    case=cases(),
    seed=st.integers(0, 99),
    epilogue=epilogues(),
    pattern=patterns,
    kind=st.sampled_from(KINDS),
)
def test_codes_equal_the_dense_reference_with_every_epilogue(
    isa, case, seed, epilogue, pattern, kind
):
    stored, weights = stored_bytes(case, seed), pruned(case, np.int8, *pattern, seed)
    random = np.random.default_rng(seed)
    channels, stride = case.out_channels, case.out_channels + epilogue["extra"]
    terms = case.kh * case.kw * case.channels
    multiplier = random.uniform(0, 0.04 / np.sqrt(terms), channels).astype(np.float32)
    if seed % 4 == 0:
        multiplier[:] = 0.5  # ties
    bias = (random.integers(-80, 80, channels) * 0.5).astype(np.float32)
    bias[: seed % 2] = np.nan
    residual = None
    if epilogue["residual"] is not None:
        dtype = np.float32 if epilogue["residual"] == "f32" else np.uint8
        residual = random.integers(1, 256, (case.rows, stride)).astype(dtype)
    dense = packed("PackedConvS8", case, weights, "reference", kind)
    sparse = packed("SparseConvS8", case, weights, isa, kind)
    expected, got = (
        conv.run(
            stored, epilogue["output"], stride, multiplier, bias, residual,
            epilogue["residual"] or "s8", 0.37, epilogue["slope"], epilogue["lo"], epilogue["hi"],
        )
        for conv in (dense, sparse)
    )  # fmt: skip
    np.testing.assert_array_equal(got, expected)  # the gaps between rows included


def float_error(case: Case, isa: str, seed: int, pattern: tuple[str, float], **cuts: int) -> None:
    """The bound of csrc/kernels/conv_f32/contract.h."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(case.n, case.h, case.w, case.stride_c)).astype(np.float32)
    weights = pruned(case, np.float32, *pattern, seed)
    out = _core.SparseConvF32(case.geometry(), weights, isa).run(
        x, "f32", case.out_channels, **cuts
    )
    wide, taps = x[..., : case.channels].astype(np.float64), weights.astype(np.float64)
    exact = sums(case, wide, taps)
    bound = 4 * EPS * case.kh * case.kw * case.channels * sums(case, np.abs(wide), np.abs(taps))
    assert (np.abs(out.reshape(exact.shape) - exact) <= bound).all()


@quick
@given(
    case=cases(),
    seed=st.integers(0, 99),
    cuts=st.tuples(st.integers(0, 9), st.integers(0, 3)),
    pattern=patterns,
)
def test_float_sums_stay_within_the_bound(isa, case, seed, cuts, pattern):
    float_error(case, isa, seed, pattern, row_cut=cuts[0], panel_cut=cuts[1])


@pytest.mark.parametrize("name", DEEP)
def test_float_sums_of_deep_shapes(isa, name):
    float_error(DEEP[name], isa, 5, ("unstructured", 0.1))


@pytest.mark.parametrize("out_channels", [5, 16, 48, 70])
@pytest.mark.parametrize("residual", [None, "s8", "u8", "f32"])
@pytest.mark.parametrize("slope", [None, 0.25])
def test_the_float_epilogue(isa, out_channels, residual, slope):
    case = Case(h=5, w=6, channels=9, kh=3, kw=3, out_channels=out_channels)
    random = np.random.default_rng(4)
    x = random.normal(size=(1, 5, 6, case.stride_c)).astype(np.float32)
    weights = pruned(case, np.float32, "unstructured", 0.3, 4)
    bias = random.normal(size=out_channels).astype(np.float32)
    added = None
    if residual is not None:
        added = random.integers(1, 256, (case.rows, out_channels)).astype(
            np.float32 if residual == "f32" else np.uint8
        )
    expected, got = (
        conv(case.geometry(), weights, isa).run(
            x, "f32", out_channels, None, bias, added, residual or "f32", 0.5, slope, -1.0, 60.0
        )
        for conv in (_core.PackedConvF32, _core.SparseConvF32)
    )
    np.testing.assert_allclose(got, expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_codes_from_float_sums(isa, kind):
    case = Case(w=13, channels=16, out_channels=21)
    x = np.random.default_rng(5).normal(size=(1, 1, 13, 16)).astype(np.float32)
    weights = pruned(case, np.float32, "unstructured", 0.3, 5)
    multiplier = np.full(21, 3.0, np.float32)
    conv = _core.SparseConvF32(case.geometry(), weights, isa)
    out = conv.run(x, kind, 21, multiplier, lo=0.0).reshape(case.rows, 21)
    y = 3.0 * sums(case, x.astype(np.float64)[..., :16], weights)
    assert (np.abs(codes_of(out, kind) - np.clip(y, 0, HIGHEST[kind])) <= 0.5 + 1e-3).all()


@pytest.mark.parametrize("name", ["SparseConvS8", "SparseConvF32"])
def test_packed_bytes_fall_with_the_number_of_blocks(isa, name):
    case = square(8, 64, 32, 3, pad=1)
    dtype = np.int8 if name.endswith("S8") else np.float32
    full, tenth, empty = (
        getattr(_core, name)(
            case.geometry(), pruned(case, dtype, "blocks", density, 1), isa
        ).packed_bytes
        for density in (1.1, 0.1, 0.0)
    )
    words = case.out_channels * 9 * 64 * np.dtype(dtype).itemsize // 4
    assert full - empty == 6 * words
    assert tenth - empty < 0.15 * 6 * words


def test_negative_zero_is_zero(isa):
    case = gemm(4, 3, 8)
    weights = np.full((3, 1, 1, 8), -0.0, np.float32)
    empty = _core.SparseConvF32(case.geometry(), np.zeros_like(weights), isa)
    assert _core.SparseConvF32(case.geometry(), weights, isa).packed_bytes == empty.packed_bytes
