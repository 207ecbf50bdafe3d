"""Importance of channels, from weights (and gradients). A scorer is one function.

References: L1 norm: Li et al., "Pruning Filters for Efficient ConvNets", ICLR 2017. Batch-norm
scale: Liu et al., "Learning Efficient Convolutional Networks through Network Slimming", ICCV 2017.
Geometric median: He et al., "Filter Pruning via Geometric Median", CVPR 2019. Taylor: Molchanov et
al., "Importance Estimation for Neural Network Pruning", CVPR 2019.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from gluonzip.errors import ConfigError, DataError
from gluonzip.graph.ir import Graph, Node
from gluonzip.passes.prune.groups import ChannelGroups


@dataclass(frozen=True, eq=False)
class Member:
    """A parameter with one row for each channel, as a scorer sees it.

    ``layer``: the node's name. ``kind``: ``"weight"`` (one filter a row) or ``"norm"`` (one batch
    norm scale a row). ``name``: the parameter's. ``weight``: float32 (channels, values), and
    ``gradient`` the same, or None. ``rng``: a generator seeded by the seed and the name alone.
    """

    layer: str
    kind: str
    name: str
    weight: np.ndarray
    gradient: np.ndarray | None
    rng: np.random.Generator


Scorer = Callable[[Member], "np.ndarray | None"]
"""From a member to the importance (float, (channels,)) of its channels; None: no opinion."""

SCORERS: dict[str, Scorer] = {}


def scorer(name: str) -> Callable[[Scorer], Scorer]:
    """Register a scorer under ``name``."""

    def register(function: Scorer) -> Scorer:
        SCORERS[name] = function
        return function

    return register


@scorer("l1")
def l1(member: Member) -> np.ndarray | None:
    """Sum of |w| of the filter."""
    return np.abs(member.weight).sum(1) if member.kind == "weight" else None


@scorer("l2")
def l2(member: Member) -> np.ndarray | None:
    """Euclidean norm of the filter."""
    return np.sqrt(np.square(member.weight).sum(1)) if member.kind == "weight" else None


@scorer("bn_scale")
def bn_scale(member: Member) -> np.ndarray | None:
    """|gamma| of the batch norms behind the channel; layers without any have no score."""
    return np.abs(member.weight[:, 0]) if member.kind == "norm" else None


@scorer("fpgm")
def fpgm(member: Member) -> np.ndarray | None:
    """Sum of the distances to the layer's other filters: small near their geometric median."""
    if member.kind != "weight":
        return None
    w = member.weight.astype(np.float64)
    squares = np.square(w).sum(1)
    distances = squares[:, None] + squares[None] - 2 * (w @ w.T)
    np.fill_diagonal(distances, 0)
    return np.sqrt(np.maximum(distances, 0)).sum(1)


@scorer("taylor")
def taylor(member: Member) -> np.ndarray | None:
    """|sum of gradient * w| of the filter: the loss's first-order change if the filter goes."""
    if member.kind != "weight":
        return None
    if member.gradient is None:
        raise DataError(
            f"the taylor scorer needs the gradient of {member.name!r} (layer {member.layer!r}); "
            "pass gradients={parameter name: array}"
        )
    return np.abs((member.weight * member.gradient).sum(1))


@scorer("random")
def random(member: Member) -> np.ndarray | None:
    """Uniform numbers: the baseline that a criterion must beat."""
    return member.rng.random(len(member.weight)) if member.kind == "weight" else None


def resolve(scorer: str | Scorer) -> Scorer:
    """A registered scorer by name; functions pass through. ConfigError for an unknown name."""
    if callable(scorer):
        return scorer
    if scorer not in SCORERS:
        known = ", ".join(sorted(SCORERS))
        raise ConfigError(f"scorer {scorer!r} is unknown; use a function or one of {known}")
    return SCORERS[scorer]


def score(
    found: ChannelGroups,
    scorer: str | Scorer = "l1",
    gradients: Mapping[str, np.ndarray] | None = None,
    seed: int = 0,
) -> dict[int, float]:
    """Importance of each class of channels: the mean over its channels in all members.

    A member's scores are first divided by their mean, so that layers of different size count the
    same and can be compared. Classes that no member has an opinion about are left out. Raises
    DataError for weights that are not finite, scores of wrong shape and missing gradients.
    """
    function = resolve(scorer)
    totals: dict[int, float] = {}
    counts: dict[int, int] = {}
    for member, classes in members(found, gradients or {}, seed):
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


def members(found: ChannelGroups, gradients: Mapping[str, np.ndarray], seed: int = 0):
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
        gradient = gradients.get(name)
        yield (
            Member(
                node.name,
                kind,
                name,
                _finite(node, name, rows),
                None if gradient is None else _same_shape(graph, node, axis, name, gradient),
                np.random.default_rng([seed, zlib.crc32(name.encode())]),
            ),
            classes,
        )


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


def _same_shape(graph: Graph, node: Node, axis: int, name: str, gradient: np.ndarray) -> np.ndarray:
    shape = graph.constants[name].data.shape
    gradient = np.asarray(gradient)
    if gradient.shape != shape:
        raise DataError(
            f"the gradient of {name!r} has shape {gradient.shape}; the parameter has {shape}"
        )
    return _finite(node, f"gradient of {name}", _rows(node, axis, gradient))
