"""Tables as Markdown."""

from __future__ import annotations

from gluonzip.report.report import Report
from gluonzip.report.tables import Table, tables


def render(report: Report) -> str:
    """The whole report; the pictures are linked as :meth:`Report.save` names them."""
    parts = [f"# {report.name}", *(table_text(table) for table in tables(report))]
    if report.diagnosis is not None and report.diagnosis.advice:
        parts.append("\n".join(f"- {line}" for line in report.diagnosis.advice))
    parts.append("![size and accuracy by stage](stages.png)")
    if report.histograms:
        parts.append("![weights before and after](weights.png)")
    if report.diagnosis is not None:
        parts.append("![errors by layer](errors.png)")
    return "\n\n".join(parts) + "\n"


def table_text(table: Table, level: int = 2) -> str:
    """A heading, the table, and its note."""
    rule = ["---" if table.is_words(i) else "---:" for i in range(len(table.header))]
    lines = [_row(table.header), _row(rule), *(_row(row) for row in table.rows)]
    text = f"{'#' * level} {table.title}\n\n" + "\n".join(lines)
    return f"{text}\n\n{table.note}." if table.note else text


def _row(cells: tuple[str, ...] | list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
