"""Quantization in training: fake quantizers on weights and layer inputs, put on and taken off."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gluonzip.errors import ConfigError
from gluonzip.gluon._mxnet import mx
from gluonzip.gluon.by_layer import ByLayer, by_layer
from gluonzip.gluon.calibration import calibrate
from gluonzip.gluon.layers import Layer, Selection, layers, select
from gluonzip.gluon.record import NOT_SELECTED, LayerRecord
from gluonzip.gluon.scale_parameters import set_input_growth, set_weight_scales
from gluonzip.gluon.structure import Block, clear_caches, require_legacy_arrays
from gluonzip.gluon.weight_schemes import Parts
from gluonzip.gluon.wrapper import (
    INPUT_SCALE,
    add_parameter,
    compress,
    compressed_blocks,
    drop_parameter,
    no_zeros,
    restore,
)
from gluonzip.passes.quantize.observers import find_observer
from gluonzip.spec import (
    ActivationQuantization,
    Binary,
    PerChannel,
    Ternary,
    WeightQuantization,
    granularity_name,
)

_INT8_WEIGHTS = WeightQuantization()
_INT8_ACTIVATIONS = ActivationQuantization()


def quantize(
    net: Block,
    *,
    weights: ByLayer[WeightQuantization] = _INT8_WEIGHTS,
    activations: ByLayer[ActivationQuantization] = _INT8_ACTIVATIONS,
    layers: Selection = None,
    skip: Selection = (),
    skip_first: bool = False,
    skip_last: bool = False,
    data: Any = None,
) -> dict[str, LayerRecord]:
    """Simulate quantization in ``net``, in place: symmetric integers on weights and layer inputs.

    Weight scales follow the weights as they train (``max|w| / limit`` of the present values, or
    what the scheme says: per group, ``Ternary()``, ``Binary()``). Static input scales come from
    :func:`calibrate`, which runs at once if ``data`` is given and must run before the network is
    used otherwise; dynamic ones follow the input. Scales that are ``"learned"`` train from there
    (LSQ): make the trainer after this call, for they are parameters with gradients. Gradients are
    straight-through. ``None`` for ``weights`` or ``activations`` (or its mode "none") leaves (or
    makes) that side unquantized. Calling it again replaces what was set. ``layers``: see
    :func:`gluonzip.gluon.layers.select`; so for ``skip``, which leaves some of them as they are.
    ``skip_first``, ``skip_last``: so does the first (last) layer in the order of the blocks.
    ``weights`` and ``activations`` may also be a mapping from layer patterns to what they get, e.g.
    ``{"*": ActivationQuantization(), "features.0": ActivationQuantization(observer="kl")}``: the
    last pattern that a layer matches counts, and what matches none stays unquantized. Embeddings
    (whose inputs are indices) and recurrent layers quantize weights only.

    Returns a record of every weighted layer by name. Raises ConfigError, PatternError, DataError.
    """
    require_legacy_arrays("quantize")
    chosen = select(net, layers)
    left_out = _left_out(net, skip, skip_first, skip_last)
    chosen = {name: layer for name, layer in chosen.items() if name not in left_out}
    if not chosen:
        raise ConfigError("no layer is left to quantize: every one of layers= is skipped")
    wanted = _wanted(by_layer(net, chosen, weights), by_layer(net, chosen, activations))
    left_out |= {name: "no pattern gives it anything" for name in wanted if not any(wanted[name])}
    chosen = {name: layer for name, layer in chosen.items() if name not in left_out}
    able = {name: layer for name, layer in chosen.items() if not layer.obstacle}
    for name, layer in able.items():
        for attribute in layer.weights:
            layer.data(attribute)  # a clear error now rather than NaN later
        _check_layer(layer, wanted[name][0])
    for name, layer in able.items():
        _set(layer, *wanted[name])
        set_weight_scales(layer, chosen.values())
    clear_caches(net)
    if data is not None and any(a is not None and a.mode == "static" for _, a in wanted.values()):
        calibrate(net, data)
    return _records(net, chosen, left_out)


def _left_out(net: Block, skip: Selection, first: bool, last: bool) -> dict[str, str]:
    """Layers that stay in float32, and why."""
    found = dict.fromkeys(select(net, () if skip is None else skip), "named in skip")
    able = [name for name, layer in layers(net).items() if not layer.obstacle]
    if first and able:
        found.setdefault(able[0], "the first layer (skip_first)")
    if last and able:
        found.setdefault(able[-1], "the last layer (skip_last)")
    return found


Wanted = tuple[WeightQuantization | None, ActivationQuantization | None]


def _wanted(weights: Mapping[str, Any], activations: Mapping[str, Any]) -> dict[str, Wanted]:
    """What each layer gets. ConfigError when none gets anything, and for what is no settings."""
    for what in weights.values():
        if not isinstance(what, (WeightQuantization, type(None))):
            raise ConfigError(f"weights = {what!r} is not a WeightQuantization or None")
    for what in activations.values():
        if not isinstance(what, (ActivationQuantization, type(None))):
            raise ConfigError(f"activations = {what!r} is not an ActivationQuantization or None")
        if what is not None:
            find_observer(what.observer)
    inputs = {n: None if a is None or a.mode == "none" else a for n, a in activations.items()}
    if not any(weights.values()) and not any(inputs.values()):
        raise ConfigError("quantize needs weights or activations (both are None)")
    return {name: (weights[name], inputs[name]) for name in weights}


def _check_layer(layer: Layer, weights: WeightQuantization | None) -> None:
    """ConfigError for weights that cannot have these scales; before any layer has changed."""
    if weights is None:
        return
    if isinstance(weights.granularity, PerChannel):
        axis, ranks = weights.granularity.axis, {len(p.shape) for p in layer.weights.values()}
        if not all(-rank <= axis < rank for rank in ranks):
            raise ConfigError(f"axis = {axis} is outside the weight of layer {layer.name!r}")
    for parameter in layer.weights.values():
        Parts.of(weights, parameter.shape, 1 if layer.transposed else 0, layer.name)
    if isinstance(weights, Binary) and getattr(layer.block, "_masks", None):
        raise ConfigError(no_zeros(layer.name))


def _set(
    layer: Layer,
    weights: WeightQuantization | None,
    activations: ActivationQuantization | None,
) -> None:
    block = compress(layer)
    block._weight_quantization = weights
    if _input_obstacle(layer):
        activations = None
    previous = block._activation_quantization
    block._activation_quantization = activations
    if activations is None or previous != activations:
        drop_parameter(block, INPUT_SCALE)
    weight = next(iter(layer.weights.values()))
    static = activations is not None and activations.mode == "static"
    if static and INPUT_SCALE not in block._reg_params:
        add_parameter(block, INPUT_SCALE, weight, (1,), "zeros", dtype=np.float32)
    set_input_growth(block, weight)


def _input_obstacle(layer: Layer) -> str:
    """Why a layer's input stays in float; "" if it need not."""
    if isinstance(layer.block, mx.gluon.nn.Embedding):
        return "its input is indices"
    if set(layer.weights) != {"weight"}:
        return "recurrent states are not quantized"
    return ""


def _records(
    net: Block, chosen: Mapping[str, Layer], left_out: Mapping[str, str]
) -> dict[str, LayerRecord]:
    records = {}
    for name, layer in layers(net).items():
        reason = layer.obstacle if name in chosen else left_out.get(name, NOT_SELECTED)
        records[name] = LayerRecord(
            name, layer.kind, layer.size, not reason, reason, {} if reason else _facts(layer)
        )
    return records


def _facts(layer: Layer) -> dict[str, Any]:
    weights = layer.block._weight_quantization
    activations = layer.block._activation_quantization
    facts: dict[str, Any] = {
        "weight_bits": weights.bits if weights else 32,
        "activation_bits": activations.bits if activations else 32,
    }
    sides = {"weights": weights, "activations": activations}
    learned = [name for name, what in sides.items() if what and what.scale == "learned"]
    if learned:
        facts["learned_scales"] = " and ".join(learned)
    if activations and activations.mode != "static":
        facts["activation_mode"] = activations.mode
    if weights:
        facts["granularity"] = granularity_name(weights.granularity)
        if isinstance(weights, (Ternary, Binary)):
            facts["scheme"] = type(weights).__name__.lower()
    obstacle = _input_obstacle(layer)
    if obstacle:
        facts["activations_skipped"] = obstacle
    return facts


# ---------------------------------------------------------------- taking it off again
def strip(net: Block) -> Block:
    """``net`` with plain layers again, its compressed weights baked in; in place, and returned.

    Weights take the values that the layers used (masked and rounded to the quantizer's grid);
    quantizers of layer inputs are dropped. Layers are of their original types.
    """
    blocks = compressed_blocks(net)
    # All values first: layers that share a weight must not see each other's baked values.
    values = [
        (block._reg_params[a], block.effective_weight(a) + 0)  # no negative zeros
        for block in blocks
        for a in block._weight_attributes()
    ]
    for parameter, value in values:
        parameter.set_data(value)
    for block in blocks:
        restore(block)
    clear_caches(net)
    return net
