"""What every file of the format has in common: magic, version, words, data types, limits, header.

The C++ reader has the same table of words and the same limits (``csrc/engine/archive_layout.h``);
a test compares them.
"""

from __future__ import annotations

import struct
import zlib

import numpy as np

from gluonzip.errors import ArchiveError

MAGIC = b"\x89GLZ\r\n\x1a\n"
VERSION = 1
HEADER_BYTES = 32

# Words that need no place in a file's own strings: word i is written as the integer -1 - i.
# Part of the format: never reorder; append only before a release of the version.
WORDS: list[str] = (  # noqa: SIM905
    "f32 s8 s32 f16 raw packed bitmap gap rans codebook "
    "conv2d dense max_pool avg_pool global_avg_pool relu add flatten quantize dequantize "
    "kernel stride pad groups act out_scale scale clip act_max softmax data concat "
    "dilation batch_norm identity eps axis leaky_relu act_slope act_min sigmoid scale_shift "
    "ceil_mode count_pad begin end value bits fake_quantize embedding upsample conv_transpose2d "
    "fixed unsigned"
).split()

DTYPES = {
    "f32": np.dtype("<f4"),
    "f16": np.dtype("<f2"),
    "s8": np.dtype("i1"),
    "s32": np.dtype("<i4"),
}
NAME_OF_DTYPE = {dtype: name for name, dtype in DTYPES.items()}

# ---------------------------------------------------------------- limits
MAX_ELEMENTS = 2**31
MAX_NODES = 2**20
MAX_TENSORS = 2**20
MAX_MEMBERS = 2**12
MAX_AXES = 32
MAX_NAME_BYTES = 4096
MAX_GAP_BITS = 16
MAX_STREAM_BYTES = 2**33
# All names of an index together, each counted wherever it is used.
MAX_TEXT_BYTES = 2**28
MAX_META_BYTES = 2**26


def max_decoded_bytes(file_bytes: int) -> int:
    """Bytes that all tensors of a file of this size may take in memory: no bombs."""
    return 2**28 + 1024 * file_bytes


def decoded_bytes(dtype: np.dtype, elements: int) -> int:
    """Bytes of a tensor in memory (float16 is widened by the C++ reader, so it counts as 4)."""
    return elements * (4 if dtype.kind == "f" else dtype.itemsize)


# ---------------------------------------------------------------- header
_HEADER = struct.Struct("<8sIIQI")


def pack_header(index: bytes) -> bytes:
    head = _HEADER.pack(MAGIC, VERSION, 0, len(index), zlib.crc32(index))
    return head + struct.pack("<I", zlib.crc32(head))


def unpack_header(data: bytes) -> tuple[int, int]:
    """(length, CRC-32) of the index. ArchiveError when the header is not that of this version."""
    if data[:8] != MAGIC:
        raise ArchiveError(f"not a gluonzip archive: {_what_it_is(data)}")
    if len(data) < HEADER_BYTES:
        raise ArchiveError(f"truncated: {len(data)} bytes, the header alone takes {HEADER_BYTES}")
    _, version, flags, length, index_crc = _HEADER.unpack_from(data)
    if version > VERSION:
        raise ArchiveError(
            f"written by format version {version}, this gluonzip reads up to {VERSION}: "
            "upgrade gluonzip"
        )
    (header_crc,) = struct.unpack_from("<I", data, HEADER_BYTES - 4)
    if zlib.crc32(data[: HEADER_BYTES - 4]) != header_crc:
        raise ArchiveError("header: the checksum does not match: the file is corrupted")
    if version != VERSION:
        raise ArchiveError(f"header: there is no format version {version}")
    if flags:
        raise ArchiveError(f"header: flags {flags:#x} are not known to format version {VERSION}")
    if length > len(data) - HEADER_BYTES:
        raise ArchiveError(
            f"truncated: the index takes {length} bytes, {len(data) - HEADER_BYTES} are left"
        )
    return length, index_crc


def _what_it_is(data: bytes) -> str:
    """A guess at a foreign file, from its first bytes."""
    if not data:
        return "the file is empty"
    if data[:4] == MAGIC[:4]:
        return "its line ends were rewritten by a transfer in text mode: transfer it as binary"
    known = [
        (b"PK\x03\x04", "it is a ZIP file (.npz, .zip)"),
        (
            b"\x12\x01\0\0\0\0\0\0",
            "it looks like MXNet's .params: trace the network, then write it",
        ),
        (b"\x93NUMPY", "it is a NumPy .npy array"),
        (b"\x89HDF\r\n\x1a\n", "it is an HDF5 file"),
        (b"\x1f\x8b", "it is gzip-compressed: decompress it first"),
        (b"{", "it looks like JSON (MXNet's -symbol.json?): trace the network, then write it"),
        (b"\x08", "it looks like ONNX"),
    ]
    for start, name in known:
        if data.startswith(start):
            return name
    return f"it does not start with {MAGIC.hex(' ')}"
