"""Pruning with masks that hold during fine-tuning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gluonzip.errors import ConfigError
from gluonzip.gluon._mxnet import mx
from gluonzip.gluon.criteria import Key, Plan, PruningTarget, has_codebook, plan, present_mask
from gluonzip.gluon.layers import Layer, Selection, layers
from gluonzip.gluon.record import NOT_SELECTED, LayerRecord
from gluonzip.gluon.sparsity import Sparsity, count_zeros, sparsity
from gluonzip.gluon.structure import Block, clear_caches
from gluonzip.gluon.wrapper import Compressed, compress, set_mask
from gluonzip.passes.prune.scorers import Scorer
from gluonzip.spec import SparsityPattern

__all__ = ["Sparsity", "apply", "plan", "prune", "records", "sparsity", "zero"]


def prune(
    net: Block,
    *,
    threshold: float | None = None,
    sparsity: float | None = None,
    layers: Selection = None,
    pattern: SparsityPattern | str | None = None,
    scope: str = "layer",
    criterion: str | Scorer = "magnitude",
    data: Any = None,
    loss: Any = None,
    gradients: Mapping[str, Any] | None = None,
    movement: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> dict[str, LayerRecord]:
    """Set the least important weights of ``net`` to zero, in place, and keep them zero from now on.

    How many: ``threshold`` (units that score below it go); or ``sparsity``, in [0, 1), the share of
    units that go (``scope="global"`` ranks all selected layers together, ``"layer"`` each on its
    own, and leaves at least one unit in each); or an N:M pattern, which says how many by itself.

    ``pattern``: what a unit is: ``unstructured`` (a weight), ``4x1`` (a block of 4 inputs times 1
    output), ``2:4``, ``filters`` (whole outputs), ``channels`` (whole inputs), or a value of
    :mod:`gluonzip.spec`. Where blocks or groups do not divide a layer, the last ones are smaller; a
    warning and the record's ``remainder`` say which. Filters of layers that make the network's
    outputs stay.

    ``criterion``: a registered name (``gluonzip.passes.prune.SCORERS``: magnitude, l1, l2, taylor,
    snip, movement, random, fpgm, bn_scale) or a function from a
    :class:`~gluonzip.passes.prune.Member` (units as rows) to one number a unit. Gradients come from
    ``data`` and ``loss`` (:func:`gluonzip.gluon.loss_gradients`), or ``gradients`` (structural
    parameter name -> array), or else the last ``backward()``. ``movement``: a
    :class:`gluonzip.gluon.Movement`.

    What earlier calls pruned stays pruned. ``layers``: see :func:`gluonzip.gluon.layers.select`. A
    layer that shares its weight with a selected one is pruned with it.

    Returns a record of every weighted layer by name. Raises ConfigError (arguments), PatternError
    (a pattern that matches nothing), DataError (weights, gradients, scores: missing or not finite).
    """
    target = PruningTarget(
        sparsity,
        threshold,
        layers,
        pattern,
        scope,
        criterion,
        data,
        loss,
        gradients,
        movement,
        seed,
    )
    made = plan(net, target)
    apply(net, made)
    return records(net, made)


# ---------------------------------------------------------------- carrying out
def apply(net: Block, made: Plan, revive: bool = False) -> None:
    """Give the layers the masks of a plan.

    ``revive``: the masks replace those of earlier plans and raw values stay as they are.
    """
    for key, mask in made.masks.items():
        _mask(made.chosen, key, mask, revive)
    clear_caches(net)


def zero(made: Plan) -> None:
    """Set what a plan would mask to zero, without masks: training may bring it back.

    ConfigError for a weight whose values are those of a codebook.
    """
    for name, attribute in made.masks:
        if has_codebook(made.chosen[name], attribute):
            raise ConfigError(
                f"layer {name!r} takes its weights from a codebook, so zeroing what lies behind it "
                "prunes nothing; use masks='frozen', or leave it out (layers=)"
            )
    for (name, attribute), mask in made.masks.items():
        _multiply(made.chosen[name], attribute, mask)


def _mask(chosen: Mapping[str, Layer], key: Key, mask: np.ndarray, revive: bool) -> None:
    name, attribute = key
    layer = chosen[name]
    present = None if revive else present_mask(layer, attribute)
    if present is not None:  # a lower sparsity than last time revives nothing
        mask = mask * present
    block = compress(layer)
    set_mask(block, attribute, mask, _existing_mask(chosen, layer, layer.weights[attribute]))
    if not revive:  # the raw values go, too: a checkpoint of the weights alone is as sparse
        _multiply(layer, attribute, mask)


def _multiply(layer: Layer, attribute: str, mask: np.ndarray) -> None:
    if has_codebook(layer, attribute):
        return
    value = layer.data(attribute)
    mask = mx.nd.array(mask, ctx=value.context, dtype=value.dtype)
    layer.weights[attribute].set_data(value * mask + 0)  # + 0 makes zeros of negative zeros


def _existing_mask(chosen: Mapping[str, Layer], layer: Layer, weight: object) -> object:
    """The mask parameter of another layer that shares ``weight``."""
    for other in chosen.values():
        if other.block is layer.block or not isinstance(other.block, Compressed):
            continue
        for attribute, mask in other.block._masks.items():
            if other.weights[attribute] is weight:
                return other.block._reg_params[mask]
    return None


def records(net: Block, made: Plan) -> dict[str, LayerRecord]:
    """What became of every weighted layer, counted in the values that it uses now."""
    found, target = {}, made.target
    for name, layer in layers(net).items():
        reason = made.skipped.get(name, "") if name in made.chosen else NOT_SELECTED
        facts = {}
        if not reason:
            facts = {"sparsity": count_zeros(layer) / layer.size, "pattern": str(target.pattern)}
            facts["criterion"] = _name(target.criterion)
            facts |= {"scope": target.scope} if target.threshold is None else {}
            facts |= {} if target.threshold is None else {"threshold": target.threshold}
            facts |= {"remainder": made.notes[name]} if name in made.notes else {}
        found[name] = LayerRecord(name, layer.kind, layer.size, not reason, reason, facts)
    return found


def _name(criterion: Any) -> str:
    return criterion if isinstance(criterion, str) else getattr(criterion, "__name__", "own")
