"""Magnitude pruning with masks that hold during fine-tuning."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real

import numpy as np

from gluonzip.errors import ConfigError
from gluonzip.gluon import masks
from gluonzip.gluon._mxnet import mx
from gluonzip.gluon.arrays import view
from gluonzip.gluon.layers import Layer, Selection, layers, select
from gluonzip.gluon.record import NOT_SELECTED, LayerRecord
from gluonzip.gluon.structure import Block, clear_caches, require_legacy_arrays
from gluonzip.gluon.wrapper import Compressed, compress, set_mask
from gluonzip.spec import NM, SparsityPattern, Unstructured

Key = tuple[str, str]
"""(layer name, weight attribute)."""


def prune(
    net: Block,
    *,
    threshold: float | None = None,
    sparsity: float | None = None,
    layers: Selection = None,
    pattern: SparsityPattern | None = None,
    scope: str = "layer",
) -> dict[str, LayerRecord]:
    """Set small weights of ``net`` to zero, in place, and keep them zero from now on.

    Give ``threshold`` (weights with \\|w\\| below it go) or ``sparsity`` (that fraction goes, 0 to
    1; ``scope="global"`` ranks all selected layers together, ``"layer"`` each on its own), or
    ``pattern=NM(n, m)``, which says how many by itself. With a ``Block`` pattern the score of a
    block is its mean \\|w\\|. What earlier calls pruned counts as 0, so zeros stay. ``layers``: see
    :func:`gluonzip.gluon.layers.select`. A layer that shares its weight with a selected one is
    pruned with it.

    Returns a record of every weighted layer by name. Raises ConfigError (arguments), PatternError
    (a pattern that matches nothing), DataError (a weight without values or not finite).
    """
    require_legacy_arrays("prune")
    pattern = Unstructured() if pattern is None else pattern
    _check(threshold, sparsity, pattern, scope)
    chosen = _with_sharers(net, select(net, layers))
    able = {name: layer for name, layer in chosen.items() if not layer.obstacle}
    weights = {
        (name, attribute): _oriented(layer, _effective(layer, attribute))
        for name, layer in able.items()
        for attribute in layer.weights
    }
    for key, mask in _masks(weights, threshold, sparsity, pattern, scope).items():
        _apply(able, key, mask)
    clear_caches(net)
    return _records(net, chosen, threshold, pattern, scope)


def _check(threshold: object, sparsity: object, pattern: SparsityPattern, scope: str) -> None:
    if scope not in ("layer", "global"):
        raise ConfigError(f"scope = {scope!r} is unknown; use 'layer' or 'global'")
    if isinstance(pattern, NM):
        if threshold is not None or sparsity is not None:
            raise ConfigError(f"{pattern} sets the sparsity itself; drop threshold and sparsity")
        return
    if (threshold is None) == (sparsity is None):
        raise ConfigError("prune needs exactly one of threshold and sparsity")
    name, value = ("threshold", threshold) if sparsity is None else ("sparsity", sparsity)
    good = isinstance(value, Real) and math.isfinite(value) and value >= 0
    if not good or (name == "sparsity" and value > 1):
        wanted = "a number >= 0" if name == "threshold" else "a number from 0 to 1"
        raise ConfigError(f"{name} = {value!r} is not usable; use {wanted}")


def _with_sharers(net: Block, chosen: Mapping[str, Layer]) -> dict[str, Layer]:
    """``chosen`` and every layer that uses one of its weight parameters, in the net's order."""
    shared = {id(p) for layer in chosen.values() for p in layer.weights.values()}
    return {
        name: layer
        for name, layer in layers(net).items()
        if name in chosen or any(id(p) in shared for p in layer.weights.values())
    }


def _effective(layer: Layer, attribute: str) -> np.ndarray:
    """The weight with the present mask, before any quantizer."""
    value = view(layer.data(attribute)).astype(np.float32, copy=False)
    if isinstance(layer.block, Compressed) and attribute in layer.block._masks:
        mask = layer.block._reg_params[layer.block._masks[attribute]]
        value = value * view(mask.list_data()[0])
    return value


def _oriented(layer: Layer, value: np.ndarray) -> np.ndarray:
    """Output channels first, whatever the layer."""
    return value.swapaxes(0, 1) if layer.transposed else value


def _masks(
    weights: Mapping[Key, np.ndarray],
    threshold: float | None,
    sparsity: float | None,
    pattern: SparsityPattern,
    scope: str,
) -> dict[Key, np.ndarray]:
    if isinstance(pattern, NM):
        return {key: masks.keep_n_of_m(w, pattern) for key, w in weights.items()}
    scores = {key: masks.scores(w, pattern) for key, w in weights.items()}
    if threshold is not None:
        keep = {key: masks.keep_at_least(s, threshold) for key, s in scores.items()}
    elif scope == "layer":
        keep = {key: masks.keep_largest(s, sparsity) for key, s in scores.items()}
    else:
        keep = _keep_largest_of_all(scores, sparsity)
    return {key: masks.expand(k, weights[key].shape, pattern) for key, k in keep.items()}


def _keep_largest_of_all(scores: Mapping[Key, np.ndarray], sparsity: float) -> dict:
    if not scores:
        return {}
    together = masks.keep_largest(np.concatenate([s.ravel() for s in scores.values()]), sparsity)
    ends = np.cumsum([s.size for s in scores.values()])[:-1]
    parts = np.split(together, ends)
    return {k: part.reshape(s.shape) for part, (k, s) in zip(parts, scores.items(), strict=True)}


def _apply(chosen: Mapping[str, Layer], key: Key, mask: np.ndarray) -> None:
    name, attribute = key
    layer = chosen[name]
    block, parameter = compress(layer), layer.weights[attribute]
    if layer.transposed:
        mask = np.ascontiguousarray(mask.swapaxes(0, 1))
    if attribute in block._masks:  # a lower sparsity than last time revives nothing
        mask = mask * block._reg_params[block._masks[attribute]].list_data()[0].asnumpy()
    set_mask(block, attribute, mask, _existing_mask(chosen, layer, parameter))
    # The raw values go too: a checkpoint of the weights alone is as sparse as the network.
    value = layer.data(attribute)
    # (Adding 0 makes zeros of negative zeros.)
    parameter.set_data(value * mx.nd.array(mask, ctx=value.context, dtype=value.dtype) + 0)


def _existing_mask(chosen: Mapping[str, Layer], layer: Layer, weight: object) -> object:
    """The mask parameter of another layer that shares ``weight``."""
    for other in chosen.values():
        if other.block is layer.block or not isinstance(other.block, Compressed):
            continue
        for attribute, mask in other.block._masks.items():
            if other.weights[attribute] is weight:
                return other.block._reg_params[mask]
    return None


def _records(
    net: Block,
    chosen: Mapping[str, Layer],
    threshold: float | None,
    pattern: SparsityPattern,
    scope: str,
) -> dict[str, LayerRecord]:
    records = {}
    for name, layer in layers(net).items():
        reason = layer.obstacle if name in chosen else NOT_SELECTED
        facts = {}
        if not reason:
            facts = {"sparsity": _zeros(layer) / layer.size, "pattern": str(pattern)}
            facts |= {"threshold": threshold} if threshold is not None else {"scope": scope}
        records[name] = LayerRecord(name, layer.kind, layer.size, not reason, reason, facts)
    return records


# ---------------------------------------------------------------- measuring
class Sparsity(dict):
    """Fraction of zeros of each weighted layer by name; ``total`` over all their weights."""

    def __init__(self, zeros: Mapping[str, int], sizes: Mapping[str, int]) -> None:
        super().__init__({name: zeros[name] / max(size, 1) for name, size in sizes.items()})
        self.total = sum(zeros.values()) / max(sum(sizes.values()), 1)


def sparsity(net: Block) -> Sparsity:
    """How many weights are exactly zero, counted in the values that the layers use.

    A network without MXNet masks counts as well. Raises DataError as :func:`prune`.
    """
    known = layers(net)
    zeros = {name: _zeros(layer) for name, layer in known.items()}
    return Sparsity(zeros, {name: layer.size for name, layer in known.items()})


def _zeros(layer: Layer) -> int:
    count = 0
    for attribute in layer.weights:
        value = layer.data(attribute)
        if isinstance(layer.block, Compressed):
            value = layer.block.effective_weight(attribute)
        count += value.size - int(np.count_nonzero(view(value)))
    return count
