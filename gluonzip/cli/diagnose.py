"""``gluonzip diagnose``: which layer of a compressed archive costs what."""

from __future__ import annotations

from pathlib import Path

import click

from gluonzip.cli.verb import verb


@verb
@click.argument("dense", type=click.Path(path_type=Path))
@click.argument("compressed", type=click.Path(path_type=Path))
@click.option(
    "--input", "-i", "source", required=True, type=click.Path(path_type=Path), help=".npy or .npz"
)
@click.option("--layers", multiple=True, help="Name or glob of layers; repeatable; default all.")
@click.option("--samples", type=click.IntRange(1), help="Stop after so many rows.")
@click.option("--threads", type=click.IntRange(1), help="Default: all cores.")
@click.option("--plot", type=click.Path(path_type=Path), help="Write a picture (PNG).")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def diagnose(
    dense: Path,
    compressed: Path,
    source: Path,
    layers: tuple[str, ...],
    samples: int | None,
    threads: int | None,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Rank the layers of the archive COMPRESSED by their error against the archive DENSE.

    Both run on the float32 samples in a .npy file (or a .npz with an array for each input).

    \b
    Examples:
      gluonzip diagnose dense.glz int8.glz --input digits.npy --plot errors.png
    """
    from gluonzip.archive import read
    from gluonzip.auto import diagnose as measure
    from gluonzip.cli.arrays import load_inputs

    first, second = read(dense), read(compressed)
    inputs = load_inputs(source, [i.name for i in first.inputs])
    found = measure(
        first,
        second,
        inputs[0] if len(inputs) == 1 else [(inputs,)],
        layers=layers or None,
        samples=samples,
        threads=threads,
    )
    click.echo(found.to_json() if as_json else found.to_text(), nl=False)
    if plot is not None:
        found.plot(plot)
