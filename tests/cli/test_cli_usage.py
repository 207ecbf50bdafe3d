"""Help, exit codes, one-line errors, and a missing click."""

import subprocess
import sys
import textwrap

import pytest

from gluonzip import __version__
from gluonzip.errors import ArchiveError


def test_version_and_help_with_examples(cli):
    assert cli("--version").stdout.strip() == f"gluonzip, version {__version__}"
    text = cli("--help").stdout
    assert "gluonzip compress lenet" in text
    for verb in ("compress", "inspect", "bench", "run"):
        assert verb in text
        help_text = cli(verb, "--help").stdout
        assert "Examples:" in help_text
        assert "--debug" in help_text


def test_python_m_is_the_command():
    command = [sys.executable, "-m", "gluonzip", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == f"gluonzip, version {__version__}"


@pytest.mark.parametrize("arguments", [["frobnicate"], ["inspect"], ["bench", "x", "--batch", "0"]])
def test_wrong_usage_is_exit_code_2(cli, arguments):
    done = cli(*arguments)
    assert done.exit_code == 2
    assert "Usage:" in done.stderr


def test_debug_shows_the_traceback(cli, tmp_path):
    missing = tmp_path / "none.glz"
    assert cli("inspect", missing).exit_code == 1
    done = cli("inspect", missing, "--debug")
    assert isinstance(done.exception, ArchiveError)


def test_a_bug_is_called_one(cli, monkeypatch, dense_archive):
    import gluonzip.archive

    def broken(path, member=None):
        raise KeyError("oh\nno")

    monkeypatch.setattr(gluonzip.archive, "read", broken)
    done = cli("inspect", dense_archive[0])
    assert done.exit_code == 1
    assert done.stderr == "Error: KeyError: 'oh\\nno' (this is a bug; --debug shows where)\n"


def run_python(code, *arguments):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_as_a_program(tmp_path):
    path = tmp_path / "none.glz"
    done = subprocess.run(
        [sys.executable, "-m", "gluonzip.cli.main", "inspect", str(path)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("Error: ")
    assert "none.glz" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_missing_click_names_the_extra():
    done = run_python(
        """
        import sys
        sys.modules["click"] = None
        from gluonzip.cli.main import main
        main()
        """
    )
    assert done.returncode == 1
    assert "needs the package click: pip install 'gluonzip[cli]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_command_line_starts_light():
    done = run_python(
        """
        import sys
        from gluonzip.cli.app import app
        heavy = {"mxnet", "numpy", "matplotlib", "pydantic", "rich"} & set(sys.modules)
        sys.exit(", ".join(sorted(heavy)) or 0)
        """
    )
    assert done.returncode == 0, f"imported for --help: {done.stderr}"
