"""How a long job tells what it is doing: a protocol, and its silent form."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol


class Task(Protocol):
    """One line of progress."""

    def advance(self, text: str = "") -> None:
        """One step further; ``text`` replaces what stands behind the bar."""


class Progress(Protocol):
    """Opens a line of progress; ``with progress.task("train", 20) as task: task.advance()``."""

    def task(self, label: str, total: int) -> AbstractContextManager[Task]: ...


class Silent:
    """Progress that nobody sees."""

    def task(self, label: str, total: int) -> AbstractContextManager[Task]:
        return nullcontext(self)

    def advance(self, text: str = "") -> None:
        pass
