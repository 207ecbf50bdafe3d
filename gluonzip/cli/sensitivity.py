"""``gluonzip sensitivity``: what each layer of an archive bears."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from gluonzip.cli.verb import verb


@verb
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--input", "-i", "source", required=True, type=click.Path(path_type=Path), help=".npy or .npz"
)
@click.option("--labels", type=click.Path(path_type=Path), help=".npy: classes, for the accuracy.")
@click.option("--method", type=click.Choice(["sparsity", "bits"]), default="sparsity")
@click.option("--level", "levels", multiple=True, type=float, help="Repeatable.")
@click.option("--layers", multiple=True, help="Name or glob of layers; repeatable; default all.")
@click.option("--per-channel", is_flag=True, help="bits: a scale for each output channel.")
@click.option("--checkpoint", type=click.Path(path_type=Path), help="JSON file to go on from.")
@click.option("--threads", type=click.IntRange(1), help="Default: all cores.")
@click.option("--plot", type=click.Path(path_type=Path), help="Write a picture (PNG).")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def sensitivity(
    file: Path,
    source: Path,
    labels: Path | None,
    method: str,
    levels: tuple[float, ...],
    layers: tuple[str, ...],
    per_channel: bool,
    checkpoint: Path | None,
    threads: int | None,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Compress each layer of the archive FILE alone, at several levels, and measure what it costs.

    Ctrl-C prints what was found so far; with --checkpoint the next run goes on from there.

    \b
    Examples:
      gluonzip sensitivity dense.glz -i digits.npy --labels labels.npy --plot curves.png
      gluonzip sensitivity dense.glz -i digits.npy --method bits --level 4 --level 3
    """
    from gluonzip.archive import read
    from gluonzip.auto import sensitivity as measure
    from gluonzip.cli.arrays import load_inputs, load_labels
    from gluonzip.cli.console import Bars

    graph = read(file)
    inputs = load_inputs(source, [i.name for i in graph.inputs])
    given = inputs[0] if len(inputs) == 1 else inputs
    found = measure(
        graph,
        [(given, load_labels(labels))] if labels else [(given,)],
        method=method,
        levels=levels or None,
        layers=layers or None,
        granularity="per_channel" if per_channel else "per_tensor",
        checkpoint=checkpoint,
        threads=threads,
        progress=Bars() if sys.stderr.isatty() else None,
    )
    click.echo(found.to_json() if as_json else found.to_text(), nl=False)
    if plot is not None:
        found.plot(plot)
