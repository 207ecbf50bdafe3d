"""Ranges of activations, from data."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import numpy as np

from gluonzip.errors import DataError
from gluonzip.graph import Graph, interpret
from gluonzip.passes.quantize.observers import needs_histogram, observe
from gluonzip.passes.quantize.points import activation_points
from gluonzip.passes.quantize.signs import Range
from gluonzip.passes.quantize.statistics import Statistics, largest
from gluonzip.spec import ActivationQuantization

Batch = np.ndarray | Sequence[np.ndarray] | Mapping[str, np.ndarray]
Run = Callable[..., "tuple[list[np.ndarray], dict[str, np.ndarray]]"]


def calibrate(
    graph: Graph,
    batches: Iterable[Batch],
    run: Run = interpret,
    skip: Collection[str] = (),
    activations: ActivationQuantization | None = None,
) -> dict[str, float]:
    """The range of each activation that will be quantized, in one pass over all batches: numbers
    that know whether anything below zero was seen (:class:`signs.Range`).

    ``batches`` yields what :func:`gluonzip.graph.interpret` takes as inputs. ``run(graph, batch,
    keep=names)`` returns (outputs, {name: array}); :class:`gluonzip.runtime.CalibrationEngine` may
    take the interpreter's place.
    ``skip`` names layers that stay float32. ``activations`` names the observer (max |x| without
    it); groups that share a scale get the largest of their ranges. To compare observers in one
    pass, see :func:`collect`. Modes other than "static" need no ranges, and no data. Raises
    DataError when there is no data, an empty batch, or a non-finite value (naming batch and
    tensor).
    """
    activations = activations or ActivationQuantization()
    if activations.mode != "static":
        return {}
    histogram = needs_histogram(activations.observer)
    return ranges(graph, collect(graph, batches, run, skip, histogram), activations, skip)


def collect(
    graph: Graph,
    batches: Iterable[Batch],
    run: Run = interpret,
    skip: Collection[str] = (),
    histogram: bool = True,
) -> dict[str, Statistics]:
    """Statistics of each activation that will be quantized: what any observer may look at.

    Arguments and errors as for :func:`calibrate`. Memory does not grow with the data (but for one
    number a batch and tensor).
    """
    found = {
        name: Statistics(f"tensor {name!r}", histogram) for name in activation_points(graph, skip)
    }
    count = 0
    for count, batch in enumerate(batches, start=1):
        _check_batch(graph, batch, count - 1)
        arrays = _arrays(graph, batch, run, tuple(found), histogram)
        for name, statistics in found.items():
            statistics.feed(arrays[name], count - 1)
    if count == 0:
        raise DataError("the calibration data is empty; give at least one batch")
    return found


def _arrays(
    graph: Graph, batch: Batch, run: Run, names: tuple[str, ...], histogram: bool
) -> Mapping[str, np.ndarray]:
    """The tensors ``names``, or what is as good: their peaks, if ``run`` can find them itself."""
    if not names:
        return {}
    if not histogram and hasattr(run, "peaks"):
        peaks = run.peaks(batch, names)
        if all(np.isfinite(array).all() for array in peaks.values()):
            return peaks
    return run(graph, batch, keep=names)[1]


def ranges(
    graph: Graph,
    statistics: Mapping[str, Statistics],
    activations: ActivationQuantization,
    skip: Collection[str] = (),
) -> dict[str, float]:
    """What the observer makes of ``statistics``; members of a group share the largest range, and
    the sign: :class:`Range` values, signed if anything below zero was seen in the group."""
    points = activation_points(graph, skip)
    signed: dict[str, bool] = {}
    for name, leader in points.items():
        signed[leader] = signed.get(leader, activations.signed) or statistics[name].signed
    joint: dict[str, Range] = {}
    for name, leader in points.items():
        seen = statistics[name].treated_as(signed[leader])
        found = Range(observe(activations.observer, seen, activations.bits), signed[leader])
        joint[leader] = found.join(joint[leader]) if leader in joint else found
    return {name: joint[leader] for name, leader in points.items()}


def _check_batch(graph: Graph, batch: Batch, index: int) -> None:
    if isinstance(batch, Mapping):
        arrays = dict(batch)
    else:
        given = [batch] if isinstance(batch, np.ndarray) else list(batch)
        arrays = {i.name: array for i, array in zip(graph.inputs, given, strict=False)}
    for name, array in arrays.items():
        largest(np.asarray(array), f"tensor {name!r}", index)
