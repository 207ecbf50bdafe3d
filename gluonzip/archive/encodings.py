"""How a tensor's elements become the bytes of its section, and back.

An encoding is written in the index as a flat list of words and integers::

    encoding := coding                                every element
              | "bitmap" nonzeros coding              one bit an element, then the non-zero values
              | "gap" symbols nonzeros coding coding  zeros before each value, then the values

:func:`encode` picks the smallest. A gap symbol of all ones means "that many zeros, no value yet".
Zero is the value whose bits are all zero: -0.0 and NaN survive.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from gluonzip.archive import bits as bit
from gluonzip.archive import codings, rans
from gluonzip.archive.codings import RAW, Coding, Plan
from gluonzip.archive.layout import MAX_GAP_BITS
from gluonzip.errors import ArchiveError


@dataclass(frozen=True)
class Encoding:
    """``positions``: "dense", "bitmap" or "gap"; the other fields as in the module's grammar."""

    positions: str
    values: Coding
    nonzeros: int = 0
    symbols: int = 0
    gaps: Coding = RAW

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
def encode(data: np.ndarray, raw: bool = False) -> tuple[Encoding, bytes]:
    """The smallest encoding of ``data`` (its words in the index counted), and the section.

    ``raw``: the values as they are, which takes no time.
    """
    flat = np.ascontiguousarray(data).ravel()
    if raw:
        return _dense(next(codings.plans(flat)))
    where = np.flatnonzero(flat.view(f"u{flat.itemsize}"))
    return min(_candidates(flat, where), key=lambda candidate: candidate[0])[1]()


Candidate = tuple[int, Callable[[], tuple[Encoding, bytes]]]


def _candidates(flat: np.ndarray, where: np.ndarray) -> Iterator[Candidate]:
    """(bytes, how to make it), from the simplest on: of equals the first is taken."""
    for plan in codings.plans(flat):
        yield plan.bytes, lambda plan=plan: _dense(plan)
    if where.size == flat.size > 0:
        return
    values = min(codings.plans(flat[where]), key=lambda plan: plan.bytes)
    size = 4 + bit.packed_bytes(flat.size, 1) + values.bytes
    yield size, lambda: _bitmap(flat.size, where, values)
    gaps = np.diff(where, prepend=-1) - 1
    for plan, symbols in _gap_plans(gaps):
        yield 7 + plan.bytes + values.bytes, lambda p=plan, n=symbols: _gap(p, n, gaps, values)


def _dense(plan: Plan) -> tuple[Encoding, bytes]:
    coding, section = plan.make()
    return Encoding("dense", coding), section


def _bitmap(elements: int, where: np.ndarray, values: Plan) -> tuple[Encoding, bytes]:
    coding, tail = values.make()
    mask = np.zeros(elements, bool)
    mask[where] = True
    section = np.packbits(mask, bitorder="little").tobytes() + tail
    return Encoding("bitmap", coding, where.size), section


def _gap(positions: Plan, symbols: int, gaps, values: Plan) -> tuple[Encoding, bytes]:
    coding, tail = values.make()
    head_coding, head = positions.make()
    return Encoding("gap", coding, gaps.size, symbols, head_coding), head + tail


def _gap_plans(gaps: np.ndarray) -> list[tuple[Plan, int]]:
    """(coding, number of symbols) for the widths of gaps that may be the best."""
    lengths = np.bincount(gaps) if gaps.size else np.zeros(0, int)
    runs = np.arange(lengths.size)
    packed, coded = [], []
    for width in range(1, MAX_GAP_BITS + 1):
        escape = 2**width - 1
        symbols = gaps.size + int((lengths * (runs // escape)).sum())
        packed.append((_packed_gaps(gaps, symbols, width), symbols))
        if width <= rans.MAX_BITS and symbols:
            histogram = np.bincount(runs % escape, lengths, escape + 1).astype(np.int64)
            histogram[escape] = symbols - gaps.size
            # A few bits a symbol for the table: enough to tell which widths deserve a plan.
            guess = rans.entropy_bytes(histogram) + np.count_nonzero(histogram) * 3 / 8
            guess += symbols / codings.SYMBOLS_PER_BYTE
            coded.append((guess, width, symbols, histogram))
    best = min(packed, key=lambda item: item[0].bytes)
    return [best] + [
        (codings.rans_plan(histogram, width, partial(gap_symbols, gaps, width)), symbols)
        for guess, width, symbols, histogram in sorted(coded, key=lambda item: item[:2])[:3]
        if guess < best[0].bytes
    ]


def _packed_gaps(gaps: np.ndarray, symbols: int, width: int) -> Plan:
    def make() -> tuple[Coding, bytes]:
        return Coding("packed", width), bit.pack_bits(gap_symbols(gaps, width), width)

    return Plan(2 + bit.packed_bytes(symbols, width), make)


def gap_symbols(gaps: np.ndarray, width: int) -> np.ndarray:
    """Runs of zeros as symbols of ``width`` bits: ``gap // escape`` escapes, then the rest."""
    escape = 2**width - 1
    escapes, rest = np.divmod(gaps, escape)
    out = np.full(gaps.size + int(escapes.sum()), escape, np.int64)
    out[np.cumsum(escapes + 1) - 1] = rest
    return out


# ---------------------------------------------------------------- decode
def decode(encoding: Encoding, dtype: np.dtype, elements: int, section: bytes) -> np.ndarray:
    """The flat array of ``elements`` values. ArchiveError says what is wrong with the section.

    The section's length must have been checked against :meth:`Encoding.parts`.
    """
    head, _ = encoding.parts(elements, dtype.itemsize)
    if encoding.positions == "dense":
        return codings.decode(encoding.values, dtype, elements, section)
    values = codings.decode(encoding.values, dtype, encoding.nonzeros, section[head:])
    if encoding.positions == "bitmap":
        where = _decode_bitmap(section[:head], elements, encoding.nonzeros)
    else:
        where = _decode_gaps(encoding, section[:head], elements)
    out = np.zeros(elements, dtype)
    out[where] = values
    return out


def _decode_bitmap(data: bytes, elements: int, nonzeros: int) -> np.ndarray:
    where = np.flatnonzero(bit.unpack_bits(data, elements, 1, signed=False))
    if where.size != nonzeros:
        raise ArchiveError(f"the bitmap marks {where.size} values, the index says {nonzeros}")
    return where


def _decode_gaps(encoding: Encoding, data: bytes, elements: int) -> np.ndarray:
    symbols = codings.decode_integers(encoding.gaps, encoding.symbols, data, signed=False)
    has_value = symbols != 2**encoding.gaps.bits - 1
    found = int(has_value.sum())
    if found != encoding.nonzeros:
        raise ArchiveError(f"the gaps place {found} values, the index says {encoding.nonzeros}")
    ends = np.cumsum(symbols + has_value, dtype=np.int64)
    if ends.size and ends[-1] > elements:
        raise ArchiveError(f"the gaps run past the tensor's {elements} elements")
    return ends[has_value] - 1
