"""Sparse convolutions on planes of words equal those on pixels x channels, int8 to the bit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from conv_cases import Case, cases, square
from hypothesis import given, settings
from hypothesis import strategies as st
from stored_codes import KINDS, ZERO

from gluonzip import _core

quick = settings(max_examples=60, deadline=None, derandomize=True)


def pitch_of(rows: int) -> int:
    return (-(-rows // 16) | 1) * 16


def to_planes(pixels: np.ndarray, channels: int) -> np.ndarray:
    """(rows, stride) to planes of 32-bit words; what lies past rows and channels is odd."""
    rows, in_word = pixels.shape[0], 4 // pixels.itemsize
    words = -(-channels // in_word)
    planes = np.full((words, pitch_of(rows), in_word), 77, pixels.dtype)
    for c in range(channels):
        planes[c // in_word, :rows, c % in_word] = pixels[:, c]
    return planes.ravel()


def from_planes(planes: np.ndarray, rows: int, channels: int) -> np.ndarray:
    in_word = 4 // planes.itemsize
    words = planes.reshape(-(-channels // in_word), pitch_of(rows), in_word)
    return words.transpose(1, 0, 2).reshape(pitch_of(rows), -1)[:rows, :channels]


def same(got: np.ndarray, expected: np.ndarray) -> None:
    if got.dtype == np.uint8:
        np.testing.assert_array_equal(got, expected)
    else:  # sums may be added in another order
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-4)


def compare(case: Case, kind: str, isa: str, seed: int, density: float, **tail) -> None:
    random = np.random.default_rng(seed)
    shape = (case.out_channels, case.kh, case.kw, case.channels)
    pixels = case.n * case.h * case.w
    added = tail.pop("residual", False)
    x_type, residual_type, output = tail.pop("types", ("s8", "s8", "s8"))
    if kind == "S8":
        weights = random.integers(-127, 128, shape).astype(np.int8)
        x = random.integers(0, 256, (pixels, case.stride_c)).astype(np.uint8)
        terms = case.kh * case.kw * case.channels
        scale = random.uniform(0, 0.04 / np.sqrt(terms), case.out_channels).astype(np.float32)
        residual = random.integers(1, 256, (case.rows, case.out_channels)).astype(np.uint8)
    else:
        weights = random.normal(size=shape).astype(np.float32)
        x = random.normal(size=(pixels, case.stride_c)).astype(np.float32)
        scale = None
        residual = random.normal(size=(case.rows, case.out_channels)).astype(np.float32)
    weights = weights * (random.random(shape) < density).astype(weights.dtype)
    bias = (random.integers(-80, 80, case.out_channels) * 0.5).astype(np.float32)
    if tail.pop("nan", False):
        bias[0] = np.nan
    geometry = case.geometry() | {"zero": ZERO[x_type]}
    conv = getattr(_core, f"SparseConv{kind}")(geometry, weights, isa)
    if kind == "F32":
        residual_type = output = "f32"
    pitches = {"input_pitch": pitch_of(pixels), "output_pitch": pitch_of(case.rows)}
    expected = conv.run(
        x, output, case.out_channels, scale, bias, residual if added else None, residual_type,
        0.37, **tail,
    ).reshape(case.rows, case.out_channels)  # fmt: skip
    got = conv.run(
        to_planes(x, case.channels), output, case.out_channels, scale, bias,
        to_planes(residual, case.out_channels) if added else None, residual_type, 0.37, **tail,
        **pitches, row_cut=seed % 3, panel_cut=seed % 2,
    )  # fmt: skip
    same(from_planes(got, case.rows, case.out_channels), expected)
    half = conv.run(
        to_planes(x, case.channels), output, case.out_channels, scale, bias,
        residual if added else None, residual_type, 0.37, **tail,
        input_pitch=pitches["input_pitch"],
    )  # fmt: skip
    same(half.reshape(expected.shape), expected)
    if added and case.out_channels % 16 == 0:  # only the residual in planes
        mixed = conv.run(
            x, output, case.out_channels, scale, bias, to_planes(residual, case.out_channels),
            residual_type, 0.37, **tail, residual_pitch=pitch_of(case.rows),
        )  # fmt: skip
        same(mixed.reshape(expected.shape), expected)


tails = st.fixed_dictionaries(
    {
        "residual": st.booleans(),
        "nan": st.booleans(),
        "slope": st.sampled_from([None, None, 0.1]),
        "types": st.tuples(*[st.sampled_from(KINDS)] * 3),
        "lo": st.sampled_from([-np.inf, 0.0, -3.25]),
        "hi": st.sampled_from([np.inf, 6.0, 126.7, 200.2]),
    }
)


@quick
@given(
    case=cases(),
    seed=st.integers(0, 99),
    density=st.sampled_from([0.02, 0.25, 0.6]),
    kind=st.sampled_from(["S8", "F32"]),
    tail=tails,
)
def test_planes_equal_pixels(isa, case, seed, density, kind, tail):
    compare(case, kind, isa, seed, density, **tail)


LARGE = {
    "1x1": square(14, 260, 48, 1),
    "3x3": square(17, 68, 40, 3, pad=1),
    "small images": replace(square(7, 40, 33, 3, pad=1), n=3),
    "strided": square(15, 72, 64, 3, stride=2, pad=1),
    "strided 1x1": square(28, 36, 32, 1, stride=2),
    "strided to rows of seven": replace(square(14, 130, 50, 1, stride=2), n=3),
    "strided by three to rows of five": replace(square(15, 30, 33, 1, stride=3), n=4),
    "more than a megabyte of output": replace(square(66, 8, 70, 1), n=4),
    "stride 3": square(20, 12, 20, 3, stride=3, pad=1),
}


@pytest.mark.parametrize("name", LARGE)
@pytest.mark.parametrize("kind", ["S8", "F32"])
def test_each_class_of_shapes(isa, name, kind):
    compare(LARGE[name], kind, isa, 5, 0.25, residual=True, lo=0.0)
