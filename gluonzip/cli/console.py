"""The terminal: tables on standard output, progress on standard error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)


def output() -> Console:
    """Where tables go; as wide as the terminal, or wide enough for a file."""
    console = Console()
    return console if console.is_terminal else Console(width=160)


class Bars:
    """Progress bars (:class:`gluonzip.training.Progress`); lines of text when not on a terminal."""

    def __init__(self) -> None:
        self.console = Console(stderr=True)

    @contextmanager
    def task(self, label: str, total: int) -> Iterator[_Bar | _Line]:
        if not self.console.is_terminal:
            yield _Line(self.console, label, total)
            return
        columns = (
            TextColumn("{task.description:<12}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[text]}"),
        )
        with Progress(*columns, console=self.console) as progress:
            yield _Bar(progress, progress.add_task(label, total=total, text=""))


class _Bar:
    def __init__(self, progress: Progress, task: TaskID) -> None:
        self.progress, self.task = progress, task

    def advance(self, text: str = "") -> None:
        self.progress.update(self.task, advance=1, text=text)


class _Line:
    """One line when all is done: a log file has no use for a moving bar."""

    def __init__(self, console: Console, label: str, total: int) -> None:
        self.console, self.label, self.total, self.done = console, label, total, 0

    def advance(self, text: str = "") -> None:
        self.done += 1
        if self.done == self.total:
            self.console.print(f"{self.label}: {self.total} epochs, {text}", highlight=False)
