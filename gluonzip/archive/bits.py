"""n-bit integers, least significant bit first, in a stream of bytes."""

from __future__ import annotations

import numpy as np

from gluonzip.errors import ArchiveError

_CHUNK = 2**20  # values at a time: bounds the memory of the bit matrix


def packed_bytes(count: int, bits: int) -> int:
    """Bytes that ``count`` values of ``bits`` bits take."""
    return (count * bits + 7) // 8


def signed_bits(values: np.ndarray) -> int:
    """Bits of two's complement that every value of an integer array fits (1 to 32)."""
    if not values.size:
        return 1
    low, high = int(values.min()), int(values.max())
    return max(
        1,
        (low if low >= 0 else ~low).bit_length() + 1,
        (high if high >= 0 else ~high).bit_length() + 1,
    )


def pack_bits(values: np.ndarray, bits: int) -> bytes:
    """The low ``bits`` (1 to 32) bits of each integer of a flat array."""
    chunks = []
    for begin in range(0, values.size, _CHUNK):
        words = values[begin : begin + _CHUNK].astype("<i8").view(np.uint8).reshape(-1, 8)
        matrix = np.unpackbits(words[:, :4], axis=1, count=bits, bitorder="little")
        chunks.append(np.packbits(matrix, bitorder="little").tobytes())
    return b"".join(chunks)


def unpack_bits(data: bytes, count: int, bits: int, signed: bool) -> np.ndarray:
    """``count`` values as a flat int32 array (int64 for unsigned ones).

    ``data`` has ``packed_bytes(count, bits)`` bytes; ArchiveError when padding bits are set.
    """
    spare = len(data) * 8 - count * bits
    if spare and data[-1] >> (8 - spare):
        raise ArchiveError("padding bits at the end are not zero")
    out = np.empty(count, np.int32 if signed else np.int64)
    for begin in range(0, count, _CHUNK):
        size = min(_CHUNK, count - begin)
        first = begin * bits // 8
        piece = np.frombuffer(data, np.uint8, packed_bytes(size, bits), first)
        matrix = np.unpackbits(piece, count=size * bits, bitorder="little").reshape(size, bits)
        words = np.zeros((size, 4), np.uint8)
        packed = np.packbits(matrix, axis=1, bitorder="little")
        words[:, : packed.shape[1]] = packed
        value = words.view("<u4").ravel().astype(np.int64)
        if signed:
            value = (value << (64 - bits)) >> (64 - bits)
        out[begin : begin + size] = value
    return out
