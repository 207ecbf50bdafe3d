"""The own MessagePack against the msgpack package."""

import math

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gluonzip.archive.msgpack import Cursor, pack
from gluonzip.errors import ArchiveError

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False),
    st.floats(width=32, allow_nan=False),
    st.text(max_size=40),
    st.binary(max_size=40),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=20), st.dictionaries(st.text(max_size=5), inner, max_size=20)
    ),
    max_leaves=30,
)


@given(VALUES)
@settings(derandomize=True, deadline=None, max_examples=200)
def test_packs_what_msgpack_unpacks(value):
    assert msgpack.unpackb(pack(value), strict_map_key=False) == value


@given(VALUES)
@settings(derandomize=True, deadline=None, max_examples=200)
def test_cursor_reads_what_msgpack_packs(value):
    assert _read(Cursor(msgpack.packb(value))) == value


def _read(cursor):
    kind, value = cursor.token()
    if kind == "array":
        return [_read(cursor) for _ in range(value)]
    if kind == "map":
        return {_read(cursor): _read(cursor) for _ in range(value)}
    return value


@pytest.mark.parametrize("length", [31, 32, 255, 256, 65535, 65536])
@pytest.mark.parametrize("make", [lambda n: "a" * n, bytes, lambda n: [1] * n])
def test_lengths_at_which_the_form_changes(length, make):
    value = make(length)
    packed = pack(value)
    assert msgpack.unpackb(packed) == value
    assert _read(Cursor(packed)) == value


def test_floats_take_four_bytes_where_they_can():
    assert len(pack(0.5)) == 5
    assert len(pack(0.1)) == 9
    assert len(pack(1e300)) == 9
    assert len(pack(math.inf)) == 5
    assert math.isnan(msgpack.unpackb(pack(math.nan)))


def test_rejects_what_has_no_form():
    with pytest.raises(TypeError, match="no type for set"):
        pack({1})
    with pytest.raises(OverflowError, match="64 bits"):
        pack(2**64)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "a value of 1 bytes runs past the end"),
        (b"\xa5abc", "a value of 5 bytes runs past the end"),
        (b"\xcd\x01", "a value of 2 bytes runs past the end"),
        (b"\xdd\xff\xff\xff\xff", "a list or map of 4294967295 items runs past the end"),
        (b"\x82\x01\x01\x01", "a list or map of 2 items runs past the end"),
        (b"\xc1", "byte 0xc1 is no MessagePack type"),
        (b"\xd4\x01\x00", "byte 0xd4 is no MessagePack type"),
        (b"\xa2\xc3\x28", "not valid UTF-8"),
    ],
)
def test_cursor_refuses(data, message):
    with pytest.raises(ArchiveError, match=message):
        Cursor(data, "index").token()
