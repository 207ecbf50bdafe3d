"""Ranges of activations, from data."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import numpy as np

from gluonzip.errors import DataError
from gluonzip.graph import Graph, interpret
from gluonzip.passes.quantize.points import activation_points

Batch = np.ndarray | Sequence[np.ndarray] | Mapping[str, np.ndarray]
Run = Callable[..., "tuple[list[np.ndarray], dict[str, np.ndarray]]"]


def calibrate(
    graph: Graph,
    batches: Iterable[Batch],
    run: Run = interpret,
    skip: Collection[str] = (),
) -> dict[str, float]:
    """max |x| of each activation that will be quantized, over all batches; groups share theirs.

    ``batches`` yields what :func:`gluonzip.graph.interpret` takes as inputs. ``run(graph, batch,
    keep=names)`` returns (outputs, {name: array}); an engine may take the interpreter's place.
    ``skip`` names layers that stay float32. Raises DataError when there is no data, an empty batch,
    or a non-finite value (naming batch and tensor).
    """
    points = activation_points(graph, skip)
    ranges = dict.fromkeys(points, 0.0)
    count = 0
    for count, batch in enumerate(batches, start=1):
        _check_batch(graph, batch, count - 1)
        kept = run(graph, batch, keep=tuple(points))[1] if points else {}
        for name in points:
            ranges[name] = max(ranges[name], largest(kept[name], name, count - 1))
    if count == 0:
        raise DataError("the calibration data is empty; give at least one batch")
    return _share(points, ranges)


def _check_batch(graph: Graph, batch: Batch, index: int) -> None:
    if isinstance(batch, Mapping):
        arrays = dict(batch)
    else:
        given = [batch] if isinstance(batch, np.ndarray) else list(batch)
        arrays = {i.name: array for i, array in zip(graph.inputs, given, strict=False)}
    for name, array in arrays.items():
        largest(np.asarray(array), name, index)


def largest(array: np.ndarray, name: str, batch: int) -> float:
    """max |x|; DataError names the tensor and the batch when it is empty or not finite."""
    if array.size == 0:
        raise DataError(f"calibration batch {batch}: tensor {name!r} is empty")
    value = max(float(array.max()), -float(array.min()))  # NaN and infinities reach it
    if not np.isfinite(value):
        bad = array.size - int(np.isfinite(array).sum())
        raise DataError(
            f"calibration batch {batch}: tensor {name!r} has {bad} non-finite values (NaN or "
            f"infinity) of {array.size}"
        )
    return value


def _share(points: Mapping[str, str], ranges: Mapping[str, float]) -> dict[str, float]:
    """Give every member of a group the largest range of the group."""
    largest_of: dict[str, float] = {}
    for name, leader in points.items():
        largest_of[leader] = max(largest_of.get(leader, 0.0), ranges[name])
    return {name: largest_of[leader] for name, leader in points.items()}
