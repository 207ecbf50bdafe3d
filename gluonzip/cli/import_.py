"""``gluonzip import``: a network of another format as an archive, or as MXNet's own files."""

from __future__ import annotations

from pathlib import Path

import click

from gluonzip.cli.verb import verb


@verb
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--to", "target", type=click.Choice(["glz", "mxnet"]), default="glz")
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Default: FILE's name.")
@click.option("--shape", "shapes", multiple=True, metavar="NAME=1x3x224x224")
def import_(file: Path, target: str, output: Path | None, shapes: tuple[str, ...]) -> None:
    """Read an ONNX FILE and write it as a .glz archive, or as -symbol.json and .params.

    The archive runs at once (gluonzip run, bench); MXNet's files are the network to compress:
    gluonzip.gluon.import_symbol makes a trainable network of them.

    \b
    Examples:
      gluonzip import resnet18.onnx
      gluonzip import resnet18.onnx --to mxnet -o resnet18
      gluonzip import net.onnx --shape input=1x3x224x224
    """
    from gluonzip.cli.shapes import parse_shapes
    from gluonzip.onnx import read

    graph = read(file, parse_shapes(shapes))
    path = output or file.with_suffix(".glz" if target == "glz" else "")
    if target == "mxnet":
        from gluonzip.gluon import export

        files = export(graph, path)
    else:
        from gluonzip import archive
        from gluonzip.passes import optimize

        archive.write(path, optimize(graph))
        files = (path,)
    size = sum(written.stat().st_size for written in files)
    click.echo(f"Written {', '.join(map(str, files))}: {size:,} bytes")
    for note in graph.meta["onnx"]["notes"]:
        click.echo(f"Note: {note}")
