"""Parameter values and masks of a network as NumPy arrays, and back: for rewinding and resuming."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from gluonzip.errors import DataError
from gluonzip.gluon._mxnet import mx
from gluonzip.gluon.layers import layers
from gluonzip.gluon.structure import Block, clear_caches, parameter_names
from gluonzip.gluon.wrapper import Compressed, compress, set_mask


def values_of(net: Block) -> dict[str, np.ndarray]:
    """Structural name -> value of every parameter, but masks."""
    masks = _mask_parameters(net)
    names = parameter_names(net)
    found = {}
    for parameter in net.collect_params().values():
        if parameter.name not in masks:
            found[names[parameter.name]] = parameter.data(parameter.list_ctx()[0]).asnumpy()
    return found


def set_values(net: Block, values: Mapping[str, np.ndarray]) -> None:
    """Give parameters the values of :func:`values_of`; what is behind a mask becomes zero."""
    known = {name: p for p, name in _named(net)}
    for name, value in values.items():
        known[name].set_data(mx.nd.array(value, dtype=value.dtype))
    for layer in layers(net).values():
        if isinstance(layer.block, Compressed):
            for attribute, mask in layer.block._masks.items():
                weight, kept = layer.data(attribute), layer.block._reg_params[mask]
                kept = kept.data(weight.context)
                layer.weights[attribute].set_data(weight * kept + 0)


def masks_of(net: Block) -> dict[str, np.ndarray]:
    """``layer:attribute`` -> mask (uint8) of every masked weight."""
    return {
        f"{name}:{attribute}": layer.block._reg_params[mask]
        .list_data()[0]
        .asnumpy()
        .astype("uint8")
        for name, layer in layers(net).items()
        if isinstance(layer.block, Compressed)
        for attribute, mask in layer.block._masks.items()
    }


def load_masks(net: Block, masks: Mapping[str, np.ndarray]) -> None:
    """Give layers the masks of :func:`masks_of`. DataError for a layer that is not there."""
    known = layers(net)
    shared: dict[int, Any] = {}
    for key, mask in masks.items():
        name, _, attribute = key.rpartition(":")
        layer = known.get(name)
        weight = layer.weights.get(attribute) if layer else None
        if weight is None or tuple(weight.shape) != mask.shape:
            raise DataError(f"the saved mask of {key!r} {mask.shape} does not fit the network")
        block = compress(layer)
        set_mask(block, attribute, mask.astype(np.float32), shared.get(id(weight)))
        shared[id(weight)] = block._reg_params[block._masks[attribute]]
    clear_caches(net)


def forget(trainer: Any) -> None:
    """Drop a trainer's momentum and update counts (None: there is no trainer to be told)."""
    if trainer is None:
        return
    if trainer._update_on_kvstore:
        warnings.warn("the trainer's momentum lives in its kvstore and is kept", stacklevel=2)
        return
    for updater in trainer._updaters:
        updater.states.clear()
        updater.states_synced.clear()
    trainer._optimizer._index_update_count.clear()
    trainer._optimizer.num_update = trainer._optimizer.begin_num_update


def _mask_parameters(net: Block) -> set[str]:
    return {
        layer.block._reg_params[mask].name
        for layer in layers(net).values()
        if isinstance(layer.block, Compressed)
        for mask in layer.block._masks.values()
    }


def _named(net: Block) -> list[tuple[Any, str]]:
    names = parameter_names(net)
    return [(p, names[p.name]) for p in net.collect_params().values()]
