"""``gluonzip bench``: latency of an archive on this machine; what sparse layers cost here."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from gluonzip.cli.verb import verb


@verb
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--batch", multiple=True, type=click.IntRange(1), help="Batch size; repeatable.")
@click.option("--threads", multiple=True, type=click.IntRange(1), help="Repeatable.")
@click.option("--isa", help="Instruction set to force; default the best.")
@click.option("--shape", help="Shape of one sample where the archive leaves it open: 3,224,224.")
@click.option(
    "--streams",
    multiple=True,
    type=click.IntRange(1),
    help="Measure throughput with so many calls under way at once; repeatable.",
)
@click.option("--tune", is_flag=True, help="Measure each layer's fastest way first.")
@click.option("--plot", type=click.Path(path_type=Path), help="Draw the profile's roofline (PNG).")
@click.option(
    "--calibrate",
    is_flag=True,
    help="First measure when sparse layers pay on this machine, and keep it (GLUONZIP_CACHE).",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def bench(
    file: Path | None,
    batch: tuple[int, ...],
    threads: tuple[int, ...],
    isa: str | None,
    shape: str | None,
    streams: tuple[int, ...],
    tune: bool,
    plot: Path | None,
    calibrate: bool,
    as_json: bool,
) -> None:
    """Time FILE on random inputs: by batch and threads, and by layer.

    Medians of calls after a warm-up; batches of 1 and 64 and all cores by default.

    \b
    Examples:
      gluonzip bench lenet.glz
      gluonzip bench lenet.glz --batch 1 --batch 16 --threads 1 --threads 2 --isa avx2
      gluonzip bench resnet.glz --batch 1 --tune --streams 2 --plot roofline.png
      gluonzip bench --calibrate
    """
    if calibrate:
        _calibrate(isa, quiet=as_json)
    if file is None:
        if not calibrate:
            raise click.UsageError("Missing argument 'FILE' (or --calibrate).")
        return
    from gluonzip.report import bench as measure
    from gluonzip.report.machine import machine

    sizes = tuple(int(n) for n in shape.split(",")) if shape else None
    facts = measure.bench(file, batch or (1, 64), threads or (None,), isa, sizes, streams, tune)
    if plot is not None:
        from gluonzip.report.roofline import plot_roofline

        plot_roofline(facts.name, facts.profile, facts.limits, plot)
    if as_json:
        click.echo(json.dumps({"machine": asdict(machine()), **asdict(facts)}, indent=1))
        return
    from gluonzip.cli.console import output
    from gluonzip.report.text import show

    console = output()
    for table in measure.tables(facts, machine()):
        show(console, table)


def _calibrate(isa: str | None, quiet: bool) -> None:
    from gluonzip.runtime import sparse_costs
    from gluonzip.runtime.isa import resolve_isa

    found = sparse_costs.calibrate(isa)
    if quiet:
        return
    for name, costs in found.items():
        click.echo(f"{name}: " + ", ".join(f"{cost} {ns:.3g} ns" for cost, ns in costs.items()))
    click.echo(f"kept in {sparse_costs.path(resolve_isa(isa))}")
