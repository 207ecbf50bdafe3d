"""Hard weight sharing in training: codebooks on weights, and weights that several layers use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gluonzip.errors import ConfigError
from gluonzip.gluon._mxnet import mx
from gluonzip.gluon.arrays import view
from gluonzip.gluon.layers import Layer, Selection, layers, select
from gluonzip.gluon.record import NOT_SELECTED, LayerRecord
from gluonzip.gluon.structure import Block, Parameter, clear_caches, require_legacy_arrays
from gluonzip.gluon.wrapper import Compressed, compress, set_codebook, set_mask
from gluonzip.passes.share import Assignment, entropy_bits, entropy_constrained
from gluonzip.spec import PerChannel, WeightSharing

Key = tuple[str, str]
"""(layer name, weight attribute)."""

_FOUR_BITS = WeightSharing()


@dataclass(frozen=True, eq=False)
class _Weight:
    """A weight to share: ``rows`` (codebooks, weights of each), as the layer uses them now."""

    layer: Layer
    attribute: str
    rows: np.ndarray
    curvature: np.ndarray | None
    axis: int | None

    @property
    def parameter(self) -> Parameter:
        return self.layer.weights[self.attribute]

    def shaped(self, rows: np.ndarray) -> np.ndarray:
        """``rows`` in the weight's own shape."""
        if self.axis is None:
            return rows.reshape(self.parameter.shape)
        return np.ascontiguousarray(np.moveaxis(rows.reshape(self._moved()), 0, self.axis))

    def _moved(self) -> tuple[int, ...]:
        shape = list(self.parameter.shape)
        return (shape.pop(self.axis), *shape)


def share(
    net: Block | Iterable[Block],
    what: WeightSharing = _FOUR_BITS,
    *,
    layers: Selection = None,
    together: bool = False,
    curvature: Mapping[Key, np.ndarray] | None = None,
    seed: int = 0,
) -> dict[str, LayerRecord]:
    """Let the weights of each layer of ``net`` share a few values, in place, and train those.

    Zeros of pruned layers stay zero and take no value of the codebook. From now on the codebook is
    what trains: its gradient is the sum of the gradients of the weights that share a value (Han,
    Mao and Dally 2016, https://arxiv.org/abs/1510.00149). Make the ``gluon.Trainer`` after this
    call; codebooks are parameters like any other. Calling it again shares anew. ``what.rate`` above
    0 also makes zeros, which stay zero: see :class:`gluonzip.spec.WeightSharing`;
    ``curvature`` (:func:`gluonzip.gluon.curvature`) then says how much each weight matters.

    ``layers``: see :func:`gluonzip.gluon.layers.select`. ``together``: one codebook for all of
    them; ``net`` may then be several networks. A layer that shares its weight with a selected one
    has its codebook.

    Returns a record of every weighted layer by name (of the first network). Raises ConfigError (a
    codebook larger than its layer, arguments), PatternError, DataError.
    """
    require_legacy_arrays("share")
    nets = _networks(net, together)
    chosen = [select(each, layers) for each in nets]
    found = [w for each in chosen for w in _weights(each.values(), what, curvature)]
    groups = [found] if together else _by_parameter(found)
    unit = _unit(found)
    facts: dict[int, dict[str, Any]] = {}
    plans = [(group, _assign(group, what, unit, seed)) for group in groups if group]
    for group, assigned in plans:  # nothing changes unless all of it works
        facts |= _install(group, assigned)
    for each in nets:
        clear_caches(each)
    return _records(nets[0], chosen[0], facts, what)


def _networks(net: Any, together: bool) -> list[Block]:
    nets = [net] if isinstance(net, Block) else list(net)
    if not nets:
        raise ConfigError("share needs a network, got an empty list")
    if len(nets) > 1 and not together:
        raise ConfigError("several networks share one codebook: give together=True")
    return nets


# ---------------------------------------------------------------- what to share
def _weights(
    chosen: Iterable[Layer], what: WeightSharing, curvature: Mapping[Key, np.ndarray] | None
) -> list[_Weight]:
    return [
        _weight(layer, attribute, what, curvature)
        for layer in chosen
        if not layer.obstacle
        for attribute in layer.weights
    ]


def _weight(layer: Layer, attribute: str, what: WeightSharing, curvature) -> _Weight:
    value = view(layer.data(attribute))
    if isinstance(layer.block, Compressed):
        value = masked_weight(layer.block, attribute)
    axis = None
    if isinstance(what.granularity, PerChannel):
        axis = what.granularity.axis or (1 if layer.transposed else 0)
        if not -value.ndim <= axis < value.ndim:
            raise ConfigError(f"axis = {axis} is outside the weight of layer {layer.name!r}")
    given = (curvature or {}).get((layer.name, attribute))
    rows = _rows(value.astype(np.float32), axis)
    return _Weight(layer, attribute, rows, None if given is None else _rows(given, axis), axis)


def _rows(value: np.ndarray, axis: int | None) -> np.ndarray:
    if axis is None:
        return value.reshape(1, -1)
    return np.moveaxis(value, axis, 0).reshape(value.shape[axis], -1)


def masked_weight(block: Compressed, attribute: str) -> np.ndarray:
    """The weight with its mask and codebook, before any fake quantizer: a NumPy array."""
    quantization, block._weight_quantization = block._weight_quantization, None
    try:
        return block.effective_weight(attribute).asnumpy() + np.float32(0)
    finally:
        block._weight_quantization = quantization


def _by_parameter(found: list[_Weight]) -> list[list[_Weight]]:
    """Weights of one parameter belong together: they have one codebook."""
    groups: dict[int, list[_Weight]] = {}
    for weight in found:
        groups.setdefault(id(weight.parameter), []).append(weight)
    return list(groups.values())


# ---------------------------------------------------------------- choosing values
def _unit(found: list[_Weight]) -> float:
    """Mean of ``curvature * w^2``: with this as unit, `rate` means about what it does without."""
    given = [w for w in found if w.curvature is not None]
    total = sum(float((w.curvature * w.rows**2).sum()) for w in given)
    return max(total / max(sum(np.count_nonzero(w.rows) for w in given), 1), 1e-30)


def _assign(group: list[_Weight], what: WeightSharing, unit: float, seed: int) -> list[Assignment]:
    """An assignment for each row of codebooks of the group's weights, side by side."""
    if len({w.rows.shape[0] for w in group}) > 1:
        raise ConfigError(
            "layers with different numbers of channels cannot have one codebook a channel "
            f"together: {', '.join(w.layer.name for w in group)}"
        )
    rows = np.concatenate([w.rows for w in group], axis=1)
    h = None
    if all(w.curvature is not None for w in group):
        h = np.concatenate([w.curvature for w in group], axis=1) / unit
    entries = 2**what.bits
    for at, row in enumerate(rows):
        _check_size(group, at, row, entries, what.bits)
    return [
        entropy_constrained(row, entries, what.rate, None if h is None else h[i], what.start, seed)
        for i, row in enumerate(rows)
    ]


def _check_size(group, channel: int, row: np.ndarray, entries: int, bits: int) -> None:
    size = np.count_nonzero(row) or row.size
    if entries > size:
        names = ", ".join(repr(w.layer.name) for w in group)
        where = "" if group[0].axis is None else f" of channel {channel}"
        raise ConfigError(
            f"layer {names}: a codebook of 2^{bits} = {entries} values is larger than the {size} "
            f"weights{where} that would share it; use fewer bits or leave the layer out"
        )


# ---------------------------------------------------------------- putting it on the network
def _install(group: list[_Weight], assigned: list[Assignment]) -> dict[int, dict[str, Any]]:
    """Codebooks and masks onto the layers; facts of each layer by the block's id."""
    width = max(1, *(a.values.size for a in assigned)) if assigned else 1
    book = np.zeros((len(assigned), width), np.float32)
    for i, a in enumerate(assigned):
        if a.values.size:
            book[i] = np.pad(a.values, (0, width - a.values.size), mode="edge")
    codes = np.stack([a.codes for a in assigned])
    offset, at, facts = width * np.arange(len(assigned))[:, None], 0, {}
    parameter = None
    for weight in group:
        mine = codes[:, at : at + weight.rows.shape[1]]
        at += weight.rows.shape[1]
        block = compress(weight.layer)
        keep = weight.shaped((mine >= 0).astype(np.float32))
        _mask(block, weight, keep)
        flat = weight.shaped(np.maximum(mine, 0) + offset)
        stored = book.ravel() if weight.axis is None else book
        parameter = set_codebook(block, weight.attribute, flat, stored, parameter)
        weight.parameter.set_data(mx.nd.array(book.ravel()[flat] * keep + 0))
        facts[id(block)] = _facts(mine, width, keep)
    return facts


def _mask(block: Compressed, weight: _Weight, keep: np.ndarray) -> None:
    if keep.all() and weight.attribute not in block._masks:
        return
    set_mask(block, weight.attribute, keep, None)


def _facts(codes: np.ndarray, width: int, keep: np.ndarray) -> dict[str, Any]:
    bits = sum(entropy_bits(np.bincount(row + 1)) for row in codes)
    return {
        "shared_values": width if codes.max(initial=-1) >= 0 else 0,
        "codebooks": len(codes),
        "sparsity": 1 - float(keep.mean()),
        "ideal_bits": bits / codes.size,
    }


def _records(
    net: Block, chosen: Mapping[str, Layer], facts: Mapping[int, dict], what: WeightSharing
) -> dict[str, LayerRecord]:
    records = {}
    for name, layer in layers(net).items():
        reason = layer.obstacle if name in chosen else NOT_SELECTED
        found = dict(facts.get(id(layer.block), {})) if not reason else {}
        if found:
            found |= {"weight_bits": what.bits, "start": what.start, "rate": what.rate}
        records[name] = LayerRecord(name, layer.kind, layer.size, not reason, reason, found)
    return records


# ---------------------------------------------------------------- one parameter for several layers
def tie(net: Block | Iterable[Block], layers: Selection) -> list[str]:
    """Let layers of one shape, in one network or several, use one weight: the mean of theirs.

    Masks, codebooks and biases stay each layer's own; layers that are compressed already must be
    stripped first. Returns the names of the layers. Raises ConfigError (fewer than two layers,
    shapes that differ, a compressed layer), PatternError, DataError.
    """
    require_legacy_arrays("tie")
    nets = [net] if isinstance(net, Block) else list(net)
    chosen = [layer for each in nets for layer in select(each, layers).values()]
    _check_tie(chosen)
    for attribute, kept in chosen[0].weights.items():
        values = [layer.data(attribute).asnumpy() for layer in chosen]
        kept.set_data(mx.nd.array(np.mean(values, axis=0, dtype=np.float64)))
        for layer in chosen[1:]:
            _replace(layer.block, attribute, kept)
    for each in nets:
        clear_caches(each)
    return [layer.name for layer in chosen]


def _check_tie(chosen: list[Layer]) -> None:
    if len(chosen) < 2:
        raise ConfigError(f"tie needs two layers or more, got {[c.name for c in chosen]}")
    first = {a: p.shape for a, p in chosen[0].weights.items()}
    for layer in chosen:
        shapes = {a: p.shape for a, p in layer.weights.items()}
        if shapes != first:
            raise ConfigError(
                f"layers {chosen[0].name!r} {first} and {layer.name!r} {shapes} have different "
                "weights and cannot use one"
            )
        if isinstance(layer.block, Compressed):
            raise ConfigError(
                f"layer {layer.name!r} is compressed already; tie first, then prune, share or "
                "quantize (or gluonzip.gluon.strip it)"
            )


def _replace(block: Block, attribute: str, parameter: Parameter) -> None:
    old = block._reg_params[attribute]
    block.params._params.pop(old.name, None)
    block.params.update({parameter.name: parameter})
    block._reg_params[attribute] = parameter
    block.__dict__[attribute] = parameter
