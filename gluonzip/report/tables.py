"""A report as plain tables of text, which every form of output shares."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from gluonzip.report.diagnosis import Quality
from gluonzip.report.facts import ArchiveBytes, LayerFacts
from gluonzip.report.report import Report


@dataclass(frozen=True)
class Table:
    """``left``: how many of the first columns hold words; the others hold numbers."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left: int = 1
    note: str = ""
    wide: frozenset[int] = field(default_factory=frozenset)
    """Columns further right that hold words as well."""

    def is_words(self, column: int) -> bool:
        return column < self.left or column in self.wide


def tables(report: Report) -> list[Table]:
    """Summary, layers, errors of the layers if they were measured, stages, archive."""
    from gluonzip.report.error_tables import diagnosis_tables

    errors = [] if report.diagnosis is None else diagnosis_tables(report.diagnosis)
    last = [stages(report), archive(report.archive, "Archive")]
    return [summary(report), layers(report), *errors, *last]


def summary(report: Report) -> Table:
    """The one table: dense against compressed."""
    drop = report.drop
    rows = [
        (
            f"accuracy on {report.samples:,} samples",
            percent(report.dense_accuracy),
            percent(report.engine_accuracy),
            "" if drop is None else f"{round(0 - drop, 2):+.2f} points",
        ),
        (
            "bytes (parameters; whole archive)",
            f"{report.dense_bytes:,}",
            f"{report.archive.total:,}",
            f"{report.ratio:.1f}x smaller",
        ),
    ]
    rows += [
        (
            f"latency, batch {item.batch}",
            milliseconds(item.dense_ms),
            milliseconds(item.engine_ms),
            f"{item.speedup:.1f}x faster"
            if item.speedup >= 1
            else f"{1 / item.speedup:.1f}x slower",
        )
        for item in report.latency
    ]
    header = ("", "dense (MXNet)", "compressed (engine)", "")
    return Table(f"{report.name}: dense and compressed", header, tuple(rows), note=_notes(report))


def _notes(report: Report) -> str:
    machine = report.machine
    notes = [
        f"{machine.cpu}, {machine.cores} cores; MXNet with {machine.mxnet_threads} threads, engine "
        f"with {machine.threads}, ISA {machine.isa}"
    ]
    if machine.mxnet_threads < machine.threads:
        notes.append("set OMP_NUM_THREADS before importing mxnet to give it as many")
    if report.agreement is not None:
        same = report.agreement
        notes.append(
            f"the engine answers as the simulated network on {same.same_answer:,} of "
            f"{same.samples:,} samples ({percent(same.share)}); outputs differ by at most "
            f"{same.largest_difference:.2g}"
        )
    notes += report.partition
    notes.append(f"{report.seconds:.0f} s in all")
    return "; ".join(notes)


def layers(report: Report) -> Table:
    """Every weighted layer, compressed or skipped and why."""
    found = () if report.diagnosis is None else report.diagnosis.layers
    errors = {layer.name: layer.introduced for layer in found if layer.introduced}
    return layer_table(report.layers, errors)


def layer_table(facts: Iterable[LayerFacts], errors: Mapping[str, Quality] | None = None) -> Table:
    """The table of :func:`layers`, from :func:`gluonzip.report.measure.layer_facts`."""
    header = (
        "layer", "type", "weight", "parameters", "zeros", "bits w/a", "fp32 bytes", "bytes",
        "ratio", "error dB", "stored as", "skipped",
    )  # fmt: skip
    errors = errors or {}
    rows = [_layer_row(layer, errors.get(layer.name)) for layer in facts]
    note = "error: introduced by the layer alone, signal by noise" if errors else ""
    return Table("Layers", header, tuple(rows), left=3, note=note, wide=frozenset({10, 11}))


def _layer_row(layer: LayerFacts, error: Quality | None) -> tuple[str, ...]:
    return (
        layer.name,
        layer.kind,
        "x".join(map(str, layer.shape)),
        f"{layer.parameters:,}",
        percent(layer.sparsity, 1) if layer.weighted else "-",
        bits(layer.weight_bits, layer.activation_bits, layer.unsigned) if layer.weighted else "-",
        f"{layer.dense_bytes:,}",
        f"{layer.archive_bytes:,}",
        f"{layer.dense_bytes / layer.archive_bytes:.1f}x" if layer.archive_bytes else "-",
        "-" if error is None else decibels(error.sqnr),
        layer.encoding,
        layer.reason or "-",
    )


def stages(report: Report) -> Table:
    """The way from dense to compressed."""
    header = ("stage", "accuracy", "archive bytes", "fp32 parameters by archive", "seconds")
    rows = tuple(
        (
            stage.name,
            percent(stage.accuracy),
            f"{stage.archive_bytes:,}",
            f"{report.dense_bytes / stage.archive_bytes:.1f}x",
            f"{stage.seconds:.1f}",
        )
        for stage in report.stages
    )
    return Table("Stages", header, rows, note="accuracy in MXNet, quantizers simulated")


def archive(parts: ArchiveBytes, title: str) -> Table:
    """Where every byte of an archive is."""
    rows = [
        ("header", "", "", "", f"{parts.header:,}"),
        ("index (graph, names, checksums)", "", "", "", f"{parts.index:,}"),
    ]
    rows += [
        (
            s.name,
            f"{s.dtype} {'x'.join(map(str, s.shape))}",
            s.encoding,
            f"{s.bits}",
            f"{s.bytes:,}",
        )
        for s in parts.sections
    ]
    rows += [
        ("meta (recipe, origin)", "", "deflate", "", f"{parts.meta:,}"),
        ("total", "", "", "", f"{parts.total:,}"),
    ]
    return Table(title, ("part", "tensor", "stored as", "bits", "bytes"), tuple(rows), left=3)


def decibels(value: float) -> str:
    """One digit; equal tensors say so.

    >>> decibels(31.47), decibels(float("inf"))
    ('31.5', 'equal')
    """
    if math.isfinite(value):
        return f"{value:.1f}"
    return "equal" if value > 0 else "lost"


def bits(weight: int | str, activation: int, unsigned: bool) -> str:
    """``8/8``; ``8/8u`` if the codes of the activation go from 0 up."""
    return f"{weight}/{activation}{'u' if unsigned else ''}"


def percent(share: float | None, digits: int = 2) -> str:
    return "-" if share is None else f"{100 * share:.{digits}f} %"


def milliseconds(value: float) -> str:
    return f"{value:.3f} ms" if value < 10 else f"{value:.1f} ms"
