"""The parameters of learned scales: put on a layer, shared where the weight is, taken off."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from gluonzip.gluon._mxnet import mx
from gluonzip.gluon.layers import Layer
from gluonzip.gluon.learned_scale import first_scale, learned_names
from gluonzip.gluon.sharing import masked_weight
from gluonzip.gluon.structure import Parameter
from gluonzip.gluon.wrapper import (
    INPUT_GROWTH,
    Compressed,
    add_parameter,
    drop_parameter,
)


def set_weight_scales(layer: Layer, others: Iterable[Layer]) -> None:
    """Learned scales for the weights of ``layer`` (or none, as its settings say), from the present
    weights. A layer of ``others`` that has the same weight has the same scale."""
    block = layer.block
    what = block._weight_quantization
    for attribute, weight in layer.weights.items():
        names = learned_names(attribute)
        for name in names:
            drop_parameter(block, name)
        if what is None or what.scale != "learned":
            continue
        start = first_scale(masked_weight(block, attribute), what, block._channel_axis)
        shared = _scales_of(weight, layer, others, start.shape) or (None, None)
        for name, other, trained in zip(names, shared, (False, True), strict=True):
            add_parameter(block, name, weight, start.shape, "zeros", other, trained, np.float32)
        _start(block, names, start)


def restart_weight_scales(layer: Layer) -> None:
    """Start learned scales anew from the present weights, for the present bits."""
    block = layer.block
    for attribute in layer.weights:
        names = learned_names(attribute)
        if names[1] in block._reg_params:
            value = masked_weight(block, attribute)
            what = block._weight_quantization
            _start(block, names, first_scale(value, what, block._channel_axis))


def _scales_of(
    weight: Parameter, layer: Layer, others: Iterable[Layer], shape: tuple
) -> tuple[Parameter, Parameter] | None:
    """The scale parameters of another layer with this weight and as many scales."""
    for other in others:
        if other.block is layer.block or not isinstance(other.block, Compressed):
            continue
        for attribute, parameter in other.weights.items():
            held = [other.block._reg_params.get(name) for name in learned_names(attribute)]
            if parameter is weight and all(held) and held[0].shape == shape:
                return held[0], held[1]
    return None


def set_input_growth(block: Compressed, like: Parameter) -> None:
    """What a learned input scale trains (or none, as the block's settings say)."""
    what = block._activation_quantization
    learned = what is not None and what.scale == "learned"
    if not learned:
        drop_parameter(block, INPUT_GROWTH)
    elif INPUT_GROWTH not in block._reg_params:
        add_parameter(block, INPUT_GROWTH, like, (1,), "zeros", None, True, np.float32)


def _start(block: Compressed, names: tuple[str, str], start: np.ndarray) -> None:
    block._reg_params[names[0]].set_data(mx.nd.array(start))
    block._reg_params[names[1]].set_data(mx.nd.zeros(start.shape))
