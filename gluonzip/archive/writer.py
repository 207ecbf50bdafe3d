"""Graph to bytes, and bytes to a file that is there whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from gluonzip.archive import layout
from gluonzip.archive.encodings import encode
from gluonzip.archive.index import Index, MetaEntry, TensorEntry, pack_index
from gluonzip.archive.info import ArchiveInfo
from gluonzip.archive.reader import describe
from gluonzip.archive.structure import check_structure
from gluonzip.errors import ArchiveError
from gluonzip.graph.ir import Constant, Graph
from gluonzip.spec import max_code


def write(path: str | os.PathLike, graph: Graph, meta: dict[str, Any] | None = None) -> ArchiveInfo:
    """Write ``graph`` to ``path``; the file appears complete or, after an error, not at all.

    ``meta``: JSON-able facts that go with it, on top of ``graph.meta``. The same graph and meta
    give the same bytes. ArchiveError when the path cannot be written or the graph holds what an
    archive cannot.
    """
    data, info = _build(graph, meta)
    _replace_file(Path(path), data)
    return info


def to_bytes(graph: Graph, meta: dict[str, Any] | None = None) -> bytes:
    """The archive that :func:`write` would write."""
    return _build(graph, meta)[0]


def _build(graph: Graph, meta: dict[str, Any] | None) -> tuple[bytes, ArchiveInfo]:
    check_structure(graph)
    sections = []
    index = Index(graph)
    for name, constant in graph.constants.items():
        entry, section = _tensor(name, constant)
        index.tensors.append(entry)
        sections.append(section)
    packed_meta = _pack_meta({**graph.meta, **(meta or {})})
    if packed_meta is not None:
        index.meta, section = packed_meta
        sections.append(section)
    packed = pack_index(index)
    data = b"".join([layout.pack_header(packed), packed, *sections])
    _check_limits(graph, len(data))
    nonzeros = [int(np.count_nonzero(c.data)) for c in graph.constants.values()]
    return data, describe(index, len(packed), nonzeros)


# ---------------------------------------------------------------- tensors
def _tensor(name: str, constant: Constant) -> tuple[TensorEntry, bytes]:
    data = np.asarray(constant.data)
    dtype = data.dtype.newbyteorder("<")
    if dtype not in layout.NAME_OF_DTYPE:
        raise ArchiveError(
            f"tensor {name!r}: dtype {data.dtype} has no place in an archive; cast it to one of "
            f"{', '.join(str(d) for d in layout.DTYPES.values())}"
        )
    data = data.astype(dtype, copy=False)
    if data.size > layout.MAX_ELEMENTS or data.ndim > layout.MAX_AXES:
        raise ArchiveError(f"tensor {name!r}: shape {data.shape} is past the limits of the format")
    scale, axis = None, 0
    if constant.quantized:
        scale, axis = _check_quantized(name, constant)
    encoding, section = encode(data)
    entry = TensorEntry(
        name, data.shape, dtype, encoding, len(section), zlib.crc32(section), scale, axis,
        constant.bits if scale is not None else 8,
    )  # fmt: skip
    return entry, section


def _check_quantized(name: str, constant: Constant) -> tuple[np.ndarray, int]:
    """(scale as float32, axis as a non-negative integer) of a quantized constant."""
    data = constant.data
    if data.dtype != np.int8:
        raise ArchiveError(f"tensor {name!r}: quantized codes must be int8, not {data.dtype}")
    limit = max_code(constant.bits)
    if data.size and max(-int(data.min()), int(data.max())) > limit:
        raise ArchiveError(
            f"tensor {name!r}: codes from {data.min()} to {data.max()} are not {constant.bits}-bit "
            f"([-{limit}, {limit}])"
        )
    scale = np.asarray(constant.scale, np.float32)
    if not np.isfinite(scale).all():
        raise ArchiveError(f"tensor {name!r}: its scale is not finite")
    axis = constant.axis % data.ndim if data.ndim else 0
    if scale.shape not in [(), data.shape[axis : axis + 1]]:
        raise ArchiveError(
            f"tensor {name!r}: a scale of shape {scale.shape} fits neither the tensor nor axis "
            f"{axis} of {data.shape}"
        )
    return scale, axis


def _check_limits(graph: Graph, file_bytes: int) -> None:
    decoded = sum(layout.decoded_bytes(c.data.dtype, c.data.size) for c in graph.constants.values())
    if decoded > layout.max_decoded_bytes(file_bytes):
        raise ArchiveError(
            f"graph {graph.name!r}: {decoded} bytes of tensors would pack into {file_bytes}, which "
            "every reader would take for a decompression bomb; drop all-zero layers first"
        )


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
