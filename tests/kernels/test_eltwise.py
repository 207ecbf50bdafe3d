"""Element-wise kernels against NumPy in float32, to the bit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stored_codes import KINDS, ZERO, codes_of, random_bytes, stored_codes

from gluonzip import _core

testing = _core.testing

CHECK = settings(max_examples=40, deadline=None, derandomize=True)
COUNTS = st.integers(0, 200)
SEEDS = st.integers(0, 2**32 - 1)
BOUNDS = st.sampled_from([(-np.inf, np.inf), (0.0, np.inf), (0.0, 40.7), (-300.0, 3.5)])
f32 = np.float32


TYPES = st.sampled_from(KINDS)
ANY_TYPES = st.sampled_from([*KINDS, "f32"])


def values(x, kind):
    return codes_of(x, kind).astype(f32)


def activate(y, leaky, bounds):
    y = np.where(y < 0, y * f32(0.1), y) if leaky else y
    return np.clip(y, f32(bounds[0]), f32(bounds[1]))


def output(shape, dtype):
    """An array, and the larger one it is a part of: the rest must stay as it is."""
    whole = np.full(int(np.prod(shape)) + 64, 77, dtype)
    return whole[:-64].reshape(shape), whole


def untouched(whole):
    return (whole[-64:] == 77).all()


@CHECK
@given(n=COUNTS, seed=SEEDS, inverse=st.sampled_from([1.0, 0.37, 21.3]), kind=TYPES)
def test_quantize(isa, n, seed, inverse, kind):
    x = np.random.default_rng(seed).normal(0, 60, n).astype(f32)
    out, whole = output(n, np.uint8)
    testing.quantize(isa, x, inverse, out, kind)
    np.testing.assert_array_equal(out, stored_codes(x * f32(inverse), kind))
    assert untouched(whole)


TIES = [0.5, 1.5, 2.5, -0.5, -1.5, 126.5, 127.5, -127.5, 254.5, 255.5]
EXTREMES = [1e30, -1e30, np.inf, -np.inf, np.nan]
ROUNDED = {
    "s8": [0, 2, 2, 0, -2, 126, 127, -127, 127, 127, 127, -127, 127, -127, -127],
    "u8": [0, 2, 2, 0, 0, 126, 128, 0, 254, 255, 255, 0, 255, 0, 0],
}


@pytest.mark.parametrize("kind", KINDS)
def test_quantize_rounds_ties_to_even_and_saturates(isa, kind):
    x = TIES + EXTREMES
    for copies in (1, 7):  # in a tail, and in whole vectors
        out = np.zeros(len(x) * copies, np.uint8)
        testing.quantize(isa, np.array(x * copies, f32), 1.0, out, kind)
        assert (out.astype(int) - ZERO[kind]).tolist() == ROUNDED[kind] * copies


@CHECK
@given(n=COUNTS, seed=SEEDS, kind=TYPES)
def test_dequantize(isa, n, seed, kind):
    x = random_bytes(np.random.default_rng(seed), kind, n)
    out, whole = output(n, f32)
    testing.dequantize(isa, x, kind, 0.0371, out)
    np.testing.assert_array_equal(out, values(x, kind) * f32(0.0371))
    assert untouched(whole)


@CHECK
@given(n=COUNTS, seed=SEEDS)
def test_lookup(isa, n, seed):
    rng = np.random.default_rng(seed)
    table, x = rng.integers(0, 256, (2, 256)).astype(np.uint8)
    x = np.concatenate([np.arange(256), x])[:n].astype(np.uint8)
    out, whole = output(n, np.uint8)
    testing.lookup(isa, x, table, out)
    np.testing.assert_array_equal(out, table[x])
    assert untouched(whole)


def test_lookup_of_every_code(isa):
    x = np.arange(256, dtype=np.uint8)
    table, out = x[::-1].copy(), np.zeros(256, np.uint8)
    testing.lookup(isa, x, table, out)
    np.testing.assert_array_equal(out, table)


@CHECK
@given(n=COUNTS, seed=SEEDS, x_type=ANY_TYPES,
       out_type=ANY_TYPES, wr=st.sampled_from([0.0, 0.25, 0.7]),
       wc=st.sampled_from([0.0, 0.3, 1.0]), factor=st.sampled_from([1.0, 0.37]))  # fmt: skip
def test_mix(isa, n, seed, x_type, out_type, wr, wc, factor):
    rng = np.random.default_rng(seed)
    real = x_type == "f32"
    x = rng.normal(0, 60, (4, n)).astype(f32) if real else random_bytes(rng, x_type, (4, n))
    out, whole = output(n, f32 if out_type == "f32" else np.uint8)
    testing.mix(isa, x, x_type, wr, wc, factor, out, out_type)
    a, b, c, d = x if real else values(x, x_type)
    one, wr, wc = f32(1), f32(wr), f32(wc)
    left, right = a * (one - wr) + c * wr, b * (one - wr) + d * wr
    y = (left * (one - wc) + right * wc) * f32(factor)
    np.testing.assert_array_equal(out, y if out_type == "f32" else stored_codes(y, out_type))
    assert untouched(whole)


@CHECK
@given(n=COUNTS, seed=SEEDS, m=st.sampled_from([0.0031, 0.05]), kinds=st.tuples(*[TYPES] * 3))
def test_mul_u8(isa, n, seed, m, kinds):
    rng = np.random.default_rng(seed)
    a, b = random_bytes(rng, kinds[0], n), random_bytes(rng, kinds[1], n)
    out, whole = output(n, np.uint8)
    testing.mul_u8(isa, a, b, m, out, kinds)
    want = values(a, kinds[0]) * values(b, kinds[1]) * f32(m)
    np.testing.assert_array_equal(out, stored_codes(want, kinds[2]))
    assert untouched(whole)


@CHECK
@given(n=COUNTS, seed=SEEDS, leaky=st.booleans(), bounds=BOUNDS, kinds=st.tuples(*[TYPES] * 3))
def test_add_u8(isa, n, seed, leaky, bounds, kinds):
    rng = np.random.default_rng(seed)
    a, b = random_bytes(rng, kinds[0], n), random_bytes(rng, kinds[1], n)
    ma, mb = f32(0.731), f32(1.137)
    out, whole = output(n, np.uint8)
    testing.add_u8(isa, a, ma, b, mb, leaky, 0.1, *bounds, out, kinds)
    want = activate(values(a, kinds[0]) * ma + values(b, kinds[1]) * mb, leaky, bounds)
    np.testing.assert_array_equal(out, stored_codes(want, kinds[2]))
    assert untouched(whole)


@CHECK
@given(n=COUNTS, seed=SEEDS, leaky=st.booleans(), bounds=BOUNDS)
def test_add_f32(isa, n, seed, leaky, bounds):
    a, b = np.random.default_rng(seed).normal(0, 60, (2, n)).astype(f32)
    out, whole = output(n, f32)
    testing.add_f32(isa, a, b, leaky, 0.1, *bounds, out)
    np.testing.assert_array_equal(out, activate(a + b, leaky, bounds))
    assert untouched(whole)


def test_add_f32_keeps_nan(isa):
    a, out = np.full(40, np.nan, f32), np.zeros(40, f32)
    testing.add_f32(isa, a, a, False, 0.0, 0.0, 6.0, out)
    assert np.isnan(out).all()


@CHECK
@given(
    seed=SEEDS,
    rows=st.integers(1, 4),
    channels=st.integers(1, 140),
    types=st.tuples(ANY_TYPES, ANY_TYPES),
    leaky=st.booleans(),
    bounds=BOUNDS,
)
def test_scale_shift(isa, seed, rows, channels, types, leaky, bounds):
    rng = np.random.default_rng(seed)
    shape, real = (rows, channels + 3), types[0] == "f32"
    x = rng.normal(0, 60, shape).astype(f32) if real else random_bytes(rng, types[0], shape)
    scale, shift = rng.normal(0, 3, (2, channels)).astype(f32)
    out = np.full((rows, channels + 5), 77, f32 if types[1] == "f32" else np.uint8)
    testing.scale_shift(
        isa, x, types[0], 0.31, scale, shift, leaky, 0.1, *bounds, out, types[1], 0.77, channels
    )
    x = x if real else values(x, types[0]) * f32(0.31)
    want = activate(x[:, :channels] * scale + shift, leaky, bounds)
    if types[1] != "f32":
        want = stored_codes(want * f32(0.77), types[1])
    np.testing.assert_array_equal(out[:, :channels], want)
    assert (out[:, channels:] == 77).all()


SHAPES = st.tuples(st.integers(1, 3), st.integers(1, 13), st.sampled_from([1, 2, 7, 16, 35, 64]))


@CHECK
@given(shape=SHAPES, more=st.sampled_from([0, 4]), seed=SEEDS, kind=ANY_TYPES)
def test_planes_to_pixels(isa, shape, more, seed, kind):
    (n, c, hw), rng = shape, np.random.default_rng(seed)
    x = rng.normal(0, 90, shape).astype(f32)
    stride = -(-c // 4) * 4 + more
    out, whole = output((n, hw, stride), f32 if kind == "f32" else np.uint8)
    pixels = np.pad(x.transpose(0, 2, 1), [(0, 0), (0, 0), (0, stride - c)])
    if kind == "f32":
        testing.planes_to_pixels_f32(isa, x, out)
    else:
        testing.planes_to_pixels_u8(isa, x, 1.3, out, kind)
        pixels = stored_codes(pixels * f32(1.3), kind)
    np.testing.assert_array_equal(out, pixels)
    assert untouched(whole)


@pytest.mark.parametrize("kind", KINDS)
def test_planes_to_pixels_quantizes_nan_as_quantize_does(isa, kind):
    out = np.full((1, 40, 4), 99, np.uint8)
    testing.planes_to_pixels_u8(isa, np.full((1, 3, 40), np.nan, f32), 1.0, out, kind)
    assert (out == {"s8": [1, 1, 1, 128], "u8": [0, 0, 0, 0]}[kind]).all()


@CHECK
@given(shape=SHAPES, more=st.sampled_from([0, 4]), seed=SEEDS)
def test_pixels_to_planes(isa, shape, more, seed):
    n, c, hw = shape
    stride = -(-c // 4) * 4 + more
    x = np.random.default_rng(seed).normal(0, 9, (n, hw, stride)).astype(f32)
    out, whole = output(shape, f32)
    testing.pixels_to_planes_f32(isa, x, out)
    np.testing.assert_array_equal(out, x[..., :c].transpose(0, 2, 1))
    assert untouched(whole)


def test_unknown_element_type_is_named(isa):
    x = np.zeros((1, 4), f32)
    with pytest.raises(ValueError, match="element type 'f64' is none of f32, s8, u8, s32"):
        testing.scale_shift(isa, x, "f64", 1, x, x, False, 0, 0, 1, x, "f32", 1, 4)
