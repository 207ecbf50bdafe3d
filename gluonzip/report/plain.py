"""Tables as plain text, with nothing but the standard library."""

from __future__ import annotations

from gluonzip.report.tables import Table


def text(table: Table) -> str:
    """Title, header, rows in columns (words to the left, numbers to the right), note."""
    rows = [table.header, *table.rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(table.header))]
    lines = [table.title, _line(table, table.header, widths)]
    lines.append("-" * len(lines[-1]))
    lines += [_line(table, row, widths) for row in table.rows]
    if table.note:
        lines.append(f"{table.note}.")
    return "\n".join(line.rstrip() for line in lines)


def _line(table: Table, row: tuple[str, ...], widths: list[int]) -> str:
    cells = (
        cell.ljust(width) if table.is_words(i) else cell.rjust(width)
        for i, (cell, width) in enumerate(zip(row, widths, strict=True))
    )
    return "  ".join(cells)
