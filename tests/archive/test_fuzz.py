"""Damaged archives: both readers refuse them alike, or read what is there. See the script."""

import random
import runpy
from collections import Counter
from pathlib import Path

from gluonzip.archive.layout import unpack_header

ROOT = Path(__file__).parents[2]
FUZZ = runpy.run_path(str(ROOT / "scripts" / "fuzz_archive.py"))
GOLDEN = [path.read_bytes() for path in sorted((ROOT / "tests" / "golden").glob("*.glz"))]


def test_damaged_archives():
    rng, tally = random.Random(1), Counter()
    for _ in range(3000):
        verdict = FUZZ["verdict"](FUZZ["mutate"](rng.choice(GOLDEN), rng))
        tally[FUZZ["kind_of"](verdict)] += 1
    # The damage reaches the index and the sections, not just their checksums.
    assert len(tally) > 60
    deep = [kind for kind in tally if "table" in kind or "gaps" in kind or "coded values" in kind]
    assert deep, tally


def test_mending_gives_sound_checksums():
    damaged = bytearray(GOLDEN[0])
    damaged[16:20] = b"\0\0\0\0"  # the index's length
    unpack_header(FUZZ["mend"](bytes(damaged), len(damaged)))


def test_undamaged_archives_are_sound():
    assert {FUZZ["verdict"](data) for data in GOLDEN} == {"sound"}
