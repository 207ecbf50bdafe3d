"""Damages archives in many ways and checks what the two readers make of them.

    python scripts/fuzz_archive.py --count 100000 [--seed 0] [--sanitize] [FILE.glz ...]

Each damaged archive must give ArchiveError in the C++ and in the Python reader, with the same
words, or, where only what nobody can check was damaged, the same graph from both. In half of them
the checksums are made right again, so that the damage reaches the deeper checks.
With --sanitize the C++ reader is compiled with the address and undefined-behaviour sanitizers, and
only that reader runs. Without files the golden archives of the tests are used.
Exit status 1 when a reader fails in any other way; the two-reader run keeps the archive that did it
as ``fuzz-failure.glz``.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shlex
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from gluonzip import _core, archive
from gluonzip.archive.index import unpack_index
from gluonzip.archive.msgpack import pack
from gluonzip.errors import ArchiveError, ConfigError

ROOT = Path(__file__).resolve().parents[1]
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
    member = _first_member(data)
    python = _outcome(archive.read, data, member=member)
    core = _outcome(_core.read_archive, data, member=member)
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


def _outcome(reader, data: bytes, **options):
    try:
        return reader(data, **options)
    except (ArchiveError, ConfigError) as error:
        return str(error)


def _first_member(data: bytes) -> str | None:
    names = _outcome(archive.members, data)
    return names[0] if names and not isinstance(names, str) else None


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


# ---------------------------------------------------------------- runs
def compare_readers(mutants: Iterator[bytes]) -> int:
    """Both readers on every mutant; the exit status."""
    tally: Counter[str] = Counter()
    for number, data in enumerate(mutants):
        try:
            tally[kind_of(verdict(data))] += 1
        except Exception as error:
            Path("fuzz-failure.glz").write_bytes(data)
            print(f"mutation {number}: {type(error).__name__}: {error}\nkept as fuzz-failure.glz")
            return 1
    for kind, count in tally.most_common():
        print(f"{count:8d}  {kind}")
    return 0


def sanitize(mutants: Iterator[bytes]) -> int:
    """The C++ reader under sanitizers on every mutant; the exit status."""
    csrc = ROOT / "csrc"
    sources = [csrc / "tests" / "read_archives.cc", csrc / "base" / "rans.cc"]
    sources += [csrc / "base" / "crc32.cc", csrc / "engine" / "msgpack.cc"]
    sources += sorted((csrc / "engine").glob("archive_*.cc"))
    flags = ["-std=c++17", "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover"]
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "read_archives"
        compiler = shlex.split(os.environ.get("CXX", "g++"))
        subprocess.run([*compiler, *flags, "-o", program, *sources], check=True)
        with subprocess.Popen([program], stdin=subprocess.PIPE) as reader:
            assert reader.stdin is not None
            try:
                for data in mutants:
                    reader.stdin.write(struct.pack("<I", len(data)) + data)
                reader.stdin.close()
            except BrokenPipeError:
                print("the reader stopped; its last words are above")
        return 1 if reader.returncode else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--count", type=int, default=10_000, help="how many archives to damage")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sanitize", action="store_true", help="the C++ reader under sanitizers")
    options = parser.parse_args()
    golden = sorted((ROOT / "tests" / "golden").glob("*.glz"))
    seeds = [path.read_bytes() for path in options.files or golden]
    rng, begin = random.Random(options.seed), time.perf_counter()
    mutants = (mutate(rng.choice(seeds), rng) for _ in range(options.count))
    status = sanitize(mutants) if options.sanitize else compare_readers(mutants)
    outcome = "a reader FAILED" if status else "none read wrongly"
    print(f"{options.count} damaged archives, {outcome}, {time.perf_counter() - begin:.0f} s")
    return status


if __name__ == "__main__":
    sys.exit(main())
