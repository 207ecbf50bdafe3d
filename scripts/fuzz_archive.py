"""Damages archives in many ways and checks what the two readers make of them.

    python scripts/fuzz_archive.py --count 100000 [--seed 0] [FILE.glz ...]

Each damaged archive must give ArchiveError in the C++ and in the Python reader, with the same
words, or, where only what nobody can check was damaged, the same graph from both. In half of them
the checksums are made right again, so that the damage reaches the deeper checks.
Without files the golden archives of the tests are used. Exit status 1 and the damaged file in
``fuzz-failure.glz`` when a reader fails in any other way.
"""

from __future__ import annotations

import argparse
import random
import re
import struct
import sys
import time
import zlib
from collections import Counter
from pathlib import Path

from gluonzip import _core, archive
from gluonzip.archive.index import unpack_index
from gluonzip.archive.msgpack import pack
from gluonzip.errors import ArchiveError

INTERESTING = [0, 1, 0x7F, 0x80, 0xFF, 0xC0, 0xC4, 0xCA, 0xCB, 0xCF, 0xD3, 0xDB, 0xDD, 0xDF]


# ---------------------------------------------------------------- damage
def mutate(data: bytes, rng: random.Random) -> bytes:
    """``data`` with one to four kinds of damage; in half of the cases checksums are mended."""
    out = bytearray(data)
    index_end = 32 + struct.unpack_from("<Q", data, 16)[0]
    for _ in range(rng.choice([1, 1, 2, 4])):
        # The index is a small part of a file and most of its logic.
        high = index_end if rng.random() < 0.6 else len(out)
        rng.choice(DAMAGES)(out, rng, rng.randrange(max(1, min(high, len(out)))))
        if not out:
            break
    return mend(bytes(out), len(data)) if rng.random() < 0.5 else bytes(out)


def _flip(out: bytearray, rng: random.Random, at: int) -> None:
    out[at] ^= 1 << rng.randrange(8)


def _overwrite(out: bytearray, rng: random.Random, at: int) -> None:
    out[at] = rng.choice(INTERESTING) if rng.random() < 0.7 else rng.randrange(256)


def _insert(out: bytearray, rng: random.Random, at: int) -> None:
    out[at:at] = rng.randbytes(rng.randint(1, 8))


def _delete(out: bytearray, rng: random.Random, at: int) -> None:
    del out[at : at + rng.randint(1, 8)]


def _repeat(out: bytearray, rng: random.Random, at: int) -> None:
    out[at:at] = out[at : at + rng.randint(1, 64)]


def _number(out: bytearray, rng: random.Random, at: int) -> None:
    value = rng.choice([0, 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1, rng.getrandbits(64)])
    form = rng.choice(["<I", "<Q", ">I", ">Q"])
    raw = struct.pack(form, value & (2 ** (8 * struct.calcsize(form)) - 1))
    out[at : at + len(raw)] = raw


def _truncate(out: bytearray, rng: random.Random, at: int) -> None:
    del out[at:]


DAMAGES = [_flip, _flip, _overwrite, _overwrite, _insert, _delete, _repeat, _number, _truncate]


def mend(data: bytes, old_size: int) -> bytes:
    """``data`` with the checksums, and the index's length, that its parts call for."""
    if len(data) < 32:
        return data
    head = bytearray(data[:32])
    length = struct.unpack_from("<Q", head, 16)[0]
    length = min(max(length + len(data) - old_size, 0), len(data) - 32)
    for size in (length, struct.unpack_from("<Q", head, 16)[0]):
        index = _mend_sections(data[32 : 32 + size], data[32 + size :])
        if index is not None:
            length = size
            data = data[:32] + index + data[32 + size :]
            break
    struct.pack_into("<QI", head, 16, length, zlib.crc32(data[32 : 32 + length]))
    struct.pack_into("<I", head, 28, zlib.crc32(bytes(head[:28])))
    return bytes(head) + data[32:]


def _mend_sections(index: bytes, sections: bytes) -> bytes | None:
    """The index with its sections' checksums replaced; None when it is no index."""
    try:
        parsed = unpack_index(index)
    except ArchiveError:
        return None
    at = 0
    for entry in [*parsed.tensors, *([parsed.meta] if parsed.meta else [])]:
        crc = zlib.crc32(sections[at : at + entry.length])
        old, new = pack(entry.crc), pack(crc)
        if len(old) == len(new):
            index = index.replace(old, new)
        at += entry.length
    return index


# ---------------------------------------------------------------- verdict
def verdict(data: bytes) -> str:
    """What both readers say, "sound" when they read the same; AssertionError when they differ."""
    python, core = _outcome(archive.read, data), _outcome(_core.read_archive, data)
    if isinstance(python, str) and "meta: " in python and not isinstance(core, str):
        return python  # the C++ reader checks meta's checksum and no more
    if isinstance(python, str) or isinstance(core, str):
        assert _unnamed(python) == _unnamed(core), f"Python: {python}\nC++:    {core}"
        return python
    _assert_same(python, core)
    return "sound"


def _unnamed(outcome) -> str:
    """A message without names, whose odd characters the two languages escape differently."""
    return re.sub(r"""(['"]).*\1""", "''", str(outcome), flags=re.DOTALL)


def _outcome(reader, data: bytes):
    try:
        return reader(data)
    except ArchiveError as error:
        return str(error)


def _assert_same(graph, model: dict) -> None:
    assert model["name"] == graph.name
    assert model["outputs"] == graph.outputs
    assert [(n["op"], n["name"], n["inputs"], n["outputs"]) for n in model["nodes"]] == [
        (n.op, n.name, n.inputs, n.outputs) for n in graph.nodes
    ]
    assert repr([n["attrs"] for n in model["nodes"]]) == repr(
        [dict(sorted(n.attrs.items(), key=lambda item: item[0].encode())) for n in graph.nodes]
    )
    for name, constant in graph.constants.items():
        tensor = model["tensors"][name]
        assert tensor["data"].tobytes() == constant.data.astype(tensor["data"].dtype).tobytes()


def kind_of(message: str) -> str:
    """A message without its numbers and names, for the tally."""
    return " ".join(w for w in message.split() if not any(c.isdigit() or c == "'" for c in w))[:70]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    golden = Path(__file__).parent.parent / "tests" / "golden"
    seeds = [path.read_bytes() for path in options.files or sorted(golden.glob("*.glz"))]
    rng, tally, begin = random.Random(options.seed), Counter(), time.perf_counter()
    for number in range(options.count):
        data = mutate(rng.choice(seeds), rng)
        try:
            tally[kind_of(verdict(data))] += 1
        except Exception as error:
            Path("fuzz-failure.glz").write_bytes(data)
            print(f"mutation {number}: {type(error).__name__}: {error}\nkept as fuzz-failure.glz")
            return 1
    for kind, count in tally.most_common():
        print(f"{count:8d}  {kind}")
    seconds = time.perf_counter() - begin
    print(f"{options.count} damaged archives, none read wrongly, {seconds:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
