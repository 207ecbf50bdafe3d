"""Bytes to Graph. Every length is checked before anything is read or allocated."""

from __future__ import annotations

import itertools
import json
import os
import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gluonzip.archive import encodings, layout
from gluonzip.archive.index import Index, MetaEntry, TensorEntry, unpack_index
from gluonzip.archive.info import ArchiveInfo, SectionInfo
from gluonzip.archive.structure import check_structure
from gluonzip.errors import ArchiveError, ConfigError
from gluonzip.graph.ir import Constant, Graph
from gluonzip.spec import code_limit

Source = str | os.PathLike | bytes | bytearray | memoryview


def read(source: Source, member: str | None = None) -> Graph:
    """The graph in an archive, a path or its bytes; what was written as meta is in ``graph.meta``.

    ``member``: which network of a family. ArchiveError names the file, the part of it and what is
    wrong; ConfigError the members there are.
    """
    return _opened(source, lambda opened: opened.graph(member))


def read_family(source: Source) -> dict[str, Graph]:
    """Every network of a family by name; what they have in common is one array in memory, too.

    Raises as :func:`read`, and ConfigError for an archive of one network.
    """
    return _opened(source, lambda opened: opened.family())


def members(source: Source) -> tuple[str, ...]:
    """Names of a family's networks, () for an archive of one network."""
    return _opened(source, lambda opened: tuple(m.name for m in opened.index.members or ()))


def inspect(source: Source) -> ArchiveInfo:
    """Where every byte of an archive goes. Reads and checks all of it."""
    return load(source)[1]


def load(source: Source) -> tuple[dict[str, Graph], ArchiveInfo]:
    """Every graph in an archive by member (a network alone is member ""), and its bytes."""
    return _opened(source, lambda opened: (opened.graphs(), opened.info()))


def _opened(source: Source, use: Callable[[_Archive], Any]) -> Any:
    data, origin = _bytes_of(source)
    try:
        return use(_Archive(data))
    except (ArchiveError, ConfigError) as error:
        raise type(error)(f"{origin}: {error}") from None


def _bytes_of(source: Source) -> tuple[bytes, str]:
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(source), "archive"
    try:
        return Path(source).read_bytes(), str(source)
    except OSError as error:
        raise ArchiveError(f"{source}: cannot be read: {error.strerror}") from None


class _Archive:
    """An archive whose header and index are sound; tensors are decoded when first asked for."""

    def __init__(self, data: bytes) -> None:
        self.index_bytes, crc = layout.unpack_header(data)
        begin = layout.HEADER_BYTES + self.index_bytes
        packed = data[layout.HEADER_BYTES : begin]
        _check_crc("index", packed, crc)
        self.index = unpack_index(packed)
        check_sizes(self.index, len(data), len(data) - begin)
        self.data = data
        lengths = [entry.length for entry in self.index.tensors]
        self.starts = [begin, *(begin + end for end in itertools.accumulate(lengths))]
        self.decoded: dict[int, Constant] = {}

    def graph(self, member: str | None) -> Graph:
        """The only network, or the one called ``member``."""
        if self.index.members is None:
            if member is not None:
                raise ConfigError(f"holds one network, so there is no member {member!r}")
            return self._filled(0)
        names = [m.name for m in self.index.members]
        if member not in names:
            raise ConfigError(choose_member(member, names))
        return self._filled(names.index(member))

    def family(self) -> dict[str, Graph]:
        if self.index.members is None:
            raise ConfigError("holds one network, not a family")
        return self.graphs()

    def graphs(self) -> dict[str, Graph]:
        names = [m.name for m in self.index.members] if self.index.members is not None else [""]
        graphs = {name: self._filled(number) for number, name in enumerate(names)}
        for number in range(len(self.index.tensors)):
            self._tensor(number)  # those that no member uses
        return graphs

    def info(self) -> ArchiveInfo:
        nonzeros = [
            int(np.count_nonzero(self._tensor(number).data))
            for number in range(len(self.index.tensors))
        ]
        return describe(self.index, self.index_bytes, nonzeros)

    def _filled(self, number: int) -> Graph:
        """Graph ``number`` with its constants and its meta."""
        graph = self.index.graphs[number]
        for at, name in self._uses(number):
            if name in graph.constants:
                raise ArchiveError(f"tensor {name!r}: tensor {name!r} is defined twice")
            graph.constants[name] = self._tensor(at)
        entry = self.index.meta
        if entry is not None:
            _check_crc("meta", self.data[self.starts[-1] :], entry.crc)
        check_structure(graph)
        if entry is not None:
            graph.meta = self._meta(entry, number)
        return graph

    def _uses(self, number: int) -> list[tuple[int, str]]:
        tensors = self.index.tensors
        if self.index.members is None:
            return [(at, entry.name) for at, entry in enumerate(tensors)]
        uses = self.index.members[number].uses
        check_decoded([tensors[at] for at, _ in uses], len(self.data))
        return uses

    def _tensor(self, number: int) -> Constant:
        if number not in self.decoded:
            begin, end = self.starts[number : number + 2]
            entry = self.index.tensors[number]
            self.decoded[number] = _constant(entry, self.data[begin:end])
        return self.decoded[number]

    def _meta(self, entry: MetaEntry, number: int) -> dict[str, Any]:
        meta = _meta(entry, self.data[self.starts[-1] :])
        if self.index.members is None:
            return meta
        name = self.index.members[number].name
        mine = meta.get(name, {})
        if not isinstance(mine, dict):
            raise ArchiveError(f"meta: of member {name!r} is not a JSON object")
        return mine


def choose_member(member: str | None, names: Sequence[str]) -> str:
    """What is wrong with ``member``."""
    known = ", ".join(repr(name) for name in names) or "none"
    if member is None:
        return f"holds a family of networks; say which member: {known}"
    return f"has no member {member!r}; there are {known}"


def _check_crc(what: str, data: bytes, crc: int) -> None:
    if zlib.crc32(data) != crc:
        raise ArchiveError(f"{what}: the checksum does not match: the file is corrupted")


def check_sizes(index: Index, file_bytes: int, left: int) -> None:
    """The sections fill the file exactly, and decode to no more than is reasonable."""
    total = sum(entry.length for entry in index.tensors)
    total += index.meta.length if index.meta else 0
    if total > left:
        raise ArchiveError(f"truncated: the sections take {total} bytes, {left} are left")
    if total < left:
        raise ArchiveError(f"{left - total} bytes follow the last section")
    check_decoded(index.tensors, file_bytes)


def check_decoded(tensors: Iterable[TensorEntry], file_bytes: int) -> None:
    """Tensors that are in memory together take no more than is reasonable."""
    decoded = sum(layout.decoded_bytes(entry.dtype, entry.elements) for entry in tensors)
    limit = layout.max_decoded_bytes(file_bytes)
    if decoded > limit:
        raise ArchiveError(
            f"the tensors would take {decoded} bytes of memory, the limit for a file of "
            f"{file_bytes} bytes is {limit}"
        )


def _constant(entry: TensorEntry, section: bytes) -> Constant:
    what = f"tensor {entry.name!r}"
    _check_crc(what, section, entry.crc)
    try:
        flat = encodings.decode(entry.encoding, entry.dtype, entry.elements, section)
    except ArchiveError as error:
        raise ArchiveError(f"{what}: {error}") from None
    if entry.scale is None:
        return Constant(flat.reshape(entry.shape))
    if entry.bits == 1:
        flat = _binary_codes(flat, what)
    limit = code_limit(entry.bits)
    if flat.size and (flat.min() < -limit or flat.max() > limit):
        raise ArchiveError(f"{what}: a code is outside [-{limit}, {limit}]")
    return Constant(flat.reshape(entry.shape), entry.scale, entry.axis, entry.bits)


def _binary_codes(bits: np.ndarray, what: str) -> np.ndarray:
    """Codes 1 and -1 of what is stored as 0 and -1, the two integers of one bit."""
    if bits.size and (bits.min() < -1 or bits.max() > 0):
        raise ArchiveError(f"{what}: a binary code is stored as neither 0 nor -1")
    return (2 * bits + 1).astype(np.int8)


def _meta(entry: MetaEntry, section: bytes) -> dict[str, Any]:
    inflate = zlib.decompressobj(-15)
    try:
        text = inflate.decompress(section, entry.size + 1)
    except zlib.error as error:
        raise ArchiveError(f"meta: cannot be decompressed: {error}") from None
    if len(text) != entry.size or not inflate.eof or inflate.unused_data:
        raise ArchiveError(
            f"meta: does not decompress to the {entry.size} bytes that the index says"
        )
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise ArchiveError("meta: is not JSON") from None
    if not isinstance(value, dict):
        raise ArchiveError("meta: is not a JSON object")
    return value


def _float_bits(entry: TensorEntry) -> int:
    """Of each value as stored: bfloat16 is float32 whose low bits are left out."""
    values = entry.encoding.values
    short = values.kind == "packed" and not values.entries and values.exponent is None
    return values.bits if short and entry.dtype.kind == "f" else 8 * entry.dtype.itemsize


def describe(index: Index, index_bytes: int, nonzeros: list[int]) -> ArchiveInfo:
    """The byte count of an archive with this index; ``nonzeros`` one a tensor."""
    users: list[list[str]] = [[] for _ in index.tensors]
    for member in index.members or ():
        for number, _ in member.uses:
            users[number].append(member.name)
    sections = tuple(
        SectionInfo(
            name=entry.name,
            dtype=str(entry.dtype),
            shape=entry.shape,
            encoding=str(entry.encoding),
            bytes=entry.length,
            nonzeros=count,
            bits=entry.bits if entry.scale is not None else _float_bits(entry),
            elements=entry.elements,
            quantized=entry.scale is not None,
            members=tuple(dict.fromkeys(using)),
        )
        for entry, count, using in zip(index.tensors, nonzeros, users, strict=True)
    )
    meta = index.meta.length if index.meta else 0
    total = layout.HEADER_BYTES + index_bytes + sum(s.bytes for s in sections) + meta
    names = tuple(member.name for member in index.members or ())
    return ArchiveInfo(total, layout.HEADER_BYTES, index_bytes, sections, meta, names)
