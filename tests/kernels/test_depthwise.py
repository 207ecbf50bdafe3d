"""Depthwise kernels against NumPy: int8 to the bit, float32 within the error of a dot product."""

import itertools

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
    """A geometry whose output is not empty, biased to the shapes that have code of their own."""
    kh, kw = draw(st.sampled_from([(3, 3), (3, 3), (5, 5), (1, 1), (7, 7), (4, 3), (2, 3), (8, 5)]))
    dh, dw = draw(st.sampled_from([(1, 1), (1, 1), (1, 1), (2, 1), (1, 2)]))
    g = {
        "n": draw(st.integers(1, 2)),
        "h": draw(st.integers(1, 12)),
        "w": draw(st.integers(1, 14)),
        "channels": draw(st.sampled_from([1, 3, 8, 16, 31, 32, 33, 64, 65, 96, 100, 128, 131])),
        **{"kh": kh, "kw": kw, "dh": dh, "dw": dw},
        "sh": draw(st.integers(1, 3)),
        "sw": draw(st.integers(1, 3)),
        "pad_top": draw(st.integers(0, kh - 1)),
        "pad_left": draw(st.integers(0, kw - 1)),
    }
    g["bottom"], g["right"] = draw(st.integers(0, kh)), draw(st.integers(0, kw))
    # The padded image holds the window at least once.
    g["bottom"] += max(0, (kh - 1) * dh + 1 - g["h"] - g["pad_top"] - g["bottom"])
    g["right"] += max(0, (kw - 1) * dw + 1 - g["w"] - g["pad_left"] - g["right"])
    g["oh"] = (g["h"] + g["pad_top"] + g["bottom"] - (kh - 1) * dh - 1) // g["sh"] + 1
    g["ow"] = (g["w"] + g["pad_left"] + g["right"] - (kw - 1) * dw - 1) // g["sw"] + 1
    g["stride_c"] = -(-g["channels"] // 4) * 4 + draw(st.sampled_from([0, 4]))
    g["out_channels"] = g["channels"]
    return g


def depthwise(x, w, g):
    """(N, H, W, C) and (C, KH, KW) to (N, OH, OW, C), in the type of x."""
    pads = [(0, 0), (g["pad_top"], g["bottom"]), (g["pad_left"], g["right"]), (0, 0)]
    x, out = np.pad(x, pads), 0
    for i in range(g["kh"]):
        for j in range(g["kw"]):
            top, left = i * g["dh"], j * g["dw"]
            taps = x[:, top :: g["sh"], left :: g["sw"]][:, : g["oh"], : g["ow"]]
            out = out + taps * w[:, i, j]
    return out


def in_memory(x, stride, rng):
    """Rows of ``stride`` elements: pad lanes hold anything, and the end is readable."""
    rows = rng.integers(0, 100, (*x.shape[:-1], stride)).astype(x.dtype)
    rows[..., : x.shape[-1]] = x
    return np.concatenate([rows.ravel(), np.zeros(SLACK // x.itemsize, x.dtype)])


def constants(values):
    """One number a channel, readable up to the next multiple of 64."""
    values = np.asarray(values, np.float32)
    return np.concatenate([values, np.zeros(-len(values) % 64, np.float32)])


def pixels_of(out, g):
    """The values, once it is sure that nothing else was written."""
    rows = out.reshape(g["n"], g["oh"], g["ow"], -1)
    assert (rows[..., g["channels"] :] == UNTOUCHED).all()
    return rows[..., : g["channels"]]


def output(g, dtype):
    return np.full((g["n"] * g["oh"] * g["ow"], g["channels"] + 5), UNTOUCHED, dtype)


def run(kernel, isa, g, x, w, out, kind, rng, **tail):
    tail |= {"output": out, "output_type": kind, "output_stride": out.shape[1]}
    memory = in_memory(x, g["stride_c"], rng)
    testing.run_conv(kernel, isa, g, memory, w, tail)
    return pixels_of(out, g)


def random_codes(g, kind, seed):
    rng = np.random.default_rng(seed)
    x = random_bytes(rng, kind, (g["n"], g["h"], g["w"], g["channels"]))
    g["zero"] = ZERO[kind]
    w = rng.integers(-127, 128, (g["channels"], g["kh"], g["kw"])).astype(np.int8)
    return rng, x, w, depthwise(codes_of(x, kind), w.astype(int), g)


@CHECK
@given(g=windows(), seed=st.integers(0, 2**32 - 1), kind=st.sampled_from(KINDS))
def test_accumulators_are_exact(isa, g, seed, kind):
    rng, x, w, want = random_codes(g, kind, seed)
    got = run("depthwise_s8", isa, g, x, w, output(g, np.int32), "s32", rng)
    np.testing.assert_array_equal(got, want)


@CHECK
@given(
    g=windows(),
    seed=st.integers(0, 2**32 - 1),
    leaky=st.booleans(),
    x_kind=st.sampled_from(KINDS),
    residual=st.sampled_from([None, *KINDS, "f32"]),
    kind=st.sampled_from([*KINDS, "f32"]),
    bounds=st.sampled_from([(-np.inf, np.inf), (0.0, np.inf), (0.0, 40.7), (-200.0, 3.5)]),
)
def test_epilogue_is_exact(isa, g, seed, leaky, x_kind, residual, kind, bounds):
    rng, x, w, acc = random_codes(g, x_kind, seed)
    channels = g["channels"]
    multiplier = (10.0 ** rng.uniform(-4, -1, channels)).astype(np.float32)
    bias = rng.normal(0, 20, channels).astype(np.float32)
    tail = {"multiplier": constants(multiplier), "bias": constants(bias), "lo": bounds[0]}
    tail |= {"hi": bounds[1], "leaky": leaky, "slope": 0.1}

    y = acc.astype(np.float32) * multiplier + bias
    if residual:
        if residual == "f32":
            stored = real = rng.normal(0, 40, y.shape).astype(np.float32)
        else:
            stored = random_bytes(rng, residual, y.shape)
            real = codes_of(stored, residual).astype(np.float32)
        y = y + real * np.float32(0.81)
        tail |= {"residual": in_memory(stored, channels, rng), "residual_type": residual}
        tail |= {"residual_stride": channels, "residual_multiplier": 0.81}
    if leaky:
        y = np.where(y < 0, y * np.float32(0.1), y)
    y = np.clip(y, np.float32(bounds[0]), np.float32(bounds[1]))
    want = y if kind == "f32" else stored_codes(y, kind)

    out = output(g, np.float32 if kind == "f32" else np.uint8)
    np.testing.assert_array_equal(run("depthwise_s8", isa, g, x, w, out, kind, rng, **tail), want)


@CHECK
@given(g=windows(), seed=st.integers(0, 2**32 - 1), kind=st.sampled_from(["f32", *KINDS]))
def test_float32(isa, g, seed, kind):
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 9, (g["n"], g["h"], g["w"], g["channels"])).astype(np.float32)
    w = rng.normal(0, 1, (g["channels"], g["kh"], g["kw"])).astype(np.float32)
    bias = rng.normal(0, 9, g["channels"]).astype(np.float32)
    out = output(g, np.float32 if kind == "f32" else np.uint8)
    tail = {"bias": constants(bias), "lo": 0.0}
    got = run("depthwise_f32", isa, g, x, w, out, kind, rng, **tail)
    real = np.maximum(depthwise(x.astype(float), w.astype(float), g) + bias, 0)
    magnitude = depthwise(np.abs(x.astype(float)), np.abs(w.astype(float)), g) + np.abs(bias)
    error = np.finfo(np.float32).eps * (g["kh"] * g["kw"] + 1) * magnitude
    if kind == "f32":
        assert (np.abs(got - real) <= error).all()
    else:  # a tie may fall to either side
        within = np.clip(real, LOWEST[kind], HIGHEST[kind])
        assert (np.abs(codes_of(got, kind) - within) <= 0.5 + error).all()


@pytest.mark.parametrize("kind", KINDS)
def test_extreme_products_do_not_saturate(isa, kind):
    """255 * 127 + 255 * 127 does not fit the 16 bits that vpmaddubsw has."""
    g = {"n": 1, "h": 3, "w": 5, "channels": 64, "stride_c": 64, "kh": 3, "kw": 3, "sh": 1, "sw": 1}
    g |= {"pad_top": 1, "pad_left": 1, "dh": 1, "dw": 1, "oh": 3, "ow": 5, "out_channels": 64}
    g |= {"bottom": 1, "right": 1, "zero": ZERO[kind]}
    rng = np.random.default_rng(0)
    ends = (LOWEST[kind], HIGHEST[kind])
    for code, weight in itertools.product(ends, (127, -127)):
        x = np.full((1, 3, 5, 64), code + ZERO[kind], np.uint8)
        w = np.full((64, 3, 3), weight, np.int8)
        got = run("depthwise_s8", isa, g, x, w, output(g, np.int32), "s32", rng)
        assert got[0, 1, 1, 0] == 9 * code * weight
        np.testing.assert_array_equal(got, depthwise(codes_of(x, kind), w.astype(int), g))


@pytest.mark.parametrize("kernel", ["conv_s8x", ""])
def test_unknown_kernel_is_named(kernel):
    g = {
        k: 1
        for k in [
            "n",
            "h",
            "w",
            "channels",
            "stride_c",
            "kh",
            "kw",
            "sh",
            "sw",
            "dh",
            "dw",
            "oh",
            "ow",
            "out_channels",
        ]
    }
    g |= {"pad_top": 0, "pad_left": 0}
    with pytest.raises(ValueError, match=f"no kernel '{kernel}'"):
        testing.run_conv(kernel, "reference", g, np.zeros(1), np.zeros(1), {})
