"""``gluonzip export``: a network as a file of another format, checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gluonzip.cli.verb import verb


@verb
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--to", "target", required=True, type=click.Choice(["onnx", "tflite", "mxnet"]))
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Default: FILE's name.")
@click.option("--params", type=click.Path(path_type=Path), help="Weights of a -symbol.json.")
@click.option("--shape", "shapes", multiple=True, metavar="NAME=1x3x224x224")
@click.option(
    "--input", "-i", "source", type=click.Path(path_type=Path), help="Samples (.npy or .npz)."
)
@click.option("--float16", is_flag=True, help="Store float32 weights in half the bytes (ONNX).")
@click.option("--int4", is_flag=True, help="Store weights of at most 4 bits in half a byte (ONNX).")
@click.option("--sparse", is_flag=True, help="Store pruned weights without zeros (ONNX).")
@click.option("--no-verify", is_flag=True, help="Do not run the file afterwards.")
def export(
    file: Path,
    target: str,
    output: Path | None,
    params: Path | None,
    shapes: tuple[str, ...],
    source: Path | None,
    no_verify: bool,
    **storage: bool,
) -> None:
    """Write FILE (a .glz archive, or a -symbol.json) as ONNX, TFLite or MXNet's own files.

    Samples in --input say how large the sums of integer layers are that have no scale yet, and are
    what the written file is verified on, besides random numbers. Where ONNX Runtime or OpenVINO
    (ONNX), LiteRT (TFLite) or MXNet is installed, the file is run and compared with FILE.

    \b
    Examples:
      gluonzip export lenet.glz --to onnx
      gluonzip export lenet.glz --to onnx --input digits.npy --sparse
      gluonzip export net-symbol.json --shape data=1x3x224x224 --to onnx -o net.onnx
    """
    from gluonzip.cli import exporting
    from gluonzip.cli.models import load_graph
    from gluonzip.cli.shapes import parse_shapes

    graph = load_graph(file, params, parse_shapes(shapes))
    samples = exporting.samples(graph, source)
    stem = file.name.removesuffix(".json").removesuffix("-symbol").removesuffix(".glz")
    path = output or file.with_name(stem + exporting.SUFFIX[target])
    request: dict[str, Any] = {"samples": samples, "verify": not no_verify, "storage": storage}
    for line in exporting.TARGETS[target](graph, path, **request):
        click.echo(line)
