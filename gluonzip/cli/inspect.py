"""``gluonzip inspect``: where every byte of an archive goes."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from gluonzip.cli.verb import verb


@verb
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--member", help="Which network of a family; default: none, only the bytes.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def inspect(file: Path, member: str | None, as_json: bool) -> None:
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

    info = archive.inspect(file)
    parts = archive_bytes(info)
    if info.members and member is None:
        _family(file, parts, info.members, as_json)
        return
    graph = archive.read(file, member)
    if as_json:
        click.echo(json.dumps({**asdict(parts), "name": graph.name, "facts": graph.meta}, indent=1))
        return
    from gluonzip.cli.console import output
    from gluonzip.report.text import show

    show(output(), archive_table(parts, str(file)))
    click.echo(to_text(graph))


def _family(file: Path, parts: Any, members: tuple[str, ...], as_json: bool) -> None:
    """The bytes of all networks together, and their names."""
    if as_json:
        click.echo(json.dumps({**asdict(parts), "members": members}, indent=1))
        return
    from gluonzip.cli.console import output
    from gluonzip.report.tables import archive as archive_table
    from gluonzip.report.text import show

    show(output(), archive_table(parts, str(file)))
    click.echo(f"A family of networks: {', '.join(members)} (--member NAME shows one)")
