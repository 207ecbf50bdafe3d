"""Where measured choices are kept between processes: one small JSON file a machine and setting.

A file holds what :meth:`gluonzip.runtime.Engine.tune` found for one CPU model, instruction set,
number of threads and version. It lies in the folder ``GLUONZIP_CACHE``, else in
``XDG_CACHE_HOME/gluonzip``, else in ``~/.cache/gluonzip``, and may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import tempfile
import warnings
from pathlib import Path

from gluonzip.archive.core import expected_stamp

Choices = dict[str, str]
"""Signature of a step -> name of its fastest way, both as the core spells them."""


def cache_folder() -> Path:
    """The folder of cached choices; it need not exist."""
    if own := os.environ.get("GLUONZIP_CACHE"):
        return Path(own)
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "gluonzip"


def cpu_model() -> str:
    """The processor's name, as the operating system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    models = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.machine())


class ChoiceCache:
    """Choices of engines with ``threads`` threads and the instruction set ``isa``, on this CPU."""

    def __init__(self, isa: str, threads: int) -> None:
        self.key = {"cpu": cpu_model(), "isa": isa, "threads": threads}
        self.key["stamp"] = list(expected_stamp())
        digest = hashlib.sha256(json.dumps(self.key, sort_keys=True).encode()).hexdigest()
        self.path = cache_folder() / f"tuned-{isa}-{threads}-{digest[:16]}.json"

    def load(self) -> Choices:
        """What is known; nothing, with a warning, if the file is not what :meth:`save` wrote."""
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return {}
        except (OSError, UnicodeDecodeError) as error:
            return self._ignore(str(error))
        try:
            content = json.loads(text)
            choices = content["choices"]
            sound = content["key"] == self.key and all(
                isinstance(text, str) for pair in choices.items() for text in pair
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            return self._ignore(f"{type(error).__name__}: {error}")
        return choices if sound else self._ignore("it is of another machine or not of this form")

    def _ignore(self, reason: str) -> Choices:
        warnings.warn(
            f"{self.path}: cached tuning is ignored and measured again ({reason})", stacklevel=5
        )
        return {}

    def save(self, choices: Choices) -> None:
        """Replace the file, at once or not at all; a folder that cannot be written is a warning."""
        content = json.dumps({"key": self.key, "choices": choices}, indent=1, sort_keys=True)
        temporary = None
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=self.path.parent, prefix=self.path.stem)
            with open(handle, "w", encoding="utf-8") as file:
                file.write(content + "\n")
            os.replace(temporary, self.path)
        except OSError as error:
            if temporary is not None and os.path.exists(temporary):
                os.unlink(temporary)
            warnings.warn(f"tuning is not cached: {error}", stacklevel=4)
