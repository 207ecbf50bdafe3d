"""Compiling the operators on the user's machine, into a cache folder."""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

from gluonzip.errors import UnsupportedError
from gluonzip.gluon._mxnet import mx

SOURCE = Path(__file__).with_name("quantizers.cc")
_FLAGS = ("-std=c++17", "-O3", "-ffp-contract=off", "-fPIC", "-shared")
_SECONDS = 600


def library() -> Path:
    """The compiled operators, from the cache or made now (some ten seconds).

    Raises UnsupportedError when there is no compiler, when MXNet came without the headers, when the
    compiler fails and when the cache folder cannot be written.
    """
    compiler, installed = _compiler(), Path(mx.__file__).parent
    header, base = installed / "include/mxnet/lib_api.h", installed / "src/lib_api.cc"
    for file in (header, base):
        if not file.is_file():
            raise UnsupportedError(
                f"MXNet {mx.__version__} came without {file}, which its extension libraries need"
            )
    target = cache_folder() / f"quantizers-{_fingerprint(compiler, header, base)}.so"
    if not target.is_file():
        _compile(compiler, installed / "include", (SOURCE, base), target)
    return target


def cache_folder() -> Path:
    """``$GLUONZIP_CACHE``, or ``gluonzip`` in the user's cache folder."""
    own = os.environ.get("GLUONZIP_CACHE")
    if own:
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gluonzip"


def _compiler() -> list[str]:
    """``$CXX``, or the first C++ compiler found."""
    own = shlex.split(os.environ.get("CXX", ""))
    for command in [own] if own else [["c++"], ["g++"], ["clang++"]]:
        if shutil.which(command[0]):
            return command
    looked = f"CXX = {shlex.join(own)!r}" if own else "c++, g++ or clang++"
    raise UnsupportedError(f"no C++ compiler is there ({looked}); install one or set CXX")


def _fingerprint(compiler: list[str], *files: Path) -> str:
    """Changes with all that the library is made of."""
    digest = hashlib.sha256()
    version = subprocess.run([*compiler, "--version"], capture_output=True, check=False).stdout
    for part in (mx.__version__, platform.machine(), *_FLAGS, *compiler):
        digest.update(part.encode() + b"\0")
    for content in (version, SOURCE.read_bytes(), *(file.read_bytes() for file in files)):
        digest.update(hashlib.sha256(content).digest())
    return digest.hexdigest()[:16]


def _compile(compiler: list[str], include: Path, sources: tuple[Path, ...], target: Path) -> None:
    """Under another name first: two processes at once, or a kill, do no harm."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".build.") as scratch:
            made = Path(scratch) / target.name
            command = [*compiler, *_FLAGS, f"-I{include}", *map(str, sources), "-o", str(made)]
            _run(command)
            os.replace(made, target)
    except OSError as error:
        raise UnsupportedError(
            f"the cache folder {str(target.parent)!r} cannot be written ({error.strerror}); set "
            "GLUONZIP_CACHE to one that can"
        ) from error


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise UnsupportedError(f"{command[0]} took more than {_SECONDS} s; stopped") from None
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "error" in line.lower()]
        reason = (lines or done.stderr.splitlines() or ["no message"])[0]
        raise UnsupportedError(f"{shlex.join(command)} failed: {reason.strip()}")
