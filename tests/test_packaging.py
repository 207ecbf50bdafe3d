"""Building the core: what a user without a compiler or without Python's headers is told."""

import os
import re
import subprocess
import sys
from pathlib import Path

import gluonzip

ROOT = Path(__file__).parent.parent


def build(tmp_path, **environment):
    command = [sys.executable, "setup.py", "build_ext", "--build-temp", tmp_path / "t"]
    return subprocess.run(
        [*map(str, command), "--build-lib", str(tmp_path / "lib")],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_a_missing_compiler_is_named(tmp_path):
    done = build(tmp_path, CC="no-such-compiler", CXX="no-such-compiler")
    assert done.returncode != 0
    assert "'no-such-compiler' is not on PATH" in done.stderr
    assert "apt-get install g++" in done.stderr


def test_missing_python_headers_are_named(tmp_path):
    script = """
import runpy, sys
import setuptools.command.build_ext as commands
plain = commands.build_ext.finalize_options
def without_headers(self):
    plain(self)
    self.include_dirs = ["/nonexistent"]
commands.build_ext.finalize_options = without_headers
sys.argv[1:] = ["build_ext", "--build-temp", sys.argv[1], "--build-lib", sys.argv[1]]
runpy.run_path("setup.py", run_name="__main__")
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode != 0
    assert "Python.h is in none of" in done.stderr
    assert "apt-get install python3-dev" in done.stderr


def test_no_source_is_built_for_the_build_machine_alone():
    assert "-march=native" not in re.sub(
        r'"""(.|\n)*?"""', "", (ROOT / "setup.py").read_text(), count=1
    )


def test_the_version_stands_in_one_place():
    assert gluonzip.__version__ in (ROOT / "gluonzip" / "_version.py").read_text()
    assert 'dynamic = ["version"]' in (ROOT / "pyproject.toml").read_text()
    assert gluonzip.__version__ in (ROOT / "CHANGELOG.md").read_text()
