"""Graph to bytes, and bytes to a file that is there whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import zlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from gluonzip.archive import layout
from gluonzip.archive.encodings import encode
from gluonzip.archive.index import (
    Index,
    Member,
    MetaEntry,
    TensorEntry,
    pack_index,
    unpack_index,
)
from gluonzip.archive.info import ArchiveInfo
from gluonzip.archive.reader import check_sizes, describe
from gluonzip.archive.zeros import stored_constants
from gluonzip.errors import ArchiveError, ConfigError
from gluonzip.graph.ir import Constant, Graph
from gluonzip.graph.validate import validate


def write(path: str | os.PathLike, graph: Graph, meta: dict[str, Any] | None = None) -> ArchiveInfo:
    """Write ``graph`` to ``path``; the file appears complete or, after an error, not at all.

    ``meta``: JSON-able facts that go with it, on top of ``graph.meta``. The same graph and meta
    give the same bytes. GraphError when the graph is malformed, ArchiveError when the path cannot
    be written or the graph holds what an archive cannot.
    """
    data, info = _build(graph, meta)
    _replace_file(Path(path), data)
    return info


def to_bytes(graph: Graph, meta: dict[str, Any] | None = None, raw: bool = False) -> bytes:
    """The archive that :func:`write` would write; ``raw``: quickly, with no tensor compressed."""
    return _build(graph, meta, raw)[0]


def write_family(path: str | os.PathLike, graphs: Mapping[str, Graph]) -> ArchiveInfo:
    """Write several networks to one file; tensors that are equal to the bit are stored once.

    ``graphs``: member name -> graph, each with its own meta. :func:`read` and
    :meth:`gluonzip.runtime.Engine.load` take a ``member``. Raises as :func:`write`; ConfigError
    for no networks or a name that is empty.
    """
    data, info = _build_family(graphs)
    _replace_file(Path(path), data)
    return info


def family_to_bytes(graphs: Mapping[str, Graph]) -> bytes:
    """The archive that :func:`write_family` would write."""
    return _build_family(graphs)[0]


def _build(
    graph: Graph, meta: dict[str, Any] | None, raw: bool = False
) -> tuple[bytes, ArchiveInfo]:
    validate(graph)
    constants = stored_constants(graph)
    entries = [_tensor(name, constant, raw) for name, constant in constants.items()]
    index = Index([graph], [entry for entry, _ in entries])
    constants = list(constants.values())
    return _assemble(index, constants, [s for _, s in entries], {**graph.meta, **(meta or {})})


def _build_family(graphs: Mapping[str, Graph]) -> tuple[bytes, ArchiveInfo]:
    if not graphs or not all(graphs):
        raise ConfigError(f"a family needs members with names, got {list(graphs)}")
    index = Index(list(graphs.values()), members=[Member(name) for name in graphs])
    sections: list[bytes] = []
    constants: list[Constant] = []
    numbers: dict[tuple, int] = {}
    for member, graph in zip(index.members or (), graphs.values(), strict=True):
        validate(graph)
        for name, constant in stored_constants(graph).items():
            key = _identity(constant)
            if key not in numbers:
                entry, section = _tensor(name, constant, raw=False)
                numbers[key] = len(sections)
                index.tensors.append(entry)
                sections.append(section)
                constants.append(constant)
            member.uses.append((numbers[key], name))
    meta = {name: graph.meta for name, graph in graphs.items() if graph.meta}
    return _assemble(index, constants, sections, meta)


def _identity(constant: Constant) -> tuple:
    """Equal for constants that are equal to the bit."""
    data = np.ascontiguousarray(constant.data)
    digest = hashlib.sha256(data.tobytes()).digest()
    scale = None if constant.scale is None else np.asarray(constant.scale, np.float32).tobytes()
    return data.shape, data.dtype.str, digest, scale, constant.axis, constant.bits


def _assemble(
    index: Index, constants: list[Constant], sections: list[bytes], meta: dict[str, Any]
) -> tuple[bytes, ArchiveInfo]:
    packed_meta = _pack_meta(meta)
    if packed_meta is not None:
        index.meta, section = packed_meta
        sections.append(section)
    packed = pack_index(index)
    data = b"".join([layout.pack_header(packed), packed, *sections])
    # The reader's own checks hold the writer to the limits of the format.
    check_sizes(unpack_index(packed), len(data), sum(map(len, sections)))
    nonzeros = [int(np.count_nonzero(c.data)) for c in constants]
    return data, describe(index, len(packed), nonzeros)


# ---------------------------------------------------------------- tensors
def _tensor(name: str, constant: Constant, raw: bool) -> tuple[TensorEntry, bytes]:
    data = np.asarray(constant.data)
    dtype = data.dtype.newbyteorder("<")
    if dtype not in layout.NAME_OF_DTYPE:
        raise ArchiveError(
            f"tensor {name!r}: dtype {data.dtype} has no place in an archive; cast it to one of "
            f"{', '.join(str(d) for d in layout.DTYPES.values())}"
        )
    data = data.astype(dtype, copy=False)
    # One bit holds the integers 0 and -1: they stand for the binary codes 1 and -1.
    binary = constant.quantized and constant.bits == 1
    encoding, section = encode((data - 1) // 2 if binary else data, raw)
    entry = TensorEntry(name, data.shape, dtype, encoding, len(section), zlib.crc32(section))
    if constant.quantized:
        axis = constant.axis % data.ndim if data.ndim else 0
        scale = np.asarray(constant.scale, np.float32)
        entry = replace(entry, scale=scale, axis=axis, bits=constant.bits)
    return entry, section


# ---------------------------------------------------------------- meta
def _pack_meta(meta: dict[str, Any]) -> tuple[MetaEntry, bytes] | None:
    if not meta:
        return None
    try:
        text = json.dumps(
            meta, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_as_json
        ).encode()
    except (TypeError, ValueError) as error:
        raise ArchiveError(f"meta cannot be written as JSON: {error}") from None
    if len(text) > layout.MAX_META_BYTES:
        raise ArchiveError(f"meta takes {len(text)} bytes, the limit is {layout.MAX_META_BYTES}")
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    section = deflate.compress(text) + deflate.flush()
    return MetaEntry(len(section), len(text), zlib.crc32(section)), section


def _as_json(value: Any) -> Any:
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    raise TypeError(f"a {type(value).__name__} has no place in JSON")


# ---------------------------------------------------------------- file
def _replace_file(path: Path, data: bytes) -> None:
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            os.fchmod(handle, 0o666 & ~_umask())
            file.write(data)
            file.flush()
            os.fsync(handle)
        os.replace(temporary, path)
    except OSError as error:
        raise ArchiveError(f"{path}: cannot be written: {error.strerror}") from None
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
