"""Ranges of layer inputs: a wrapped network runs over data while observers look on."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from gluonzip.errors import ConfigError, DataError
from gluonzip.gluon._mxnet import mx
from gluonzip.gluon.arrays import view
from gluonzip.gluon.batches import batches
from gluonzip.gluon.by_layer import ByLayer, by_layer
from gluonzip.gluon.layers import layers
from gluonzip.gluon.structure import Block, clear_caches, imperative
from gluonzip.gluon.wrapper import INPUT_GROWTH, INPUT_SCALE, Compressed
from gluonzip.passes.quantize.observers import Observer, find_observer, needs_histogram, observe
from gluonzip.passes.quantize.signs import Range
from gluonzip.passes.quantize.statistics import Statistics
from gluonzip.spec import code_range


def calibrate(net: Block, data: Any, observer: ByLayer[str | Observer] = None) -> dict[str, float]:
    """Find the input scale of every layer that quantizes its input, with its observer.

    The network runs in inference mode, its input quantizers off, once over ``data`` (see
    :func:`gluonzip.gluon.batches.batches`); it may be hybridized. ``observer``: another one, from
    now on, than the layers' settings say: a name (:data:`gluonzip.passes.quantize.OBSERVERS`), a
    function, or a mapping from layer patterns to these. Learned scales start anew.

    Returns the range of each layer's input by layer name (the largest ``|x|``, if the observer is
    ``minmax``). An input in which nothing was below zero gets unsigned codes, unless its
    ``ActivationQuantization`` says otherwise. Raises ConfigError if nothing is there to calibrate,
    DataError for no batches, for values that are not finite and for a layer that no batch reached.
    """
    observed = {
        layer.name: layer.block
        for layer in layers(net).values()
        if isinstance(layer.block, Compressed) and INPUT_SCALE in layer.block._reg_params
    }
    if not observed:
        raise ConfigError("no layer quantizes its input; call gluonzip.gluon.quantize(net) first")
    _set_observers(net, observed, observer)
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
    clear_caches(net)  # hybridized networks have codes of the signs that were
    return ranges


def _set_observers(net: Block, observed: Mapping[str, Compressed], observer: Any) -> None:
    known = layers(net)
    wanted = by_layer(net, {name: known[name] for name in observed}, observer)
    for what in filter(None, wanted.values()):
        find_observer(what)
    for name, block in observed.items():
        if wanted[name] is not None:
            what = block._activation_quantization
            block._activation_quantization = dataclasses.replace(what, observer=wanted[name])


def _watches(observed: Mapping[str, Compressed]) -> dict[str, _Watch]:
    """One for each layer; layers that share their parameters share the scale, so one for both."""
    together: dict[int, list[str]] = {}
    for name, block in observed.items():
        together.setdefault(id(block._reg_params[INPUT_SCALE]), []).append(name)
    watches = {}
    for names in together.values():
        what = [observed[name]._activation_quantization.observer for name in names]
        watch = _Watch(names[0], any(map(needs_histogram, what)))
        watches.update(dict.fromkeys(names, watch))
    return {name: watches[name] for name in observed}


def _range(block: Compressed, statistics: Statistics) -> Range:
    what = block._activation_quantization
    signed = statistics.signed or what.signed
    return Range(observe(what.observer, statistics.treated_as(signed), what.bits), signed)


def _set_scale(block: Compressed, found: Range) -> None:
    limit = code_range(block._activation_quantization.bits, not found.signed)[1]
    scale = np.float32(found) / np.float32(limit)
    if scale < np.finfo(np.float32).tiny:
        scale = np.float32(1)  # an input that is always zero
    # The sign tells Compressed.unsigned_input.
    block._reg_params[INPUT_SCALE].set_data(mx.nd.array([scale if found.signed else -scale]))
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
    try:
        for block, observer in observers.items():
            block._observer = observer
        with imperative(net, train_mode=False):
            yield
    finally:
        for block in observers:
            block._observer = None
