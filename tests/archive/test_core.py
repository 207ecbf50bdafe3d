"""A core that is missing or left over from other sources says so when it is first used."""

import subprocess
import sys
from types import SimpleNamespace

import pytest

from gluonzip import _core
from gluonzip.archive.core import check_core, expected_stamp
from gluonzip.errors import GluonzipError, StaleCoreError


def test_the_built_core_has_the_expected_stamp():
    assert _core.stamp == expected_stamp()


@pytest.mark.parametrize("at", range(4))
def test_a_stale_core_is_named(at):
    stamp = list(expected_stamp())
    stamp[at] = "0.0.9" if at == 0 else stamp[at] - 1
    names = ["version", "interface", "archive version", "words of the format"]
    with pytest.raises(StaleCoreError, match=rf"{names[at]} {stamp[at]} instead of.*build_ext"):
        check_core(SimpleNamespace(stamp=tuple(stamp), __file__="_core.so"))


def test_a_core_from_before_there_were_stamps():
    with pytest.raises(StaleCoreError, match=r"old\.so does not belong.*of unknown version"):
        check_core(SimpleNamespace(__file__="old.so"))


def test_a_missing_core_is_named_at_import():
    code = """
import sys
sys.modules["gluonzip._core"] = None
import gluonzip.runtime
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert "StaleCoreError: gluonzip's compiled core cannot be loaded" in done.stderr
    assert "build_ext" in done.stderr


def test_it_is_an_import_error_and_one_of_ours():
    assert issubclass(StaleCoreError, ImportError)
    assert issubclass(StaleCoreError, GluonzipError)
