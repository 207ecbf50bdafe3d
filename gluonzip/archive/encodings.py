"""How a tensor's elements become the bytes of its section, and back.

An encoding is written in the index as a flat list of words and integers::

    encoding := coding                                every element
              | "bitmap" nonzeros coding              one bit an element, then the non-zero values
              | "gap" symbols nonzeros coding coding  zeros before each value, then the values
    coding   := "raw"                                 little-endian
              | "packed" bits                         two's complement (gaps: unsigned)

:func:`encode` picks the smallest. A gap symbol of all ones means "that many zeros, no value yet".
Zero is the value whose bits are all zero: -0.0 and NaN survive.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from gluonzip.archive import bits as bit
from gluonzip.archive.layout import MAX_GAP_BITS
from gluonzip.archive.msgpack import pack
from gluonzip.errors import ArchiveError


# ---------------------------------------------------------------- parsed form
@dataclass(frozen=True)
class Coding:
    """How a stream of values is stored: ``kind`` is "raw" or "packed" with ``bits``."""

    kind: str
    bits: int = 0

    def words(self) -> list[str | int]:
        return [self.kind] if self.kind == "raw" else [self.kind, self.bits]

    def bytes(self, count: int, itemsize: int) -> int:
        """Bytes of ``count`` values whose raw form takes ``itemsize`` bytes each."""
        return count * itemsize if self.kind == "raw" else bit.packed_bytes(count, self.bits)

    def __str__(self) -> str:
        return self.kind if self.kind == "raw" else f"{self.bits}-bit"


@dataclass(frozen=True)
class Encoding:
    """``positions``: "dense", "bitmap" or "gap"; the other fields as in the module's grammar."""

    positions: str
    values: Coding
    nonzeros: int = 0
    symbols: int = 0
    gaps: Coding = Coding("raw")

    def words(self) -> list[str | int]:
        if self.positions == "dense":
            return self.values.words()
        if self.positions == "bitmap":
            return ["bitmap", self.nonzeros, *self.values.words()]
        return ["gap", self.symbols, self.nonzeros, *self.gaps.words(), *self.values.words()]

    def parts(self, elements: int, itemsize: int) -> tuple[int, int]:
        """(bytes of the positions, bytes of the values) of the section."""
        if self.positions == "dense":
            return 0, self.values.bytes(elements, itemsize)
        values = self.values.bytes(self.nonzeros, itemsize)
        if self.positions == "bitmap":
            return bit.packed_bytes(elements, 1), values
        return self.gaps.bytes(self.symbols, 2), values

    def __str__(self) -> str:
        if self.positions == "dense":
            return str(self.values)
        if self.positions == "bitmap":
            return f"bitmap + {self.values}"
        return f"gap {self.gaps} + {self.values}"


# ---------------------------------------------------------------- encode
def encode(data: np.ndarray) -> tuple[Encoding, bytes]:
    """The smallest encoding of ``data`` (its words in the index counted), and the section."""
    flat = np.ascontiguousarray(data).ravel()
    where = np.flatnonzero(_as_bits(flat))
    values = flat[where]
    gaps = np.diff(where, prepend=-1) - 1
    candidates = list(_candidates(flat, values, gaps))
    best = min(
        candidates, key=lambda e: sum(e.parts(flat.size, flat.itemsize)) + len(pack(e.words()))
    )
    return best, _encode_as(best, flat, where, values, gaps)


def _candidates(flat, values, gaps) -> Iterator[Encoding]:
    """From the simplest on: of equals the first is taken."""
    yield from (Encoding("dense", coding) for coding in _codings(flat))
    best = min(_codings(values), key=lambda c: c.bytes(values.size, flat.itemsize))
    yield Encoding("bitmap", best, values.size)
    for width in range(1, MAX_GAP_BITS + 1):
        symbols = values.size + int((gaps // (2**width - 1)).sum())
        yield Encoding("gap", best, values.size, symbols, Coding("packed", width))


def _codings(values: np.ndarray) -> list[Coding]:
    codings = [Coding("raw")]
    if values.dtype.kind == "i":
        codings.append(Coding("packed", bit.signed_bits(values)))
    return codings


def _encode_as(encoding: Encoding, flat, where, values, gaps) -> bytes:
    if encoding.positions == "dense":
        return _encode_values(encoding.values, flat)
    tail = _encode_values(encoding.values, values)
    if encoding.positions == "bitmap":
        mask = np.zeros(flat.size, bool)
        mask[where] = True
        return np.packbits(mask, bitorder="little").tobytes() + tail
    return bit.pack_bits(gap_symbols(gaps, encoding.gaps.bits), encoding.gaps.bits) + tail


def gap_symbols(gaps: np.ndarray, width: int) -> np.ndarray:
    """Runs of zeros as symbols of ``width`` bits: ``gap // escape`` escapes, then the rest."""
    escape = 2**width - 1
    escapes, rest = np.divmod(gaps, escape)
    out = np.full(gaps.size + int(escapes.sum()), escape, np.int64)
    out[np.cumsum(escapes + 1) - 1] = rest
    return out


def _encode_values(coding: Coding, values: np.ndarray) -> bytes:
    return values.tobytes() if coding.kind == "raw" else bit.pack_bits(values, coding.bits)


def _as_bits(flat: np.ndarray) -> np.ndarray:
    return flat.view(f"u{flat.itemsize}")


# ---------------------------------------------------------------- decode
def decode(encoding: Encoding, dtype: np.dtype, elements: int, section: bytes) -> np.ndarray:
    """The flat array of ``elements`` values. ArchiveError says what is wrong with the section.

    The section's length must have been checked against :meth:`Encoding.parts`.
    """
    head, _ = encoding.parts(elements, dtype.itemsize)
    if encoding.positions == "dense":
        return _decode_values(encoding.values, dtype, elements, section)
    if encoding.positions == "bitmap":
        where = _decode_bitmap(section[:head], elements, encoding.nonzeros)
    else:
        where = _decode_gaps(encoding, section[:head], elements)
    out = np.zeros(elements, dtype)
    out[where] = _decode_values(encoding.values, dtype, encoding.nonzeros, section[head:])
    return out


def _decode_values(coding: Coding, dtype: np.dtype, count: int, data: bytes) -> np.ndarray:
    if coding.kind == "raw":
        return np.frombuffer(data, dtype, count).copy()
    return bit.unpack_bits(data, count, coding.bits, signed=True).astype(dtype)


def _decode_bitmap(data: bytes, elements: int, nonzeros: int) -> np.ndarray:
    where = np.flatnonzero(bit.unpack_bits(data, elements, 1, signed=False))
    if where.size != nonzeros:
        raise ArchiveError(f"the bitmap marks {where.size} values, the index says {nonzeros}")
    return where


def _decode_gaps(encoding: Encoding, data: bytes, elements: int) -> np.ndarray:
    width = encoding.gaps.bits
    symbols = bit.unpack_bits(data, encoding.symbols, width, signed=False)
    has_value = symbols != 2**width - 1
    found = int(has_value.sum())
    if found != encoding.nonzeros:
        raise ArchiveError(f"the gaps place {found} values, the index says {encoding.nonzeros}")
    ends = np.cumsum(symbols + has_value)
    if ends.size and ends[-1] > elements:
        raise ArchiveError(f"the gaps run past the tensor's {elements} elements")
    return ends[has_value] - 1
