"""The part of MessagePack that an index uses: a packer of values and a cursor over bytes.

Specification: https://github.com/msgpack/msgpack/blob/master/spec.md (no extension types).
"""

from __future__ import annotations

import math
import struct
from typing import Any

from gluonzip.errors import ArchiveError


def pack(value: Any) -> bytes:
    """``value`` (None, bool, int, float, str, bytes, list, tuple, dict) in its shortest form.

    A float takes 4 bytes where float32 holds it exactly. TypeError for another type,
    OverflowError for an integer that 64 bits do not hold.
    """
    out = bytearray()
    _pack(value, out)
    return bytes(out)


def _pack(value: Any, out: bytearray) -> None:
    if value is None:
        out.append(0xC0)
    elif isinstance(value, bool):
        out.append(0xC3 if value else 0xC2)
    elif isinstance(value, int):
        _pack_int(value, out)
    elif isinstance(value, float):
        _pack_float(value, out)
    elif isinstance(value, str):
        text = value.encode()
        _pack_head(len(text), out, (0xA0, 32), 0xD9, 0xDA, 0xDB)
        out += text
    elif isinstance(value, bytes):
        _pack_head(len(value), out, None, 0xC4, 0xC5, 0xC6)
        out += value
    elif isinstance(value, (list, tuple)):
        _pack_head(len(value), out, (0x90, 16), None, 0xDC, 0xDD)
        for item in value:
            _pack(item, out)
    elif isinstance(value, dict):
        _pack_head(len(value), out, (0x80, 16), None, 0xDE, 0xDF)
        for key, item in value.items():
            _pack(key, out)
            _pack(item, out)
    else:
        raise TypeError(f"MessagePack has no type for {type(value).__name__}")


def _pack_int(value: int, out: bytearray) -> None:
    if -32 <= value < 128:
        out += struct.pack("b", value) if value < 0 else bytes([value])
        return
    kinds = [(0xCC, ">B"), (0xCD, ">H"), (0xCE, ">I"), (0xCF, ">Q")]
    bits = value.bit_length()
    if value < 0:
        kinds = [(0xD0, ">b"), (0xD1, ">h"), (0xD2, ">i"), (0xD3, ">q")]
        bits = (-value - 1).bit_length() + 1
    if bits > 64:
        raise OverflowError(f"{value} does not fit 64 bits")
    code, form = next(
        kind for kind, room in zip(kinds, (8, 16, 32, 64), strict=True) if bits <= room
    )
    out.append(code)
    out += struct.pack(form, value)


def _pack_float(value: float, out: bytearray) -> None:
    try:
        short = struct.pack(">f", value)
    except OverflowError:
        short = b""
    if short and (math.isnan(value) or struct.unpack(">f", short)[0] == value):
        out += b"\xca" + short
    else:
        out += b"\xcb" + struct.pack(">d", value)


def _pack_head(length, out, fix, code8, code16, code32) -> None:
    if fix and length < fix[1]:
        out.append(fix[0] | length)
    elif code8 is not None and length < 2**8:
        out += struct.pack(">BB", code8, length)
    elif length < 2**16:
        out += struct.pack(">BH", code16, length)
    else:
        out += struct.pack(">BI", code32, length)


_NUMBERS = {
    0xCA: ("float", ">f"),
    0xCB: ("float", ">d"),
    0xCC: ("int", ">B"),
    0xCD: ("int", ">H"),
    0xCE: ("int", ">I"),
    0xCF: ("int", ">Q"),
    0xD0: ("int", ">b"),
    0xD1: ("int", ">h"),
    0xD2: ("int", ">i"),
    0xD3: ("int", ">q"),
}
_LENGTHS = {
    0xC4: ("bin", ">B"),
    0xC5: ("bin", ">H"),
    0xC6: ("bin", ">I"),
    0xD9: ("str", ">B"),
    0xDA: ("str", ">H"),
    0xDB: ("str", ">I"),
    0xDC: ("array", ">H"),
    0xDD: ("array", ">I"),
    0xDE: ("map", ">H"),
    0xDF: ("map", ">I"),
}


class Cursor:
    """Reads values one at a time; never recurses, never allocates more than is left.

    ``where`` names the part being read, for messages.
    """

    def __init__(self, data: bytes, where: str = "index") -> None:
        self.data = data
        self.at = 0
        self.where = where

    def left(self) -> int:
        return len(self.data) - self.at

    def fail(self, message: str) -> ArchiveError:
        return ArchiveError(f"{self.where}: {message}")

    def token(self) -> tuple[str, Any]:
        """(kind, value); for "array" and "map" the value is the number of items that follow."""
        code = self._take(1)[0]
        if code < 0x80:
            return "int", code
        if code >= 0xE0:
            return "int", code - 256
        if code < 0x90:
            return "map", self._count(code & 15, 2)
        if code < 0xA0:
            return "array", self._count(code & 15, 1)
        if code < 0xC0:
            return "str", self._text(code & 31)
        if code in (0xC0, 0xC2, 0xC3):
            return ("nil", None) if code == 0xC0 else ("bool", code == 0xC3)
        if code in _NUMBERS:
            kind, form = _NUMBERS[code]
            return kind, self._number(form)
        if code in _LENGTHS:
            kind, form = _LENGTHS[code]
            length = self._number(form)
            if kind == "str":
                return kind, self._text(length)
            if kind == "bin":
                return kind, self._take(length)
            return kind, self._count(length, 2 if kind == "map" else 1)
        raise self.fail(f"byte {code:#04x} is no MessagePack type that an index uses")

    def _number(self, form: str) -> Any:
        return struct.unpack(form, self._take(struct.calcsize(form)))[0]

    def _take(self, length: int) -> bytes:
        if length > self.left():
            raise self.fail(f"a value of {length} bytes runs past the end of the index")
        self.at += length
        return self.data[self.at - length : self.at]

    def _count(self, count: int, each: int) -> int:
        if count * each > self.left():
            raise self.fail(f"a list or map of {count} items runs past the end of the index")
        return count

    def _text(self, length: int) -> str:
        try:
            return self._take(length).decode()
        except UnicodeDecodeError:
            raise self.fail("a string is not valid UTF-8") from None

    # ------------------------------------------------------------ typed
    def expect(self, kind: str, what: str) -> Any:
        found, value = self.token()
        if found != kind:
            raise self.fail(f"{what} must be {_A[kind]}, found {_A[found]}")
        return value

    def integer(self, what: str, low: int, high: int) -> int:
        """An integer in [low, high]."""
        value = self.expect("int", what)
        if not low <= value <= high:
            raise self.fail(f"{what} is {value}, must be from {low} to {high}")
        return value

    def array(self, what: str, length: int | None = None) -> int:
        """Starts an array (of exactly ``length`` items); returns its length."""
        count = self.expect("array", what)
        if length is not None and count != length:
            raise self.fail(f"{what} must have {length} items, has {count}")
        return count


_A = {
    "nil": "nil",
    "bool": "a boolean",
    "int": "an integer",
    "float": "a float",
    "str": "a string",
    "bin": "binary",
    "array": "a list",
    "map": "a map",
}
