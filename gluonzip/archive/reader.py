"""Bytes to Graph. Every length is checked before anything is read or allocated."""

from __future__ import annotations

import json
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from gluonzip.archive import encodings, layout
from gluonzip.archive.index import Index, MetaEntry, TensorEntry, unpack_index
from gluonzip.archive.info import ArchiveInfo, SectionInfo
from gluonzip.archive.structure import check_structure
from gluonzip.errors import ArchiveError
from gluonzip.graph.ir import Constant, Graph
from gluonzip.spec import max_code

Source = str | os.PathLike | bytes | bytearray | memoryview


def read(source: Source) -> Graph:
    """The graph in an archive, a path or its bytes; what was written as meta is in ``graph.meta``.

    ArchiveError names the file, the part of it and what is wrong.
    """
    return load(source)[0]


def inspect(source: Source) -> ArchiveInfo:
    """Where every byte of an archive goes. Reads and checks all of it."""
    return load(source)[1]


def load(source: Source) -> tuple[Graph, ArchiveInfo]:
    """What :func:`read` and :func:`inspect` return, from one pass."""
    data, origin = _bytes_of(source)
    try:
        return _parse(data)
    except ArchiveError as error:
        raise ArchiveError(f"{origin}: {error}") from None


def _bytes_of(source: Source) -> tuple[bytes, str]:
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(source), "archive"
    try:
        return Path(source).read_bytes(), str(source)
    except OSError as error:
        raise ArchiveError(f"{source}: cannot be read: {error.strerror}") from None


def _parse(data: bytes) -> tuple[Graph, ArchiveInfo]:
    length, crc = layout.unpack_header(data)
    begin = layout.HEADER_BYTES + length
    packed = data[layout.HEADER_BYTES : begin]
    _check_crc("index", packed, crc)
    index = unpack_index(packed)
    check_sizes(index, len(data), len(data) - begin)
    graph = index.graph
    for entry in index.tensors:
        if entry.name in graph.constants:
            raise ArchiveError(f"tensor {entry.name!r}: tensor {entry.name!r} is defined twice")
        graph.constants[entry.name] = _constant(entry, data[begin : begin + entry.length])
        begin += entry.length
    if index.meta is not None:
        _check_crc("meta", data[begin:], index.meta.crc)
    check_structure(graph)
    if index.meta is not None:
        graph.meta = _meta(index.meta, data[begin:])
    nonzeros = [int(np.count_nonzero(c.data)) for c in graph.constants.values()]
    return graph, describe(index, length, nonzeros)


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
    decoded = sum(layout.decoded_bytes(entry.dtype, entry.elements) for entry in index.tensors)
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
    limit = max_code(entry.bits)
    if flat.size and (flat.min() < -limit or flat.max() > limit):
        raise ArchiveError(f"{what}: a code is outside [-{limit}, {limit}]")
    return Constant(flat.reshape(entry.shape), entry.scale, entry.axis, entry.bits)


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


def describe(index: Index, index_bytes: int, nonzeros: list[int]) -> ArchiveInfo:
    """The byte count of an archive with this index; ``nonzeros`` one a tensor."""
    sections = tuple(
        SectionInfo(
            name=entry.name,
            dtype=str(entry.dtype),
            shape=entry.shape,
            encoding=str(entry.encoding),
            bytes=entry.length,
            nonzeros=count,
            bits=entry.bits if entry.scale is not None else 8 * entry.dtype.itemsize,
            elements=entry.elements,
            quantized=entry.scale is not None,
        )
        for entry, count in zip(index.tensors, nonzeros, strict=True)
    )
    meta = index.meta.length if index.meta else 0
    total = layout.HEADER_BYTES + index_bytes + sum(s.bytes for s in sections) + meta
    return ArchiveInfo(total, layout.HEADER_BYTES, index_bytes, sections, meta)
