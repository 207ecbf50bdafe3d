"""An ISA's object files export their kernel tables only.

Anything else that they export, an inline function of the standard library above all, could be the
copy that the linker keeps for everybody, and would then run AVX-512 on a machine without it.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
ISAS = ["avx2", "avxvnni", "avx512bw", "avx512vnni", "avx512vbmi2"]
OBJECTS = sorted(
    path
    for folder in ROOT.glob("build/temp.*/csrc/kernels")
    for path in folder.rglob("*.o")
    if path.stem in ISAS
)


def exported(path: Path) -> list[tuple[str, str]]:
    """(type letter, demangled name) of each symbol that other files can see."""
    listing = subprocess.run(
        ["nm", "--extern-only", "--defined-only", "--demangle", str(path)],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    return [tuple(line.split(" ", 2)[1:]) for line in listing.splitlines()]


def test_there_are_objects_to_check():
    if not OBJECTS:
        pytest.skip("no object files: the core was not built in this tree (setup.py build_ext)")
    assert {path.stem for path in OBJECTS} == set(ISAS)


@pytest.mark.parametrize("path", OBJECTS, ids=lambda p: f"{p.parent.name}/{p.name}")
def test_an_isa_file_exports_its_kernels_only(path):
    if shutil.which("nm") is None:
        pytest.skip("nm (binutils) is not on PATH")
    symbols = exported(path)
    assert symbols, f"{path} exports nothing"
    kernel = re.compile(rf"glz::{path.stem}::[a-z0-9_]+")
    for kind, name in symbols:
        assert kernel.fullmatch(name), f"{path.name} exports {name} ({kind})"
        assert kind in "DR", f"{name} is of type {kind}, not initialised data"
