"""Groups of channels that can be removed, and the layers whose channels cannot."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from gluonzip.graph.ir import Graph, TensorType
from gluonzip.passes.prune import rules  # noqa: F401  (fills the table of rules)
from gluonzip.passes.prune.channels import Ids
from gluonzip.passes.prune.propagation import Axes, Propagation, tensor_types

Shapes = Mapping[str, tuple[int, ...]]
"""Tensor -> shape."""


@dataclass(frozen=True, eq=False)
class Group:
    """Classes of channels that the same layers make.

    ``classes``: ids, shape (n,); the channels of one class are removed together. ``channels``:
    layer -> how many output channels of it belong to *one* class (1 except in grouped layers).
    ``widths``: every tensor's part that must not become empty -> the same (layers, and parts that
    the graph cuts out of a tensor).
    """

    classes: Ids
    channels: dict[str, int]
    widths: dict[str, int]

    @property
    def layers(self) -> list[str]:
        return list(self.channels)

    def __len__(self) -> int:
        return len(self.classes)


@dataclass(frozen=True, eq=False)
class ChannelGroups:
    """What can be pruned in ``graph``.

    ``axes``: tensor -> axis -> class of each index (axes that are not there stay as they are).
    ``layers``: weighted node -> class of each output channel. ``unprunable``: weighted node ->
    the reason why some or all of its output channels stay. ``shapes``, ``foreign``: as given to
    ``find_groups``.
    """

    graph: Graph
    groups: list[Group]
    axes: dict[str, Axes]
    layers: dict[str, Ids]
    unprunable: dict[str, str]
    shapes: Shapes | None = None
    foreign: Shapes | None = None

    def types(self, graph: Graph | None = None) -> dict[str, TensorType]:
        """Types of the tensors of the graph (or of another one with the same inputs and opaque
        nodes) as far as they are known."""
        return tensor_types(graph or self.graph, self.shapes, self.foreign)


def find_groups(
    graph: Graph, shapes: Shapes | None = None, foreign: Shapes | None = None
) -> ChannelGroups:
    """The channels of ``graph`` that can be removed, by groups.

    ``shapes``: actual shapes of inputs, as in ``infer_types``. ``foreign``: shapes of the outputs
    of opaque nodes; without them, what lies behind such a node stays whole. Raises what
    ``infer_types`` raises.
    """
    state = Propagation(graph, tensor_types(graph, shapes, foreign))
    channels = state.channels
    layers = {name: channels.roots(ids) for name, ids in state.producers.items()}
    slices = {name: channels.roots(ids) for name, ids in state.slices.items()}
    return ChannelGroups(
        graph,
        _group(channels, layers, slices),
        {
            name: {axis: channels.roots(ids) for axis, ids in axes.items()}
            for name, axes in state.axes.items()
            if axes
        },
        layers,
        _reasons(channels, layers),
        shapes,
        foreign,
    )


def _group(channels, layers: dict[str, Ids], slices: dict[str, Ids]) -> list[Group]:
    """Unlocked classes by which layers (and slices) they occur in, and how often."""
    occurrences: dict[int, Counter[str]] = defaultdict(Counter)
    parts = {**layers, **{f"part {name}": ids for name, ids in slices.items()}}
    for name, ids in parts.items():
        classes, counts = np.unique(ids[~channels.locked(ids)], return_counts=True)
        for class_, count in zip(classes.tolist(), counts.tolist(), strict=True):
            occurrences[class_][name] = count
    by_signature: dict[tuple, list[int]] = defaultdict(list)
    for class_, counter in occurrences.items():
        if any(name in layers for name in counter):
            by_signature[tuple(counter.items())].append(class_)
    return [
        Group(
            np.array(sorted(classes)),
            {name: count for name, count in signature if name in layers},
            dict(signature),
        )
        for signature, classes in by_signature.items()
    ]


def _reasons(channels, layers: dict[str, Ids]) -> dict[str, str]:
    reasons = {}
    for name, ids in layers.items():
        locked = channels.locked(ids)
        if locked.any():
            why = channels.reason(int(ids[locked][0]))
            some = "" if locked.all() else f"{locked.sum()} of {len(ids)} channels: "
            reasons[name] = f"{some}{why}"
    return reasons
