"""``gluonzip inspect``: where every byte of an archive goes."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from gluonzip.cli.verb import verb


@verb
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def inspect(file: Path, as_json: bool) -> None:
    """Show where every byte of FILE goes, and the network in it.

    \b
    Examples:
      gluonzip inspect lenet.glz
      gluonzip inspect lenet.glz --json | jq .total
    """
    from gluonzip import archive
    from gluonzip.graph import to_text
    from gluonzip.report.measure import archive_bytes
    from gluonzip.report.tables import archive as archive_table

    graph, parts = archive.read(file), archive_bytes(archive.inspect(file))
    if as_json:
        click.echo(json.dumps({**asdict(parts), "name": graph.name, "facts": graph.meta}, indent=1))
        return
    from gluonzip.cli.console import output
    from gluonzip.report.text import show

    show(output(), archive_table(parts, str(file)))
    click.echo(to_text(graph))
