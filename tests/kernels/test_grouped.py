"""The kernel of narrow groups against NumPy, to the bit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gluonzip import _core
from gluonzip.errors import ConfigError

SLACK = 64  # readable bytes past the last row (csrc/kernels/layout.h)
UNTOUCHED = 77
CHECK = settings(max_examples=60, deadline=None, derandomize=True)


@st.composite
def geometries(draw):
    """A geometry whose output is not empty, and the channels of a group."""
    width = draw(st.sampled_from([4, 8, 16, 32]))
    kh, kw = draw(st.sampled_from([(3, 3), (3, 3), (1, 1), (5, 5), (2, 3)]))
    dh, dw = draw(st.sampled_from([(1, 1), (1, 1), (2, 1), (1, 2)]))
    channels = width * draw(st.integers(1, 160 // width))
    g = {
        "n": draw(st.integers(1, 2)),
        "h": draw(st.integers(1, 9)),
        "w": draw(st.integers(1, 13)),
        "channels": channels,
        "out_channels": channels,
        "stride_c": channels + draw(st.sampled_from([0, 4])),
        **{"kh": kh, "kw": kw, "dh": dh, "dw": dw},
        "sh": draw(st.integers(1, 2)),
        "sw": draw(st.integers(1, 3)),
        "pad_top": draw(st.integers(0, kh - 1)),
        "pad_left": draw(st.integers(0, kw - 1)),
        "zero": draw(st.sampled_from([0, 128])),
    }
    g["bottom"], g["right"] = draw(st.integers(0, kh)), draw(st.integers(0, kw))
    # The padded image holds the window at least once.
    g["bottom"] += max(0, (kh - 1) * dh + 1 - g["h"] - g["pad_top"] - g["bottom"])
    g["right"] += max(0, (kw - 1) * dw + 1 - g["w"] - g["pad_left"] - g["right"])
    g["oh"] = (g["h"] + g["pad_top"] + g["bottom"] - (kh - 1) * dh - 1) // g["sh"] + 1
    g["ow"] = (g["w"] + g["pad_left"] + g["right"] - (kw - 1) * dw - 1) // g["sw"] + 1
    return g, width


def grouped(x, w, g):
    """Codes (N, H, W, C) and (C, KH, KW, width) to (N, OH, OW, C)."""
    pads = [(0, 0), (g["pad_top"], g["bottom"]), (g["pad_left"], g["right"]), (0, 0)]
    x, out, width = np.pad(x, pads), 0, w.shape[3]
    for i in range(g["kh"]):
        for j in range(g["kw"]):
            top, left = i * g["dh"], j * g["dw"]
            taps = x[:, top :: g["sh"], left :: g["sw"]][:, : g["oh"], : g["ow"]]
            taps = taps.reshape(*taps.shape[:3], -1, width)
            weights = w[:, i, j].reshape(-1, width, width)  # group, output, input
            out = out + np.einsum("nhwgi,goi->nhwgo", taps, weights).reshape(*taps.shape[:3], -1)
    return out


def random_case(g, width, seed):
    """Stored bytes with noise in the pad lanes, weights, and the exact sums."""
    rng = np.random.default_rng(seed)
    low, high = (0, 255) if g["zero"] == 0 else (-127, 127)
    codes = rng.integers(low, high + 1, (g["n"], g["h"], g["w"], g["channels"]))
    w = rng.integers(-127, 128, (g["channels"], g["kh"], g["kw"], width)).astype(np.int8)
    memory = rng.integers(0, 256, (*codes.shape[:3], g["stride_c"])).astype(np.uint8)
    memory[..., : g["channels"]] = codes + g["zero"]
    memory = np.concatenate([memory.ravel(), np.zeros(SLACK, np.uint8)])
    return rng, memory, w, grouped(codes, w.astype(int), g)


def run(isa, g, memory, w, dtype, kind, **tail):
    """The values, once it is sure that nothing else was written."""
    out = np.full((g["n"] * g["oh"] * g["ow"], g["channels"] + 5), UNTOUCHED, dtype)
    tail |= {"output": out, "output_type": kind, "output_stride": out.shape[1]}
    _core.testing.run_conv("grouped_s8", isa, g, memory, w, tail)
    assert (out[:, g["channels"] :] == UNTOUCHED).all()
    return out[:, : g["channels"]].reshape(g["n"], g["oh"], g["ow"], -1)


@CHECK
@given(case=geometries(), seed=st.integers(0, 2**32 - 1))
def test_accumulators_are_exact(isa, case, seed):
    g, width = case
    _, memory, w, want = random_case(g, width, seed)
    np.testing.assert_array_equal(run(isa, g, memory, w, np.int32, "s32"), want)


@CHECK
@given(
    case=geometries(),
    seed=st.integers(0, 2**32 - 1),
    leaky=st.booleans(),
    residual=st.booleans(),
    lo=st.sampled_from([-np.inf, 0.0]),
)
def test_epilogue_is_exact(isa, case, seed, leaky, residual, lo):
    g, width = case
    rng, memory, w, acc = random_case(g, width, seed)
    channels = g["channels"]
    multiplier, bias = np.zeros((2, -(-channels // 64) * 64 + 64), np.float32)
    multiplier[:channels] = 10.0 ** rng.uniform(-4, -2, channels)
    bias[:channels] = rng.normal(0, 20, channels)
    tail = {"multiplier": multiplier, "bias": bias, "lo": lo, "leaky": leaky, "slope": 0.1}
    y = acc.astype(np.float32) * multiplier[:channels] + bias[:channels]
    if residual:
        codes = rng.integers(-127, 128, y.shape)
        stored = np.concatenate([(codes + 128).astype(np.uint8).ravel(), np.zeros(SLACK, "u1")])
        y = y + codes.astype(np.float32) * np.float32(0.81)
        tail |= {"residual": stored, "residual_type": "s8"}
        tail |= {"residual_stride": channels, "residual_multiplier": 0.81}
    if leaky:
        y = np.where(y < 0, y * np.float32(0.1), y)
    want = np.rint(np.clip(np.maximum(y, np.float32(lo)), -127, 127)) + 128
    np.testing.assert_array_equal(run(isa, g, memory, w, np.uint8, "s8", **tail), want)


@pytest.mark.parametrize("width", [4, 8, 16, 32])
def test_extreme_products_do_not_saturate(isa, width):
    g = {"n": 1, "h": 3, "w": 6, "channels": 64, "stride_c": 64, "kh": 3, "kw": 3, "sh": 1, "sw": 1}
    g |= {"pad_top": 1, "pad_left": 1, "dh": 1, "dw": 1, "oh": 3, "ow": 6, "out_channels": 64}
    for code, weight in [(127, 127), (127, -127), (-127, 127), (-127, -127)]:
        memory = np.full(3 * 6 * 64 + SLACK, code + 128, np.uint8)
        w = np.full((64, 3, 3, width), weight, np.int8)
        got = run(isa, g, memory, w, np.int32, "s32")
        assert (got[0, 1, 1:5] == 9 * width * code * weight).all()


def test_other_groups_are_refused():
    g = dict.fromkeys(["n", "h", "w", "kh", "kw", "sh", "sw", "dh", "dw", "oh", "ow"], 1)
    g |= {"channels": 5, "stride_c": 8, "pad_top": 0, "pad_left": 0, "out_channels": 5}
    x, w = np.zeros(8 + SLACK, np.uint8), np.zeros((5, 1, 1, 5), np.int8)
    with pytest.raises(ConfigError, match="groups of 5 channels"):
        _core.testing.run_conv("grouped_s8", "reference", g, x, w, {})
