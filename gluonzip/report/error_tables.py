"""Tables of the errors that compression introduces, layer by layer."""

from __future__ import annotations

import math

from gluonzip.report.diagnosis import Diagnosis, LayerError, Quality
from gluonzip.report.sensitivity import LayerSensitivity, Sensitivity
from gluonzip.report.tables import Table, bits, decibels, percent


def diagnosis_tables(diagnosis: Diagnosis) -> list[Table]:
    """Layers (worst first), outputs and, if there are any, layers that cannot be compared."""
    tables = [errors(diagnosis), _outputs(diagnosis)]
    if diagnosis.skipped:
        rows = tuple(diagnosis.skipped.items())
        tables.append(Table("Not compared", ("layer", "why"), rows, left=2))
    return tables


def errors(diagnosis: Diagnosis) -> Table:
    """The errors of every layer that can be compared."""
    header = (
        "layer", "operator", "introduced", "cosine", "accumulated", "cosine", "weight",
        "bits w/a", "zeros", "clipped", "range", "dead", "note",
    )  # fmt: skip
    rows = tuple(_row(layer) for layer in diagnosis.layers)
    note = (
        f"{diagnosis.compressed} against the dense {diagnosis.dense} on {diagnosis.rows:,} "
        "samples, worst layer first; introduced: the layer alone on the dense network's inputs; "
        "accumulated: as it runs; both and that of the weight: signal by noise, more is better; "
        "clipped, range: values beyond the input quantizer's range, share of it in use; dead: "
        "output channels that never change"
    )
    used = [i for i in range(len(header)) if not rows or any(row[i] != "-" for row in rows)]
    words = frozenset(at for at, i in enumerate(used) if header[i] == "note")
    header, *rows = (tuple(line[i] for i in used) for line in (header, *rows))
    return Table("Errors by layer, dB", header, tuple(rows), left=2, note=note, wide=words)


def _row(layer: LayerError) -> tuple[str, ...]:
    weight, given = layer.weight, layer.input
    unsigned = given is not None and given.unsigned
    return (
        layer.name,
        layer.op,
        *_quality(layer.introduced),
        *_quality(layer.accumulated),
        _quality(weight.quality if weight else None)[0],
        bits(weight.bits if weight else "-", given.bits if given else 32, unsigned),
        percent(weight.sparsity, 1) if weight else "-",
        percent(given.saturated) if given else "-",
        percent(given.used, 0) if given else "-",
        f"{len(layer.dead)} of {layer.channels}" if layer.dead else "-",
        layer.note or "-",
    )


def _quality(quality: Quality | None) -> tuple[str, str]:
    if quality is None:
        return "-", "-"
    cosine = "-" if math.isnan(quality.cosine) else f"{quality.cosine:.4f}"
    return decibels(quality.sqnr), cosine


def _outputs(diagnosis: Diagnosis) -> Table:
    rows = tuple((name, *_quality(quality)) for name, quality in diagnosis.outputs.items())
    return Table("Outputs", ("output", "dB", "cosine"), rows)


# ---------------------------------------------------------------- sensitivity
def sensitivity_tables(found: Sensitivity) -> list[Table]:
    """Scores by layer and level where there are any, then the outputs' dB."""
    header = ("layer", "weights", *(f"{found.method} {level:g}" for level in found.levels))
    note = f"{found.network}, {found.rows:,} samples, one layer changed at a time"
    if not found.complete:
        note += "; interrupted: layers or samples are missing"
    if found.note:
        note += f"; {found.note}"
    tables = []
    if found.score is not None:
        rows = tuple(_points(layer, found, "score") for layer in found.layers)
        title = f"Score by layer ({percent(found.score)} unchanged)"
        tables.append(Table(title, header, rows, note=note))
    rows = tuple(_points(layer, found, "sqnr") for layer in found.layers)
    tables.append(Table("Outputs' signal by noise, dB", header, rows, note=note))
    return tables


def _points(layer: LayerSensitivity, found: Sensitivity, what: str) -> tuple[str, ...]:
    known = {point.level: getattr(point, what) for point in layer.points}
    show = percent if what == "score" else decibels
    cells = (show(known[level]) if level in known else "-" for level in found.levels)
    return (layer.name, f"{layer.weights:,}", *cells)
