"""Tables for a terminal, with the package rich."""

from __future__ import annotations

import io
from typing import Any

from gluonzip.report.report import Report
from gluonzip.report.tables import Table, tables


def render(report: Report, width: int = 120) -> str:
    """The whole report as plain text, at most ``width`` columns."""
    from rich.console import Console

    out = io.StringIO()
    console = Console(file=out, width=width, color_system=None)
    for table in tables(report):
        show(console, table)
    return out.getvalue()


def show(console: Any, table: Table) -> None:
    """Print one table and its note on a rich console."""
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    shown = RichTable(
        title=Text(table.title, style="bold"), title_justify="left", box=box.SIMPLE_HEAD
    )
    for index, name in enumerate(table.header):
        words = table.is_words(index)
        shown.add_column(
            Text(name), justify="left" if words else "right", no_wrap=not words, overflow="fold"
        )
    for row in table.rows:
        shown.add_row(*(Text(cell) for cell in row))
    console.print(shown)
    if table.note:
        console.print(Text(f"  {table.note}.", style="dim"))
        console.print()
