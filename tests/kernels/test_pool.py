"""Pooling kernels against NumPy: exact, float32 averages too (the order of the sum is fixed)."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stored_codes import HIGHEST, KINDS, LOWEST, ZERO, codes_of, random_bytes, stored_codes

from gluonzip import _core

testing = _core.testing

SLACK = 64  # readable bytes past the last row (csrc/kernels/layout.h)
UNTOUCHED = 77
CHECK = settings(max_examples=60, deadline=None, derandomize=True)


@st.composite
def windows(draw):
    kh, kw = draw(st.sampled_from([(2, 2), (3, 3), (3, 2), (1, 1), (7, 7)]))
    g = {"n": draw(st.integers(1, 2)), "h": draw(st.integers(1, 10)), "w": draw(st.integers(1, 10))}
    g |= {"kh": kh, "kw": kw, "sh": draw(st.integers(1, 4)), "sw": draw(st.integers(1, 4))}
    g |= {"pad_top": draw(st.integers(0, kh - 1)), "pad_left": draw(st.integers(0, kw - 1))}
    g |= {"bottom": draw(st.integers(0, kh - 1)), "right": draw(st.integers(0, kw - 1))}
    g["bottom"] += max(0, kh - g["h"] - g["pad_top"] - g["bottom"])
    g["right"] += max(0, kw - g["w"] - g["pad_left"] - g["right"])
    up = draw(st.booleans())  # ceil mode: a last window may hang over the padding
    for out, size, k, s, pads in (
        ("oh", g["h"], kh, g["sh"], g["pad_top"] + g["bottom"]),
        ("ow", g["w"], kw, g["sw"], g["pad_left"] + g["right"]),
    ):
        g[out] = (size + pads - k + (s - 1 if up else 0)) // s + 1
    g["channels"] = draw(st.sampled_from([1, 4, 9, 16, 17, 32, 63, 64, 100, 256, 259]))
    g["stride_c"] = -(-g["channels"] // 4) * 4 + draw(st.sampled_from([0, 8]))
    return g | {"dh": 1, "dw": 1, "out_channels": g["channels"]}


def cells(x, g):
    """For each output pixel: its index, the cells inside the image, and the cells with padding."""
    for oh in range(g["oh"]):
        for ow in range(g["ow"]):
            top, left = oh * g["sh"] - g["pad_top"], ow * g["sw"] - g["pad_left"]
            bottom = min(top + g["kh"], g["h"] + g["bottom"])
            right = min(left + g["kw"], g["w"] + g["right"])
            inside = x[:, max(top, 0) : bottom, max(left, 0) : right]
            yield (oh, ow), inside, (bottom - top) * (right - left)


def max_pool(x, g, lowest):
    out = np.full((g["n"], g["oh"], g["ow"], g["channels"]), lowest, x.dtype)
    for (oh, ow), inside, _ in cells(x, g):
        if inside[0, ..., 0].size:
            out[:, oh, ow] = inside.max(axis=(1, 2))
    return out


def avg_pool(x, g, count_pad, factor):
    """x int (codes) or float32; ``factor`` None divides, as float32 pooling does."""
    out = np.zeros((g["n"], g["oh"], g["ow"], g["channels"]), np.float32)
    for (oh, ow), inside, padded in cells(x, g):
        total = np.zeros((g["n"], g["channels"]), x.dtype)
        for cell in inside.reshape(g["n"], -1, g["channels"]).transpose(1, 0, 2):
            total = total + cell
        count = np.float32(padded if count_pad else inside.shape[1] * inside.shape[2])
        if count > 0:
            total = total.astype(np.float32)
            out[:, oh, ow] = total / count if factor is None else total * (factor / count)
    return out


def run(kernel, isa, g, x, kind, rng, **options):
    rows = rng.integers(0, 100, (*x.shape[:-1], g["stride_c"])).astype(x.dtype)
    rows[..., : g["channels"]] = x
    memory = np.concatenate([rows.ravel(), np.zeros(SLACK // x.itemsize, x.dtype)])
    stride = g["channels"] + 3
    out = np.full(
        (g["n"], g["oh"], g["ow"], stride), UNTOUCHED, np.float32 if kind == "f32" else np.uint8
    )
    options |= {"pad_bottom": g["bottom"], "pad_right": g["right"], "output_type": kind}
    testing.run_pool(kernel, isa, g, memory, out, stride, **options)
    assert (out[..., g["channels"] :] == UNTOUCHED).all()
    return out[..., : g["channels"]]


def random_codes(g, kind, seed):
    rng = np.random.default_rng(seed)
    x = random_bytes(rng, kind, (g["n"], g["h"], g["w"], g["channels"]))
    g["zero"] = ZERO[kind]
    return rng, codes_of(x, kind), x


@CHECK
@given(g=windows(), seed=st.integers(0, 2**32 - 1), kind=st.sampled_from(KINDS))
def test_max_of_codes(isa, g, seed, kind):
    rng, codes, x = random_codes(g, kind, seed)
    got = run("max_u8", isa, g, x, kind, rng)
    np.testing.assert_array_equal(codes_of(got, kind), max_pool(codes, g, LOWEST[kind]))


@CHECK
@given(g=windows(), seed=st.integers(0, 2**32 - 1))
def test_max_of_float32(isa, g, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 9, (g["n"], g["h"], g["w"], g["channels"])).astype(np.float32)
    np.testing.assert_array_equal(run("max_f32", isa, g, x, "f32", rng), max_pool(x, g, -np.inf))


@CHECK
@given(
    g=windows(),
    seed=st.integers(0, 2**32 - 1),
    x_kind=st.sampled_from(KINDS),
    kind=st.sampled_from([*KINDS, "f32"]),
    count_pad=st.booleans(),
    factor=st.sampled_from([1.0, 0.013, 2.7]),
)
def test_average_of_codes(isa, g, seed, x_kind, kind, count_pad, factor):
    rng, codes, x = random_codes(g, x_kind, seed)
    y = avg_pool(codes, g, count_pad, np.float32(factor))
    want = y if kind == "f32" else stored_codes(y, kind)
    got = run("avg_u8", isa, g, x, kind, rng, count_pad=count_pad, factor=factor)
    np.testing.assert_array_equal(got, want)


@CHECK
@given(g=windows(), seed=st.integers(0, 2**32 - 1), count_pad=st.booleans())
def test_average_of_float32(isa, g, seed, count_pad):
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 9, (g["n"], g["h"], g["w"], g["channels"])).astype(np.float32)
    got = run("avg_f32", isa, g, x, "f32", rng, count_pad=count_pad)
    np.testing.assert_array_equal(got, avg_pool(x, g, count_pad, None))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [7, 40])
def test_global_average_of_codes(isa, size, kind):
    """Sums of large windows stay exact: 40 * 40 * 255 does not fit 16 bits."""
    g = {"n": 2, "h": size, "w": size, "channels": 70, "stride_c": 72, "kh": size, "kw": size}
    g |= {"sh": 1, "sw": 1, "dh": 1, "dw": 1, "oh": 1, "ow": 1, "out_channels": 70}
    g |= {"pad_top": 0, "pad_left": 0, "bottom": 0, "right": 0}
    rng, codes, x = random_codes(g, kind, 1)
    x[1], codes[1] = 255, HIGHEST[kind]
    want = codes.sum(axis=(1, 2)).astype(np.float32) * (np.float32(3) / np.float32(size**2))
    got = run("avg_u8", isa, g, x, "f32", rng, factor=3.0)
    np.testing.assert_array_equal(got[:, 0, 0], want)
