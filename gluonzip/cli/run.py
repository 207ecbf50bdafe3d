"""``gluonzip run``: an archive on arrays from a file."""

from __future__ import annotations

from pathlib import Path

import click

from gluonzip.cli.verb import verb


@verb
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--input", "-i", "source", required=True, type=click.Path(path_type=Path), help=".npy or .npz"
)
@click.option(
    "--output", "-o", "target", required=True, type=click.Path(path_type=Path), help=".npy or .npz"
)
@click.option("--threads", type=click.IntRange(1), help="Default: all cores.")
@click.option("--isa", help="Instruction set to force; default the best.")
@click.option("--member", help="Which network of a family.")
def run(
    file: Path, source: Path, target: Path, threads: int | None, isa: str | None, member: str | None
) -> None:
    """Run FILE on the float32 array in a .npy file, and write what it answers.

    A network with several inputs takes a .npz with an array for each, by name; one with several
    outputs writes a .npz.

    \b
    Examples:
      gluonzip run lenet.glz --input digits.npy --output scores.npy
    """
    from gluonzip.cli.arrays import load_inputs, save_outputs
    from gluonzip.runtime import Engine

    engine = Engine.load(file, threads=threads, isa=isa, member=member)
    outputs = engine(*load_inputs(source, [name for name, _, _ in engine.inputs]))
    written = save_outputs(target, outputs, engine.outputs)
    click.echo(f"Written {written} ({engine.threads} threads, {engine.isa})")
