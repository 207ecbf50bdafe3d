"""``gluonzip diff``: what differs between two archives."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from gluonzip.cli.verb import verb


@verb
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def diff(a: Path, b: Path, as_json: bool) -> None:
    """Show everything that differs from archive A to archive B: nodes, tensors, meta, bytes.

    \b
    Examples:
      gluonzip diff before.glz after.glz
      gluonzip diff before.glz after.glz --json | jq length
    """
    from gluonzip import archive

    found = archive.diff(a, b)
    if as_json:
        click.echo(json.dumps([asdict(difference) for difference in found], indent=1))
        return
    for difference in found:
        click.echo(str(difference))
    if not found:
        click.echo("No difference.")
