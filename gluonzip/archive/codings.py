"""How a stream of values is stored.

A coding is written in the index as a flat list of words and integers::

    coding := "raw"                       little-endian
            | "packed" bits               the low bits of integers, the high bits of floats
            | "rans" bits length          entropy-coded integers: see rans.py
            | "codebook" entries coding   that many distinct floats, then indices into them
            | "fixed" exponent coding     float32: integers times 2^exponent

:func:`plans` lists what fits a stream, each with the bytes that it will take.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from gluonzip.archive import bits as bit
from gluonzip.archive import rans
from gluonzip.errors import ArchiveError

MAX_ENTRIES = 256
MIN_EXPONENT, MAX_EXPONENT = -149, 96  # of float32, times 31-bit integers
SYMBOLS_PER_BYTE = 8192
"""How many entropy-coded symbols may be decoded to save a byte (about 10 microseconds)."""
_CHUNK = 2**16


@dataclass(frozen=True)
class Coding:
    """``kind`` is "raw", "packed" or "rans": with ``entries`` that of a codebook's indices, with
    ``exponent`` that of fixed-point numbers. ``bits`` of packed and rans, ``length`` of rans.
    """

    kind: str
    bits: int = 0
    length: int = 0
    entries: int = 0
    exponent: int | None = None

    def words(self) -> list[str | int]:
        book: list[str | int] = ["codebook", self.entries] if self.entries else []
        if self.exponent is not None:
            book = ["fixed", self.exponent]
        parameters = {"raw": [], "packed": [self.bits], "rans": [self.bits, self.length]}
        return [*book, self.kind, *parameters[self.kind]]

    def bytes(self, count: int, itemsize: int) -> int:
        """Bytes of ``count`` values whose raw form takes ``itemsize`` bytes each."""
        book = self.entries * itemsize
        if self.kind == "rans":
            return book + self.length
        return book + (
            count * itemsize if self.kind == "raw" else bit.packed_bytes(count, self.bits)
        )

    def __str__(self) -> str:
        book = f"codebook of {self.entries}, " if self.entries else ""
        if self.exponent is not None:
            book = "fixed, "
        return book + {"raw": "raw", "packed": f"{self.bits}-bit", "rans": "rans"}[self.kind]


RAW = Coding("raw")


@dataclass(frozen=True)
class Plan:
    """A coding that fits a stream; ``bytes`` is exact but for rans, whose time counts a little."""

    bytes: int
    make: Callable[[], tuple[Coding, bytes]]


# ---------------------------------------------------------------- encode
def plans(values: np.ndarray) -> Iterator[Plan]:
    """What fits a flat array, from the simplest on. Words in the index are counted."""
    yield Plan(1 + values.nbytes, lambda: (RAW, values.tobytes()))
    if values.dtype.kind == "i":
        yield from integer_plans(values)
    else:
        yield from _float_plans(values)


def integer_plans(values: np.ndarray, unsigned_bits: int | None = None) -> Iterator[Plan]:
    """packed and rans; two's complement unless ``unsigned_bits`` says how wide the values are."""
    width = unsigned_bits or bit.signed_bits(values)
    packed = _packed(values, width)
    yield packed
    if width <= rans.MAX_BITS and values.size:
        histogram = np.bincount(rans.patterns(values, width), minlength=2**width)
        if rans.entropy_bytes(histogram) < packed.bytes:
            yield rans_plan(histogram, width, lambda: values)


def rans_plan(histogram: np.ndarray, width: int, values: Callable[[], np.ndarray]) -> Plan:
    chosen = rans.plan(histogram, width)

    def make() -> tuple[Coding, bytes]:
        data = rans.encode(values(), chosen)
        return Coding("rans", width, len(data)), data

    return Plan(5 + chosen.bytes + int(histogram.sum()) // SYMBOLS_PER_BYTE, make)


def _packed(values: np.ndarray, width: int) -> Plan:
    size = 2 + bit.packed_bytes(values.size, width)
    return Plan(size, lambda: (Coding("packed", width), bit.pack_bits(values, width)))


def _float_plans(values: np.ndarray) -> Iterator[Plan]:
    words = values.view(f"<i{values.itemsize}")
    every = 8 * values.itemsize
    spare = _trailing_zeros(words, every)
    if 0 < spare < every:
        yield _packed(words >> spare, every - spare)
    if values.dtype == np.float32:
        yield from _fixed_plans(values)
    distinct = _distinct(words)
    if distinct is None or not distinct.size:
        return
    indices = np.searchsorted(distinct, words)
    for plan in integer_plans(indices, max(1, int(distinct.size - 1).bit_length())):
        yield _codebook(distinct, plan)


def _codebook(distinct: np.ndarray, indices: Plan) -> Plan:
    def make() -> tuple[Coding, bytes]:
        coding, data = indices.make()
        return replace(coding, entries=distinct.size), distinct.tobytes() + data

    return Plan(3 + distinct.nbytes + indices.bytes, make)


def _fixed_plans(values: np.ndarray) -> Iterator[Plan]:
    """Floats that are small integers times a power of two."""
    mantissas, exponents = np.frexp(values[values != 0].astype(np.float64))
    integers = (mantissas * 2.0**24).astype(np.int64)  # exact: float32 has 24 bits
    if not integers.size or not np.isfinite(values).all() or np.signbit(values[values == 0]).any():
        return
    lowest = integers & -integers
    exponent = int((exponents - 24 + np.log2(lowest).astype(np.int64)).min())
    if exponent > MAX_EXPONENT or int(exponents.max()) - exponent > 30:
        return
    for plan in integer_plans(np.ldexp(values.astype(np.float64), -exponent).astype(np.int64)):
        yield _fixed(plan, exponent)


def _fixed(integers: Plan, exponent: int) -> Plan:
    def make() -> tuple[Coding, bytes]:
        coding, data = integers.make()
        return replace(coding, exponent=exponent), data

    return Plan(integers.bytes + 2, make)


def _trailing_zeros(words: np.ndarray, every: int) -> int:
    """How many low bits are zero in all of ``words``."""
    used = int(np.bitwise_or.reduce(words, initial=0)) & (2**every - 1)
    return (used & -used).bit_length() - 1 if used else every


def _distinct(words: np.ndarray) -> np.ndarray | None:
    """The sorted distinct words, or None when they are too many for a codebook."""
    distinct = words[:0]
    for begin in range(0, words.size, _CHUNK):
        distinct = np.union1d(distinct, words[begin : begin + _CHUNK])
        if distinct.size > MAX_ENTRIES:
            return None
    return distinct


# ---------------------------------------------------------------- decode
def decode(coding: Coding, dtype: np.dtype, count: int, data: bytes) -> np.ndarray:
    """``count`` values of ``dtype``, from exactly ``coding.bytes(...)`` bytes."""
    if coding.entries:
        return _decode_codebook(coding, dtype, count, data)
    if coding.kind == "raw":
        return np.frombuffer(data, dtype, count).copy()
    integers = decode_integers(coding, count, data, signed=True)
    if coding.exponent is not None:
        return np.ldexp(integers.astype(np.float64), coding.exponent).astype(dtype)
    if dtype.kind == "i":
        return integers.astype(dtype)
    spare = 8 * dtype.itemsize - coding.bits
    return (integers.astype(np.int64) << spare).astype(f"<i{dtype.itemsize}").view(dtype)


def _decode_codebook(coding: Coding, dtype: np.dtype, count: int, data: bytes) -> np.ndarray:
    book = np.frombuffer(data, dtype, coding.entries)
    indices = decode_integers(coding, count, data[book.nbytes :], signed=False)
    if count and int(indices.max()) >= coding.entries:
        raise ArchiveError(f"an index is past the {coding.entries} entries of the codebook")
    return book[indices]


def decode_integers(coding: Coding, count: int, data: bytes, signed: bool) -> np.ndarray:
    """``count`` integers of a packed or rans stream."""
    if coding.kind == "rans":
        return rans.decode(data, count, coding.bits, signed)
    return bit.unpack_bits(data, count, coding.bits, signed)
