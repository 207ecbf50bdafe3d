"""Products of one row with weights as a bitmap: exact, and equal to the dense kernel's."""

from __future__ import annotations

import numpy as np
import pytest
from conv_cases import Case, gemm
from hypothesis import given, settings
from hypothesis import strategies as st
from stored_codes import KINDS, ZERO, codes_of

from gluonzip import _core

quick = settings(max_examples=60, deadline=None, derandomize=True)
GROUP = 64


@pytest.fixture(scope="module", params=["reference", "avx512vbmi2"])
def isa(request):
    """The instruction sets that have a kernel of their own."""
    if request.param not in _core.isas():
        pytest.skip(f"this machine has no {request.param}: {', '.join(_core.isas())}")
    return request.param


def pruned(case: Case, density: float, seed: int) -> np.ndarray:
    """Weights [out][1][1][channels], one channel in four without any."""
    random = np.random.default_rng(seed)
    shape = (case.out_channels, 1, 1, case.channels)
    weights = random.integers(-128, 128, shape).astype(np.int8)
    if seed % 3 == 0:
        weights[...] = 127
    return weights * (random.random(shape) < density) * (random.random(shape[:1] + (1,) * 3) < 0.75)


def stored_bytes(case: Case, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    stored = random.integers(0, 256, (case.n, case.h, case.w, case.stride_c)).astype(np.uint8)
    return stored if seed % 3 else np.full_like(stored, 255)


def packed(name: str, case: Case, weights: np.ndarray, isa: str, kind: str):
    return getattr(_core, name)(case.geometry() | {"zero": ZERO[kind]}, weights, isa)


@quick
@given(
    rows=st.integers(1, 3),
    out=st.sampled_from([1, 2, 15, 16, 17, 33, 50]),
    inputs=st.one_of(st.integers(1, 20), st.integers(60, 70), st.integers(120, 330)),
    extra=st.integers(0, 5),
    density=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    cuts=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    seed=st.integers(0, 99),
    kind=st.sampled_from(KINDS),
)
def test_sums_are_exact(isa, rows, out, inputs, extra, density, cuts, seed, kind):
    case = Case(w=rows, channels=inputs, extra_stride=extra, out_channels=out)
    stored, weights = stored_bytes(case, seed), pruned(case, density, seed)
    conv = packed("BitmapS8", case, weights, isa, kind)
    got = conv.run(stored, "s32", out, row_cut=cuts[0], panel_cut=cuts[1]).reshape(rows, out)
    x = codes_of(stored.reshape(rows, -1)[:, :inputs], kind).astype(np.int64)
    np.testing.assert_array_equal(got, x @ weights.reshape(out, inputs).T.astype(np.int64))


@quick
@given(
    out=st.sampled_from([1, 16, 37]),
    seed=st.integers(0, 99),
    output=st.sampled_from([*KINDS, "f32"]),
    residual=st.sampled_from([None, *KINDS, "f32"]),
    slope=st.sampled_from([None, 0.1]),
    lo=st.sampled_from([-np.inf, 0.0, -3.25]),
    kind=st.sampled_from(KINDS),
)
def test_every_epilogue_equals_the_dense_reference(
    isa, out, seed, output, residual, slope, lo, kind
):
    case, random = gemm(1, out, 150), np.random.default_rng(seed)
    stored, weights = stored_bytes(case, seed), np.maximum(pruned(case, 0.3, seed), -127)
    multiplier = random.uniform(0, 0.003, out).astype(np.float32)
    bias = (random.integers(-80, 80, out) * 0.5).astype(np.float32)
    bias[: seed % 2] = np.nan
    added = None
    if residual is not None:
        dtype = np.float32 if residual == "f32" else np.uint8
        added = random.integers(1, 256, (1, out + 3)).astype(dtype)
    convs = (packed("PackedConvS8", case, weights, "reference", kind),
             packed("BitmapS8", case, weights, isa, kind))  # fmt: skip
    kinds = (residual or "s8", 0.37, slope, lo)
    expected, got = (
        conv.run(stored, output, out + 3, multiplier, bias, added, *kinds) for conv in convs
    )
    np.testing.assert_array_equal(got, expected)  # the gaps between rows included


def test_extremes_of_long_sums(isa):
    case = gemm(1, 3, 9216)
    weights = np.full((3, 1, 1, 9216), -128, np.int8)
    got = packed("BitmapS8", case, weights, isa, "u8").run(stored_bytes(case, 0), "s32", 3)
    assert got.tolist() == [-128 * 255 * 9216] * 3


def test_bytes_are_a_bit_a_weight_and_one_for_each_that_is_not_zero(isa):
    case = gemm(1, 32, 5 * GROUP - 1)
    weights = pruned(case, 0.2, 1)
    empty, some = (
        packed("BitmapS8", case, w, isa, "s8").packed_bytes for w in (0 * weights, weights)
    )
    assert some - empty == np.count_nonzero(weights)
    assert 32 * 8 * 8 < empty < 32 * 8 * 8 + 16 * 33 + 64


def test_an_instruction_set_says_whether_it_has_bitmaps():
    assert not _core.has_bitmap("reference")
    for isa in _core.isas():
        assert _core.has_bitmap(isa) == (isa == "avx512vbmi2")
