"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from gluonzip.errors import DataError


def check_writable(path: str | os.PathLike) -> None:
    """DataError when a file at ``path`` could not be made: before the work, not after it."""
    path = Path(path)
    if path.is_dir():
        raise DataError(f"{str(path)!r} cannot be written: it is a folder")
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        os.close(handle)
        os.unlink(name)
    except OSError as error:
        raise DataError(f"{str(path)!r} cannot be written: {error.strerror}") from error


def replace_file(path: Path, data: bytes) -> None:
    """The file appears complete, or the old one stays."""
    with temporary(path) as file:
        file.write(data)


@contextlib.contextmanager
def temporary(path: Path) -> Iterator[BinaryIO]:
    """A file beside ``path`` that takes its place when all went well."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
