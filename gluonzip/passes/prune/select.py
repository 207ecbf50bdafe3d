"""Choosing the channels to remove: by ratio, in each group or over the whole network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from math import ceil, gcd, lcm

import numpy as np

from gluonzip.errors import ConfigError, PatternError
from gluonzip.graph.ir import Graph
from gluonzip.passes.prune.groups import ChannelGroups, Group, find_groups
from gluonzip.passes.prune.score import score
from gluonzip.passes.prune.scorers import Scorer

SCOPES = ("local", "global")


@dataclass(frozen=True, eq=False)
class Selection:
    """Channels to remove from ``found.graph``: the ids of their classes.

    ``untouched``: layer -> the reason why none (or not all) of its channels were up for removal.
    """

    found: ChannelGroups
    removed: np.ndarray
    untouched: dict[str, str] = field(default_factory=dict)


def select(
    graph: Graph | ChannelGroups,
    ratio: float = 0.3,
    scorer: str | Scorer = "l1",
    scope: str = "local",
    round_to: int = 8,
    minimum: int = 1,
    skip: Sequence[str] = (),
    gradients: Mapping[str, np.ndarray] | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    seed: int = 0,
    movement: Mapping[str, np.ndarray] | None = None,
) -> Selection:
    """Choose the least important channels.

    ``ratio``, in [0, 1): the share of channels to remove, from every group (``scope="local"``) or
    of all channels together, compared across layers (``"global"``). What is left of a layer is
    rounded to the nearest multiple of ``round_to`` (1: no rounding), and is at least that and
    ``minimum``; layers no wider than that stay whole. Where the graph cuts a layer's channels into
    parts, that is true of each part. ``skip``: patterns of layer names that stay
    whole, with everything that would go with them. ``gradients``: parameter name -> gradient,
    for the taylor scorer; ``movement`` likewise. ``shapes``: of the graph's inputs, as in
    ``infer_types``.

    Raises ConfigError for arguments out of range, PatternError for a pattern that matches no
    layer, DataError for weights or scores that are not finite.
    """
    _check(ratio, scope, round_to, minimum)
    found = graph if isinstance(graph, ChannelGroups) else find_groups(graph, shapes)
    skipped = _matched(skip, list(found.layers))
    scores = score(found, scorer, gradients, seed, movement)
    untouched = dict(found.unprunable)
    candidates = []
    for group in found.groups:
        reason = _excluded(group, skipped, scores)
        if reason:
            untouched.update({layer: reason for layer in group.layers})
        else:
            candidates.append(group)
    wanted = _local(candidates, ratio) if scope == "local" else _global(candidates, scores, ratio)
    removed: list[int] = []
    for group, goal in zip(candidates, wanted, strict=True):
        keep = kept_classes(group, goal, round_to, minimum)
        order = sorted(group.classes.tolist(), key=lambda c: (scores[c], c))
        removed += order[: len(group) - keep]
        if keep == len(group) and goal < len(group):
            reason = f"too narrow for round_to={round_to}, minimum={minimum}"
            if len(group) == 1:
                reason = "all its channels go together: none can leave alone"
            untouched.update({layer: reason for layer in group.layers if layer not in untouched})
    return Selection(found, np.array(sorted(removed), np.int64), untouched)


def _check(ratio: float, scope: str, round_to: int, minimum: int) -> None:
    if not 0 <= ratio < 1:
        raise ConfigError(
            f"ratio = {ratio!r} is not in [0, 1): it is the share of channels to remove"
        )
    if scope not in SCOPES:
        raise ConfigError(f"scope {scope!r} is unknown; use one of {SCOPES}")
    for name, value in (("round_to", round_to), ("minimum", minimum)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ConfigError(f"{name} = {value!r} must be an integer of at least 1")


def _matched(patterns: Sequence[str], layers: Sequence[str]) -> set[str]:
    patterns = [patterns] if isinstance(patterns, str) else patterns
    matched: set[str] = set()
    for pattern in patterns:
        hits = [layer for layer in layers if fnmatchcase(layer, pattern)]
        if not hits:
            raise PatternError(
                f"skip pattern {pattern!r} matches no layer; layers: {', '.join(layers)}"
            )
        matched.update(hits)
    return matched


def _excluded(group: Group, skipped: set[str], scores: Mapping[int, float]) -> str | None:
    named = [layer for layer in group.layers if layer in skipped]
    if named:
        return f"skip keeps {named[0]} whole"
    if any(class_ not in scores for class_ in group.classes.tolist()):
        return "the scorer has no score for it (bn_scale needs a batch norm)"
    return None


def _local(groups: Sequence[Group], ratio: float) -> list[float]:
    return [len(group) * (1 - ratio) for group in groups]


def _global(groups: Sequence[Group], scores: Mapping[int, float], ratio: float) -> list[float]:
    """How many classes each group keeps when the lowest of all channels go."""
    ranked = sorted(
        (scores[class_], class_, index)
        for index, group in enumerate(groups)
        for class_ in group.classes.tolist()
    )
    sizes = [sum(group.channels.values()) for group in groups]
    budget = ratio * sum(len(g) * size for g, size in zip(groups, sizes, strict=True))
    keep = [float(len(group)) for group in groups]
    for _, _, index in ranked:
        if budget < sizes[index] / 2:
            break
        budget -= sizes[index]
        keep[index] -= 1
    return keep


def kept_classes(group: Group, goal: float, round_to: int, minimum: int) -> int:
    """How many of the group's classes stay: the number nearest to ``goal`` that suits every layer.

    In each layer (and part), what stays is a multiple of ``round_to`` and at least ``minimum``. If
    the channels that go together are so many that there is no smaller multiple, what stays is
    merely at least both.
    """
    widths = group.widths.values()
    step = lcm(*(round_to // gcd(round_to, width) for width in widths))
    least = max(ceil(minimum / width) for width in widths)
    if step >= len(group):
        step, least = 1, max(ceil(max(minimum, round_to) / width) for width in widths)
    if goal >= len(group):
        return len(group)
    keep = max(step * int(goal / step + 0.5), step * ceil(least / step), step)
    return min(keep, len(group))
