"""From a target to a mask for each weight, and the reasons why others have none."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from gluonzip.errors import ConfigError, GluonzipError
from gluonzip.gluon import masks
from gluonzip.gluon.criteria.neighbours import Neighbours, neighbours
from gluonzip.gluon.criteria.scoring import Key, Scoring
from gluonzip.gluon.criteria.target import PruningTarget
from gluonzip.gluon.layers import Layer, layers, select
from gluonzip.gluon.orientation import oriented, restored
from gluonzip.gluon.structure import Block, require_legacy_arrays
from gluonzip.spec import NM, Channels, Filters, SparsityPattern


@dataclass(eq=False)
class Plan:
    """What a target means for a network: a mask for each weight, and why others have none.

    ``chosen``: selected layers and those that share a weight with one. ``masks``: in the layout of
    the weights; 1 keeps. ``skipped``: layer -> reason. ``notes``: layer -> what a pattern that does
    not divide it did.
    """

    target: PruningTarget
    chosen: dict[str, Layer]
    masks: dict[Key, np.ndarray] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)


def plan(net: Block, target: PruningTarget, revive: bool = False) -> Plan:
    """The masks that ``target`` asks for; nothing changes yet.

    ``revive``: by the raw values, so that what is pruned now may come back. Warns about layers
    that a pattern does not divide, and about layers that would be left with nothing.
    """
    require_legacy_arrays("prune")
    made = Plan(target, _with_sharers(net, select(net, target.layers)))
    near = _neighbours(net, target)
    made.skipped = _obstacles(made, near)
    able = {name: layer for name, layer in made.chosen.items() if name not in made.skipped}
    scoring = Scoring(net, target, able, near.norms, revive)
    scores = {}
    for key in [(name, attribute) for name, layer in able.items() for attribute in layer.weights]:
        found = scoring.of(key)
        if found is None:
            made.skipped[key[0]] = _unscored(target)
        else:
            scores[key] = found
    for (name, attribute), keep in _choose(scores, target).items():
        layer = able[name]
        shape = _shape(layer, attribute, target.pattern)
        mask = masks.expand(keep, shape, target.pattern)
        made.masks[name, attribute] = restored(layer, mask, target.pattern)
        if note := masks.remainder(shape, target.pattern):
            made.notes[name] = note
    _warn(made)
    return made


def _with_sharers(net: Block, chosen: Mapping[str, Layer]) -> dict[str, Layer]:
    """``chosen`` and every layer that uses one of its weight parameters, in the net's order."""
    shared = {id(p) for layer in chosen.values() for p in layer.weights.values()}
    return {
        name: layer
        for name, layer in layers(net).items()
        if name in chosen or any(id(p) in shared for p in layer.weights.values())
    }


def _neighbours(net: Block, target: PruningTarget) -> Neighbours:
    """What lies behind the layers, if the target has to know."""
    nothing = Neighbours(frozenset(), {})
    if not isinstance(target.pattern, Filters):
        return nothing
    names = set().union(*(_weights(layer) for layer in layers(net).values()))
    try:
        return neighbours(net, names)
    except GluonzipError as error:
        if target.registered is not None and target.registered.of == "norm":
            raise
        warnings.warn(
            "which layers make the network's outputs is not known, so the filters of none are "
            f"protected (leave them out with layers=): {error}",
            stacklevel=4,
        )
        return nothing


def _obstacles(made: Plan, near: Neighbours) -> dict[str, str]:
    """Why chosen layers are left alone. ConfigError if the output layer was asked for by name."""
    last = [name for name, layer in made.chosen.items() if _weights(layer) & near.outputs]
    asked = last if len(last) == len(made.chosen) else [n for n in last if n in _named(made.target)]
    if asked:
        raise ConfigError(
            f"the filters (neurons) of layer {asked[0]!r} are the network's outputs, so none of "
            "them can go; choose other layers, or another pattern (channels, unstructured)"
        )
    found, whole = {}, isinstance(made.target.pattern, (Filters, Channels))
    for name, layer in made.chosen.items():
        if layer.obstacle:
            found[name] = layer.obstacle
        elif name in last:
            found[name] = "its filters (neurons) are the network's outputs"
        elif whole and set(layer.weights) != {"weight"}:
            found[name] = "the rows of a recurrent weight are gates, not filters"
    return found


def _weights(layer: Layer) -> set[str]:
    return {parameter.name for parameter in layer.weights.values()}


def _named(target: PruningTarget) -> set[str]:
    """What the selection says in words (names and globs)."""
    chosen = target.layers
    parts = chosen if isinstance(chosen, (list, tuple, set, frozenset)) else [chosen]
    return {part for part in parts if isinstance(part, str)}


def _unscored(target: PruningTarget) -> str:
    if target.registered is not None and target.registered.of == "norm":
        return "no batch norm lies behind it, so it has no scale to be judged by"
    return "the criterion has no score for it"


def _shape(layer: Layer, attribute: str, pattern: SparsityPattern) -> tuple[int, ...]:
    return oriented(layer, np.broadcast_to(False, layer.weights[attribute].shape), pattern).shape


def _choose(scores: Mapping[Key, np.ndarray], target: PruningTarget) -> dict[Key, np.ndarray]:
    if isinstance(target.pattern, NM):
        return {key: masks.keep_n_of_m(s, target.pattern) for key, s in scores.items()}
    if target.threshold is not None:
        return {key: masks.keep_at_least(s, target.threshold) for key, s in scores.items()}
    if target.scope == "layer":
        return {key: masks.keep_largest(s, target.sparsity) for key, s in scores.items()}
    return _keep_largest_of_all(scores, target.sparsity)


def _keep_largest_of_all(scores: Mapping[Key, np.ndarray], sparsity: float) -> dict:
    if not scores:
        return {}
    together = masks.keep_largest(np.concatenate([s.ravel() for s in scores.values()]), sparsity)
    ends = np.cumsum([s.size for s in scores.values()])[:-1]
    parts = np.split(together, ends)
    return {k: part.reshape(s.shape) for part, (k, s) in zip(parts, scores.items(), strict=True)}


def _warn(made: Plan) -> None:
    if made.notes:
        said = "; ".join(f"layer {name!r} {note}" for name, note in made.notes.items())
        warnings.warn(f"{made.target.pattern} does not divide every layer: {said}", stacklevel=4)
    for (name, attribute), mask in made.masks.items():
        if mask.size and not mask.any():
            warnings.warn(
                f"layer {name!r} is pruned to nothing: all {mask.size} values of its {attribute} "
                "are zero, and the network no longer sees its input; lower threshold or sparsity, "
                "use scope='layer', or leave it out (layers=)",
                stacklevel=4,
            )
