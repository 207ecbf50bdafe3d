"""Pruning by what the archive will weigh, and biases that code well."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from gluonzip.errors import ConfigError
from gluonzip.gluon._mxnet import mx
from gluonzip.gluon.layers import Selection, layers, select
from gluonzip.gluon.record import NOT_SELECTED, LayerRecord
from gluonzip.gluon.sharing import Key, masked_weight
from gluonzip.gluon.structure import Block, clear_caches, require_legacy_arrays
from gluonzip.gluon.wrapper import Compressed, compress, set_mask
from gluonzip.passes.share import keep_by_rate


def prune_by_rate(
    net: Block,
    budget: float,
    curvature: Mapping[Key, np.ndarray],
    *,
    value_bits: float = 3.0,
    layers: Selection = None,
) -> dict[str, LayerRecord]:
    """Keep the weights that are worth their bits, so that all of them fit ``budget`` bytes.

    The measure is the archive, not the number of zeros: a weight costs ``value_bits`` for its
    value (3 is about what a codebook of 4 bits costs) and, for its place, the more the sparser its
    layer is; it is worth ``curvature * w^2``, what the loss loses without it. ``budget`` counts the
    ideal code of the selected layers' weights; biases and names come on top. What is pruned stays
    zero. ``curvature``: :func:`gluonzip.gluon.curvature`.

    Returns a record of every weighted layer by name. Raises ConfigError, PatternError, DataError.
    """
    require_legacy_arrays("prune_by_rate")
    if not (budget > 0 and math.isfinite(budget)):
        raise ConfigError(f"budget = {budget!r} bytes must be a positive number")
    chosen = select(net, layers)
    able = {
        (name, attribute): layer
        for name, layer in chosen.items()
        if not layer.obstacle
        for attribute in layer.weights
    }
    missing = [".".join(key) for key in able if key not in curvature]
    if missing:
        raise ConfigError(f"no curvature is given for {', '.join(missing)}")
    weights = {key: _present(layer, key[1]) for key, layer in able.items()}
    masks, rate = keep_by_rate(weights, curvature, value_bits, 8 * budget)
    for key, mask in masks.items():
        block = compress(able[key])
        set_mask(block, key[1], mask.astype(np.float32), None)
        if key[1] not in block._codebooks:
            able[key].weights[key[1]].set_data(mx.nd.array(weights[key] * mask + 0))
    clear_caches(net)
    return _records(net, chosen, masks, rate)


def _present(layer, attribute: str) -> np.ndarray:
    value = layer.data(attribute)
    if isinstance(layer.block, Compressed):
        return masked_weight(layer.block, attribute)
    return value.asnumpy()


def _records(net: Block, chosen, masks: Mapping[Key, np.ndarray], rate: float) -> dict:
    records = {}
    for name, layer in layers(net).items():
        reason = layer.obstacle if name in chosen else NOT_SELECTED
        facts = {}
        if not reason:
            mine = [mask for key, mask in masks.items() if key[0] == name]
            kept = sum(int(mask.sum()) for mask in mine)
            facts = {"sparsity": 1 - kept / max(layer.size, 1), "rate": rate}
        records[name] = LayerRecord(name, layer.kind, layer.size, not reason, reason, facts)
    return records


def round_biases(net: Block, bits: int = 6, *, layers: Selection = None) -> dict[str, float]:
    """Round the biases of the selected layers to multiples of a power of two, and freeze them.

    The step is the smallest power of two with which the largest bias takes ``bits`` bits, sign
    included; the archive then stores small integers. Call it after training, or train on around it:
    rounded biases have no gradient. Returns the step of each layer that has a bias.

    Raises ConfigError unless 2 <= bits <= 16, PatternError.
    """
    if isinstance(bits, bool) or not isinstance(bits, int) or not 2 <= bits <= 16:
        raise ConfigError(f"bits = {bits!r} of a bias must be an integer from 2 to 16")
    steps = {}
    for name, layer in select(net, layers).items():
        for parameter in _biases(layer.block):
            value = parameter.list_data()[0].asnumpy()
            peak = float(np.abs(value).max(initial=0.0))
            step = 2.0 ** math.ceil(math.log2(peak / (2 ** (bits - 1) - 0.5))) if peak else 1.0
            rounded = np.rint(value / step) * step
            parameter.set_data(mx.nd.array(rounded + 0))
            parameter.grad_req = "null"
            steps[name] = step
    clear_caches(net)
    return steps


def _biases(block: Block) -> list:
    return [p for a, p in block._reg_params.items() if a == "bias" or a.endswith("_bias")]
