"""Quantization in training: fake quantizers on weights and layer inputs, and their calibration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from gluonzip.errors import ConfigError, DataError
from gluonzip.gluon._mxnet import mx
from gluonzip.gluon.arrays import view
from gluonzip.gluon.batches import batches
from gluonzip.gluon.layers import Layer, Selection, layers, select
from gluonzip.gluon.record import NOT_SELECTED, LayerRecord
from gluonzip.gluon.scale_parameters import set_input_growth, set_weight_scales
from gluonzip.gluon.structure import Block, HybridBlock, clear_caches, require_legacy_arrays, walk
from gluonzip.gluon.weight_schemes import Parts
from gluonzip.gluon.wrapper import (
    INPUT_GROWTH,
    INPUT_SCALE,
    Compressed,
    add_parameter,
    compress,
    compressed_blocks,
    drop_parameter,
    no_zeros,
    restore,
)
from gluonzip.passes.quantize.observers import find_observer, needs_histogram, observe
from gluonzip.passes.quantize.statistics import Statistics
from gluonzip.spec import (
    ActivationQuantization,
    Binary,
    PerChannel,
    Ternary,
    WeightQuantization,
    granularity_name,
    max_code,
)

_INT8_WEIGHTS = WeightQuantization()
_INT8_ACTIVATIONS = ActivationQuantization()


def quantize(
    net: Block,
    *,
    weights: WeightQuantization | None = _INT8_WEIGHTS,
    activations: ActivationQuantization | None = _INT8_ACTIVATIONS,
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
    Embeddings (whose inputs are indices) and recurrent layers quantize weights only.

    Returns a record of every weighted layer by name. Raises ConfigError, PatternError, DataError.
    """
    require_legacy_arrays("quantize")
    _check(weights, activations)
    if activations is not None and activations.mode == "none":
        activations = None
    chosen = select(net, layers)
    left_out = _left_out(net, skip, skip_first, skip_last)
    chosen = {name: layer for name, layer in chosen.items() if name not in left_out}
    if not chosen:
        raise ConfigError("no layer is left to quantize: every one of layers= is skipped")
    for layer in chosen.values():
        if not layer.obstacle:
            for attribute in layer.weights:
                layer.data(attribute)  # a clear error now rather than NaN later
            _check_layer(layer, weights)
    for layer in chosen.values():
        if not layer.obstacle:
            _set(layer, weights, activations)
            set_weight_scales(layer, chosen.values())
    clear_caches(net)
    if data is not None and activations is not None and activations.mode == "static":
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


def _check(weights: object, activations: object) -> None:
    none = activations is None or getattr(activations, "mode", "") == "none"
    if weights is None and none:
        raise ConfigError("quantize needs weights or activations (both are None)")
    if not isinstance(weights, (WeightQuantization, type(None))):
        raise ConfigError(f"weights = {weights!r} is not a WeightQuantization or None")
    if not isinstance(activations, (ActivationQuantization, type(None))):
        raise ConfigError(f"activations = {activations!r} is not an ActivationQuantization or None")
    if isinstance(activations, ActivationQuantization):
        find_observer(activations.observer)


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


# ---------------------------------------------------------------- calibration
def calibrate(net: Block, data: Any) -> dict[str, float]:
    """Find the input scale of every layer that quantizes its input, with its observer.

    The network runs in inference mode, its input quantizers off, once over ``data`` (see
    :func:`gluonzip.gluon.batches.batches`); it may be hybridized. Returns the range of each layer's
    input by layer name (the largest ``|x|``, if the observer is ``minmax``). Raises ConfigError if
    nothing is there to calibrate, DataError for no batches, for values that are not finite and for
    a layer that no batch reached.
    """
    observed = {
        layer.name: layer.block
        for layer in layers(net).values()
        if isinstance(layer.block, Compressed) and INPUT_SCALE in layer.block._reg_params
    }
    if not observed:
        raise ConfigError("no layer quantizes its input; call gluonzip.gluon.quantize(net) first")
    watches = _watches(observed)
    with _observing(net, {block: watches[name] for name, block in observed.items()}):
        context = next(iter(observed.values()))._reg_params[INPUT_SCALE].list_ctx()[0]
        for index, inputs in enumerate(batches(data, context)):
            net(*inputs)
            for watch in dict.fromkeys(watches.values()):
                watch.settle(index)
    for name, watch in watches.items():
        if not watch.statistics.peaks:
            raise DataError(
                f"no calibration batch reached layer {name!r}; leave it out (layers=) or give data "
                "that uses it"
            )
    ranges = {name: _range(block, watches[name].statistics) for name, block in observed.items()}
    for name, block in observed.items():
        _set_scale(block, ranges[name])
    return ranges


def _watches(observed: Mapping[str, Compressed]) -> dict[str, _Watch]:
    """One for each layer; layers that share their parameters share the scale, so one for both."""
    shared: dict[int, _Watch] = {}
    watches = {}
    for name, block in observed.items():
        histogram = needs_histogram(block._activation_quantization.observer)
        watch = shared.setdefault(id(block._reg_params[INPUT_SCALE]), _Watch(name, histogram))
        watches[name] = watch
    return watches


def _range(block: Compressed, statistics: Statistics) -> float:
    what = block._activation_quantization
    return observe(what.observer, statistics, what.bits)


def _set_scale(block: Compressed, found: float) -> None:
    limit = np.float32(max_code(block._activation_quantization.bits))
    scale = np.float32(found) / limit
    if scale < np.finfo(np.float32).tiny:
        scale = np.float32(1)  # an input that is always zero
    block._reg_params[INPUT_SCALE].set_data(mx.nd.array([scale]))
    if INPUT_GROWTH in block._reg_params:
        block._reg_params[INPUT_GROWTH].set_data(mx.nd.zeros((1,)))


class _Watch:
    """Statistics of what one layer takes in; computed only after the batch has gone through."""

    def __init__(self, name: str, histogram: bool) -> None:
        self.statistics = Statistics(f"the input of layer {name!r}", histogram)
        self._pending: list[Any] = []

    def __call__(self, x: Any) -> None:
        self._pending.append(x)  # nothing waits here

    def settle(self, batch: int) -> None:
        for x in self._pending:
            x = x if x.dtype == np.float32 else x.astype("float32")  # AMP: bfloat16, float16
            self.statistics.feed(view(x), batch)
        self._pending.clear()


@contextmanager
def _observing(net: Block, observers: Mapping[Compressed, _Watch]) -> Iterator[None]:
    """Run ``net`` imperatively and in inference mode with observers in place of quantizers."""
    active = [b for _, b in walk(net) if isinstance(b, HybridBlock) and b._active]
    hybrid = [b for b in active if not isinstance(b, mx.gluon.SymbolBlock)]
    try:
        for block in hybrid:
            block._active = False
        for block, observer in observers.items():
            block._observer = observer
        with mx.autograd.pause(train_mode=False):
            yield
    finally:
        for block in hybrid:
            block._active = True
        for block in observers:
            block._observer = None


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
