"""Archives of earlier days read as they were described then; bad ones are refused as they were."""

import json
import runpy
from pathlib import Path

import pytest

from gluonzip import _core, archive
from gluonzip.errors import ArchiveError
from gluonzip.graph.text import to_text

TESTS = Path(__file__).parents[1]
BUILD = runpy.run_path(str(TESTS / "golden" / "build.py"))
BUILT, FAMILIES = BUILD["graphs"](), BUILD["families"]()
HOSTILE = json.loads((TESTS / "hostile" / "expected.json").read_text())


def test_every_golden_file_is_described():
    assert {p.stem for p in (TESTS / "golden").glob("*.glz")} == {*BUILT, *FAMILIES}


@pytest.mark.parametrize("name", BUILT)
def test_golden(name, read_both):
    path = TESTS / "golden" / f"{name}.glz"
    assert path.stat().st_size < 20_000
    assert_as_described(read_both(path.read_bytes()), BUILT[name])


@pytest.mark.parametrize("name", FAMILIES)
def test_golden_family(name, read_both):
    data = (TESTS / "golden" / f"{name}.glz").read_bytes()
    assert archive.members(data) == tuple(FAMILIES[name])
    for member, wanted in FAMILIES[name].items():
        assert_as_described(read_both(data, member), wanted)


def assert_as_described(graph, wanted):
    assert to_text(graph) == to_text(wanted)
    assert graph.meta == wanted.meta
    assert list(graph.constants) == list(wanted.constants)
    for key, constant in wanted.constants.items():
        back = graph.constants[key]
        assert back.data.dtype == constant.data.dtype
        assert back.data.tobytes() == constant.data.tobytes()
        assert back.quantized == constant.quantized
        if constant.quantized:
            assert back.scale.tobytes() == constant.scale.tobytes()
            assert (back.axis, back.bits) == (constant.axis, constant.bits)


def test_golden_files_use_every_encoding():
    used = {
        section.encoding
        for path in (TESTS / "golden").glob("*.glz")
        for section in archive.inspect(path).sections
    }
    dense = ["raw", "4-bit", "14-bit", "rans", "codebook of", "fixed, 11-bit", "fixed, rans"]
    for part in [*dense, "bitmap + raw", "bitmap + 4-bit"]:
        assert any(part in encoding for encoding in used), (part, used)
    assert any("gap rans" in encoding for encoding in used)
    assert any("gap" in encoding and "bit + raw" in encoding for encoding in used)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile(name):
    path = TESTS / "hostile" / name
    for reader in (archive.read, lambda p: _core.read_archive_file(str(p))):
        with pytest.raises(ArchiveError) as caught:
            reader(path)
        assert str(caught.value) == f"{path}: {HOSTILE[name]}"
