"""``gluonzip compress``: a recipe from start to finish."""

from __future__ import annotations

import os
from pathlib import Path

import click

from gluonzip.cli.verb import verb
from gluonzip.spec import MODES


@verb
@click.argument("recipe")
@click.option(
    "--output", "-o", type=click.Path(path_type=Path), help="Folder to write; default runs/NAME."
)
@click.option("--quick", is_flag=True, help="A trial: an eighth of the epochs, 1,200 digits.")
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change the recipe; repeatable."
)
@click.option("--threads", type=click.IntRange(1), help="Threads to use; default all cores.")
@click.option(
    "--activations",
    type=click.Choice(MODES),
    help="Mode of every stage that quantizes: none is weight-only.",
)
@click.option(
    "--storage",
    type=click.Choice(["float16", "bfloat16"]),
    help="Store what is left of float32 in two bytes.",
)
@click.option(
    "--resumable",
    is_flag=True,
    help="Keep checkpoints in the folder; the same command goes on where a killed one stopped.",
)
def compress(
    recipe: str,
    output: Path | None,
    quick: bool,
    overrides: tuple[str, ...],
    threads: int | None,
    activations: str | None,
    storage: str | None,
    resumable: bool,
) -> None:
    """Train, compress, pack and measure what RECIPE says.

    RECIPE is a YAML file or a built-in name: lenet, alexnet, resnet, mobilenet. The folder gets the
    archive, the report (Markdown, JSON, pictures) and the recipe as it was run.

    \b
    Examples:
      gluonzip compress lenet
      gluonzip compress lenet --quick -o /tmp/trial
      gluonzip compress lenet --activations dynamic --storage bfloat16
      gluonzip compress lenet --set stages.1.rules.2.sparsity=0.9
      gluonzip compress my_recipe.yaml --set data.folder=/data/mnist
    """
    _give_mxnet_threads(threads)
    from gluonzip.cli.console import Bars
    from gluonzip.cli.console import output as terminal
    from gluonzip.model_zoo.runner import run
    from gluonzip.recipe import load, with_schemes
    from gluonzip.recipe import quick as shorten
    from gluonzip.report.tables import layers, stages, summary
    from gluonzip.report.text import show

    chosen = with_schemes(load(recipe, overrides), activations, storage)
    if quick:
        chosen = shorten(chosen)
    folder = output or Path("runs") / (f"{chosen.name}-quick" if quick else chosen.name)
    checkpoints = folder / "checkpoints" if resumable else None
    result = run(chosen, folder, threads=threads, progress=Bars(), checkpoints=checkpoints)
    console = terminal()
    for table in (summary, stages, layers):
        show(console, table(result.report))
    click.echo(f"Written to {folder}: {', '.join(sorted(p.name for p in folder.iterdir()))}")


def _give_mxnet_threads(threads: int | None) -> None:
    """MXNet takes one thread unless the environment says otherwise when it is imported."""
    if threads is not None:
        os.environ["OMP_NUM_THREADS"] = str(threads)
    else:
        os.environ.setdefault("OMP_NUM_THREADS", str(len(os.sched_getaffinity(0))))
