"""A report as one HTML file: tables, and the pictures inside it."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path

from gluonzip.report.report import Report
from gluonzip.report.tables import Table, tables

_STYLE = """
body { font: 15px/1.4 system-ui, sans-serif; margin: 2em auto; max-width: 75em; padding: 0 1em }
table { border-collapse: collapse; display: block; overflow-x: auto }
td, th { padding: .2em .7em; border-bottom: 1px solid #ddd; text-align: right; white-space: nowrap }
.words { text-align: left; white-space: normal }
img { max-width: 100% } p { color: #555 }
"""


def render(report: Report, pictures: Sequence[Path] = ()) -> str:
    """The whole report; ``pictures``: PNG files to put in at the end."""
    title = escape(report.name)
    parts = [f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title>"]
    parts += [f"<style>{_STYLE}</style>", f"<h1>{title}</h1>"]
    parts += [_table(table) for table in tables(report)]
    if report.diagnosis is not None and report.diagnosis.advice:
        parts.append(_list(report.diagnosis.advice))
    parts += [_picture(path) for path in pictures]
    return "\n".join(parts) + "\n</html>\n"


def _table(table: Table) -> str:
    rows = [_row(table, row, "td") for row in table.rows]
    note = f"<p>{escape(table.note)}.</p>" if table.note else ""
    body = "\n".join([_row(table, table.header, "th"), *rows])
    return f"<h2>{escape(table.title)}</h2>\n<table>\n{body}\n</table>{note}"


def _row(table: Table, row: Sequence[str], tag: str) -> str:
    cells = (
        f"<{tag}{' class=words' if table.is_words(i) else ''}>{escape(cell)}</{tag}>"
        for i, cell in enumerate(row)
    )
    return f"<tr>{''.join(cells)}</tr>"


def _list(lines: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>"


def _picture(path: Path) -> str:
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<img alt="{escape(path.stem)}" src="data:image/png;base64,{data}">'
