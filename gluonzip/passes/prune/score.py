"""Importance of the channels that structured pruning may remove.

The criteria themselves: :mod:`gluonzip.passes.prune.scorers`.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping

import numpy as np

from gluonzip.errors import DataError
from gluonzip.graph.ir import Graph, Node
from gluonzip.passes.prune.channels import Ids
from gluonzip.passes.prune.groups import ChannelGroups
from gluonzip.passes.prune.scorers import Member, Scorer, resolve

Values = Mapping[str, np.ndarray]
"""Parameter -> an array of its shape."""


def score(
    found: ChannelGroups,
    scorer: str | Scorer = "l1",
    gradients: Values | None = None,
    seed: int = 0,
    movement: Values | None = None,
) -> dict[int, float]:
    """Importance of each class of channels: the mean over its channels in all members.

    A member's scores are first divided by their mean, so that layers of different size count the
    same and can be compared. Classes that no member has an opinion about are left out. Raises
    DataError for weights that are not finite, scores of wrong shape and missing gradients.
    """
    function = resolve(scorer)
    totals: dict[int, float] = {}
    counts: dict[int, int] = {}
    for member, classes in members(found, gradients or {}, seed, movement or {}):
        values = function(member)
        if values is None:
            continue
        for class_, value in zip(classes.tolist(), _normalized(member, values), strict=True):
            totals[class_] = totals.get(class_, 0.0) + float(value)
            counts[class_] = counts.get(class_, 0) + 1
    return {class_: total / counts[class_] for class_, total in totals.items()}


def _normalized(member: Member, values: np.ndarray) -> np.ndarray:
    values = np.asarray(values, np.float64)
    if values.shape != (len(member.weight),):
        raise DataError(
            f"the scorer gave shape {values.shape} for {member.name!r}, "
            f"which has {len(member.weight)} channels: it must be ({len(member.weight)},)"
        )
    if not np.isfinite(values).all():
        raise DataError(f"the scores of {member.name!r} (layer {member.layer!r}) are not finite")
    mean = np.abs(values).mean()
    return values / mean if mean > 0 else values


def members(
    found: ChannelGroups, gradients: Values, seed: int = 0, movement: Values | None = None
) -> Iterator[tuple[Member, Ids]]:
    """Yield (member, class of each of its channels) for every weight and batch norm scale."""
    graph = found.graph
    producers = graph.producers()
    for node in graph.nodes:
        if node.op == "batch_norm":
            name, axis, kind = node.inputs[1], 0, "norm"
            classes = found.axes.get(name, {}).get(0)
        elif node.name in found.layers:
            name = _source(graph, producers, node.inputs[1])
            axis, kind = channel_axis(node), "weight"
            classes = found.layers[node.name]
        else:
            continue
        if name not in graph.constants or classes is None:
            continue
        rows = _rows(node, axis, graph.constants[name].dense())
        if len(rows) != len(classes):
            continue
        gradient, moved = (
            _same_shape(graph, node, axis, f"{what} of {name!r}", name, given)
            for what, given in (("gradient", gradients), ("movement", movement or {}))
        )
        rng = generator(seed, name)
        yield (
            Member(node.name, kind, name, _finite(node, name, rows), gradient, rng, moved),
            classes,
        )


def generator(seed: int, name: str) -> np.random.Generator:
    """Random numbers that depend on the seed and a parameter's name alone."""
    return np.random.default_rng([seed, zlib.crc32(name.encode())])


def channel_axis(node: Node) -> int:
    """Axis of a layer's weight that counts its output channels (an embedding's: its units)."""
    return 1 if node.op in ("conv_transpose2d", "embedding") else 0


def _source(graph: Graph, producers: Mapping[str, Node], name: str) -> str:
    """The parameter that a weight is computed from (through masks and fake quantizers)."""
    while name in producers and name not in graph.constants:
        node = producers[name]
        name = next((i for i in node.inputs if i in producers), node.inputs[0])
    return name


def _rows(node: Node, axis: int, weight: np.ndarray) -> np.ndarray:
    """``weight`` as (output channels, the rest)."""
    weight = np.asarray(weight, np.float32)
    groups = node.attrs.get("groups", 1)
    if axis == 1 and groups > 1:  # (inputs, outputs of one group, ...)
        weight = weight.reshape(groups, -1, *weight.shape[1:]).swapaxes(1, 2)
        return np.ascontiguousarray(weight).reshape(groups * weight.shape[1], -1)
    return np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1)


def _finite(node: Node, name: str, rows: np.ndarray) -> np.ndarray:
    if not np.isfinite(rows).all():
        raise DataError(f"weight {name!r} of layer {node.name!r} holds values that are not finite")
    return rows


def _same_shape(
    graph: Graph, node: Node, axis: int, what: str, name: str, given: Values
) -> np.ndarray | None:
    if name not in given:
        return None
    shape, values = graph.constants[name].data.shape, np.asarray(given[name])
    if values.shape != shape:
        raise DataError(f"the {what} has shape {values.shape}; the parameter has {shape}")
    rows = _rows(node, axis, values)
    if not np.isfinite(rows).all():
        raise DataError(f"the {what} (layer {node.name!r}) holds values that are not finite")
    return rows
