"""The entropy coder in C++ against the definition in docs/format.md, in Python's big integers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gluonzip import _core
from gluonzip.archive import rans
from gluonzip.errors import ArchiveError, ConfigError, DataError, ShapeError


# ---------------------------------------------------------------- the definition
def frequencies(levels):
    quarters = [round(2 ** (15 + i / 4)) for i in range(4)]
    weights = [quarters[(q - 1) % 4] << ((q - 1) // 4) if q else 0 for q in levels]
    out = [max(1, w * 4096 // sum(weights)) if w else 0 for w in weights]
    out[out.index(max(out))] += 4096 - sum(out)
    return out


def bits_of_table(levels):
    out, before = [], 0
    for level in levels:
        step = level - before
        code = 2 * step if step > 0 else 1 - 2 * step
        length = code.bit_length() - 1
        out += [0] * length + [1] + [code >> i & 1 for i in range(length)]
        before = level
    return out


def encode(symbols, levels):
    freq = frequencies(levels)
    start = np.cumsum([0] + freq).tolist()
    lanes = 1 if len(symbols) < 2**15 else 8
    states, words = [2**16] * lanes, []
    for i in reversed(range(len(symbols))):
        symbol, x = symbols[i], states[i % lanes]
        if x >= freq[symbol] << 20:
            words.append(x & 0xFFFF)
            x >>= 16
        states[i % lanes] = (x // freq[symbol] << 12) + x % freq[symbol] + start[symbol]
    table = np.packbits(bits_of_table(levels), bitorder="little").tobytes()
    body = np.array(states, "<u4").tobytes() + np.array(words[::-1], "<u2").tobytes()
    return table + body


def decode(data, levels, count):
    """From the definition alone; the table is known."""
    freq = frequencies(levels)
    symbol_of = np.repeat(np.arange(len(freq)), freq).tolist()
    start = np.cumsum([0] + freq).tolist()
    at = (len(bits_of_table(levels)) + 7) // 8
    lanes = 1 if count < 2**15 else 8
    states = np.frombuffer(data, "<u4", lanes, at).tolist()
    words = iter(np.frombuffer(data, "<u2", offset=at + 4 * lanes).tolist())
    out = []
    for i in range(count):
        x = states[i % lanes]
        symbol = symbol_of[x & 4095]
        x = freq[symbol] * (x >> 12) + (x & 4095) - start[symbol]
        states[i % lanes] = x << 16 | next(words) if x < 2**16 else x
        out.append(symbol)
    assert states == [2**16] * lanes
    assert next(words, None) is None
    return out


# ---------------------------------------------------------------- against it
def stream(bits, count, skew, seed):
    """(symbols, levels of their plan)."""
    rng = np.random.default_rng(seed)
    symbols = np.minimum(rng.geometric(skew, count) - 1, 2**bits - 1)
    histogram = np.bincount(symbols, minlength=2**bits)
    return symbols, rans.plan(histogram, bits)


@given(
    st.integers(1, 8),
    st.sampled_from([1, 2, 3, 100, 1000]),
    st.sampled_from([0.01, 0.1, 0.5, 0.999]),
    st.integers(0, 2**32 - 1),
)
@settings(derandomize=True, deadline=None, max_examples=80)
def test_codes_as_defined(bits, count, skew, seed):
    symbols, plan = stream(bits, count, skew, seed)
    data = rans.encode(symbols, plan)
    levels = plan.levels.tolist()
    assert data == encode(symbols.tolist(), levels)
    assert decode(data, levels, count) == symbols.tolist()
    assert rans.decode(data, count, bits, signed=False).tolist() == symbols.tolist()


@pytest.mark.parametrize("count", [2**15 - 1, 2**15, 2**15 + 5])
def test_codes_as_defined_on_several_lanes(count):
    symbols, plan = stream(6, count, 0.1, 0)
    data = rans.encode(symbols, plan)
    assert data == encode(symbols.tolist(), plan.levels.tolist())
    assert np.array_equal(rans.decode(data, count, 6, signed=False), symbols)


@given(st.lists(st.integers(0, 49), min_size=16, max_size=16), st.integers(0, 2**32 - 1))
@settings(derandomize=True, deadline=None, max_examples=80)
def test_any_table(levels, seed):
    present = np.flatnonzero(levels)
    if not present.size:
        with pytest.raises(ArchiveError, match="has no symbol"):
            _core.rans_encode(np.zeros(1, np.uint8), 4, np.array(levels, np.uint8))
        return
    symbols = np.random.default_rng(seed).choice(present, 200)
    data = _core.rans_encode(symbols.astype(np.uint8), 4, np.array(levels, np.uint8))
    assert data == encode(symbols.tolist(), levels)
    assert _core.rans_decode(data, 4, 200).tolist() == symbols.tolist()


def test_a_single_symbol_costs_nothing_but_its_table():
    symbols = np.full(10_000, 3)
    plan = rans.plan(np.bincount(symbols, minlength=8), 3)
    data = rans.encode(symbols, plan)
    assert len(data) < 16
    assert np.array_equal(rans.decode(data, 10_000, 3, signed=False), symbols)


@pytest.mark.parametrize(("bits", "scale"), [(8, 40), (5, 5), (4, 0.5)])
def test_close_to_the_entropy_and_to_the_estimate(bits, scale):
    rng = np.random.default_rng(0)
    limit = 2 ** (bits - 1) - 1
    values = np.clip(np.rint(rng.standard_normal(100_000) * scale), -limit, limit).astype(int)
    histogram = np.bincount(values & (2**bits - 1), minlength=2**bits)
    plan = rans.plan(histogram, bits)
    data = rans.encode(values, plan)
    assert len(data) <= 1.01 * rans.entropy_bytes(histogram)
    assert abs(len(data) - plan.bytes) <= 0.01 * len(data)
    assert np.array_equal(rans.decode(data, values.size, bits, signed=True), values)


def test_entropy_of_a_known_distribution():
    assert rans.entropy_bytes(np.array([4, 2, 0, 2])) == 8 * 1.5 / 8


def test_every_damage_is_found_or_harmless():
    """Without a checksum in front, a damaged stream never reads outside of itself."""
    symbols, plan = stream(4, 300, 0.3, 1)
    data = rans.encode(symbols, plan)
    found = 0
    for at in range(len(data)):
        for bit in range(8):
            damaged = bytearray(data)
            damaged[at] ^= 1 << bit
            try:
                assert _core.rans_decode(bytes(damaged), 4, 300).max() < 16
            except ArchiveError:
                found += 1
    assert found > 0.99 * 8 * len(data)
    for size in range(len(data)):
        with pytest.raises(ArchiveError):
            _core.rans_decode(data[:size], 4, 300)


def test_wrong_arguments():
    levels = np.zeros(16, np.uint8)
    levels[0] = 1
    with pytest.raises(DataError, match="symbol 5 has no probability"):
        _core.rans_encode(np.array([5], np.uint8), 4, levels)
    with pytest.raises(ConfigError, match="symbols of 9 bits, must be from 1 to 8"):
        _core.rans_decode(b"", 9, 0)
    with pytest.raises(ShapeError, match="16 levels, must be 8"):
        _core.rans_encode(np.array([0], np.uint8), 3, levels)
    with pytest.raises(DataError, match="level 50 is above 49"):
        _core.rans_encode(np.array([0], np.uint8), 4, levels + 49)
