"""Which layer's error is it? Both networks on the same data, layer by layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gluonzip.auto.advice import advise
from gluonzip.auto.data import batches, parts
from gluonzip.auto.layer import Pair, chosen_names, isolate, match
from gluonzip.auto.source import Source, open_pair
from gluonzip.auto.statistics import ChannelRange, Clipping, Comparison
from gluonzip.errors import ConfigError, DataError
from gluonzip.report.diagnosis import Diagnosis, InputRange, LayerError, WeightError
from gluonzip.spec import max_code

MEMORY = 128 * 2**20
"""Bytes of activations to look at together: larger batches run in parts."""


def diagnose(
    dense: Any,
    compressed: Any,
    data: Any,
    *,
    layers: str | Sequence[str] | None = None,
    samples: int | None = None,
    threads: int | None = None,
) -> Diagnosis:
    """How much each layer of ``compressed`` differs from ``dense`` on ``data``, worst layer first.

    ``dense``, ``compressed``: Gluon networks (plain, pruned, quantized), Graphs or paths of
    archives, in any combination; layers match by structural name. Keep the dense network with
    ``gluonzip.gluon.clone(net)`` before compressing in place. ``data``: an array, a tuple (inputs,
    labels) or an iterable of batches, gone through once. ``layers``: names or globs (all by
    default). ``samples``: stop after so many rows. ``threads``: of the engine that runs graphs and
    archives.

    Two Gluon networks are compared layer by layer as written. Where an archive or a graph is in the
    comparison, each layer's output is that behind its batch norm and activation.

    The error of a network that was trained on after compression is the distance it has gone, which
    its accuracy need not show. Raises ConfigError (no common layer, different inputs or outputs),
    PatternError, DataError (empty or non-finite data), ShapeError (data that does not fit).
    """
    return _Diagnosis(dense, compressed, data, layers, samples, threads).run()


class _Diagnosis:
    """One pass over the data."""

    def __init__(
        self,
        dense: Any,
        compressed: Any,
        data: Any,
        patterns: str | Sequence[str] | None,
        samples: int | None,
        threads: int | None,
    ) -> None:
        if samples is not None and samples < 1:
            raise ConfigError(f"samples = {samples} must be at least 1")
        self.networks, self.data = (dense, compressed), data
        self.patterns, self.samples, self.threads = patterns, samples, threads
        self.rows = 0

    def run(self) -> Diagnosis:
        for inputs, _ in batches(self.data):
            if not self.rows:
                self._open(inputs)
            left = len(inputs[0]) if self.samples is None else self.samples - self.rows
            inputs = tuple(array[:left] for array in inputs)
            for part in parts(inputs, self.rows_at_once):
                self._part(part)
            self.rows += len(inputs[0])
            if self.rows == self.samples:
                break
        return self._result()

    # ------------------------------------------------------------ before the data
    def _open(self, inputs: tuple[np.ndarray, ...]) -> None:
        shapes = [array.shape for array in inputs]
        self.dense, self.compressed = open_pair(*self.networks, shapes, self.threads)
        _check_ends(self.dense, self.compressed)
        pairs, self.skipped = match(self.dense, self.compressed)
        if not pairs:
            raise ConfigError(_nothing_in_common(self.skipped))
        self.layers = [
            _Layer(self.dense, self.compressed, pair, self.threads) for pair in self._chosen(pairs)
        ]
        self.outputs = [Comparison() for _ in self.dense.graph.outputs]
        self.rows_at_once = self._rows_at_once()

    def _chosen(self, pairs: list[Pair]) -> list[Pair]:
        names = [*(pair.name for pair in pairs), *self.skipped]
        wanted = set(chosen_names(self.patterns, names))
        self.skipped = {name: why for name, why in self.skipped.items() if name in wanted}
        return [pair for pair in pairs if pair.name in wanted]

    def _rows_at_once(self) -> int:
        """How many rows keep no more than MEMORY bytes alive; 0 for any number."""
        if self.dense.opaque or self.compressed.opaque:
            return 0  # axis 0 might be time
        kept = {name for layer in self.layers for name in layer.needs}
        shapes = [self.dense.types[name].shape for name in kept if name in self.dense.types]
        # Values of one row in float32: of both networks, and once more in float64 to sum up.
        return max(1, MEMORY // (4 * 4 * max(1, sum(math.prod(shape) for shape in shapes))))

    # ------------------------------------------------------------ on the data
    def _part(self, inputs: tuple[np.ndarray, ...]) -> None:
        ends = self.dense.graph.outputs, self.compressed.graph.outputs
        needed = [name for layer in self.layers for name in layer.needs]
        dense = self.dense.values(inputs, [*needed, *ends[0]])
        made = [layer.pair.compressed.outputs[0] for layer in self.layers]
        compressed = self.compressed.values(inputs, [*made, *ends[1]])
        for comparison, first, second in zip(self.outputs, *ends, strict=True):
            _compare(comparison, dense[first], compressed[second], f"output {first!r}")
        for layer in self.layers:
            layer.add(dense, compressed)

    def _result(self) -> Diagnosis:
        found = [layer.facts() for layer in self.layers]
        found_first = sorted(found, key=lambda layer: layer.rank)
        return Diagnosis(
            dense=self.dense.graph.name,
            compressed=self.compressed.graph.name,
            rows=self.rows,
            layers=tuple(found_first),
            order=tuple(layer.name for layer in found),
            outputs={
                name: comparison.quality()
                for name, comparison in zip(self.dense.graph.outputs, self.outputs, strict=True)
            },
            skipped=self.skipped,
            advice=advise(found_first),
        )


def _check_ends(dense: Source, compressed: Source) -> None:
    for what in ("inputs", "outputs"):
        first, second = (getattr(source.graph, what) for source in (dense, compressed))
        if len(first) != len(second):
            raise ConfigError(
                f"the dense network has {len(first)} {what}, the compressed one {len(second)}: "
                "they are not the same network"
            )


def _nothing_in_common(skipped: dict[str, str]) -> str:
    if not skipped:
        return "neither network has a layer with weights: there is nothing to compare"
    told = "; ".join(f"{name}: {reason}" for name, reason in list(skipped.items())[:5])
    more = f" (and {len(skipped) - 5} more)" if len(skipped) > 5 else ""
    return f"the networks have no layer in common that can be compared: {told}{more}"


def _compare(comparison: Comparison, dense: np.ndarray, other: np.ndarray, what: str) -> None:
    if dense.shape != other.shape:
        raise ConfigError(
            f"{what} is {dense.shape} in the dense network, {other.shape} in the compressed one: "
            "they are not the same network"
        )
    if not np.isfinite(dense).all():
        raise DataError(
            f"{what} of the dense network is not finite (NaN or infinity) on this data: there is "
            "nothing to compare with"
        )
    comparison.add(dense, other)


class _Layer:
    """What is summed up for one layer."""

    def __init__(self, dense: Source, compressed: Source, pair: Pair, threads: int | None) -> None:
        self.pair = pair
        self.alone = isolate(compressed, pair, dense.types, threads)
        self.accumulated, self.introduced = Comparison(), Comparison()
        self.channels = [ChannelRange() for _ in range(2)]
        quantizer = pair.quantizer if self.alone else None
        self.bits = quantizer.bits if quantizer else None
        self.clipping = Clipping(quantizer.scale, quantizer.limits) if quantizer else None
        self.weight = _weight_error(dense, compressed, pair)

    @property
    def needs(self) -> list[str]:
        """Tensors of the dense network."""
        inputs = self.alone.operands.values() if self.alone else ()
        return [*inputs, self.pair.dense.outputs[0]]

    def add(self, dense: dict[str, np.ndarray], compressed: dict[str, np.ndarray]) -> None:
        expected = dense[self.pair.dense.outputs[0]]
        got = compressed[self.pair.compressed.outputs[0]]
        _compare(self.accumulated, expected, got, f"layer {self.pair.name!r}")
        for channels, values in zip(self.channels, (expected, got), strict=True):
            channels.add(values)
        if self.alone:
            self.introduced.add(expected, self.alone(dense))
        if self.clipping:
            self.clipping.add(dense[self.alone.operands[0]])

    def facts(self) -> LayerError:
        before, after = (channels.constant() for channels in self.channels)
        return LayerError(
            name=self.pair.name,
            op=self.pair.dense.op,
            introduced=self.introduced.quality() if self.alone else None,
            accumulated=self.accumulated.quality(),
            weight=self.weight,
            input=self._input(),
            channels=len(after),
            dead=tuple(np.flatnonzero(after & ~before).tolist()),
            note=f"cannot run alone: {self.pair.alone}" if self.pair.alone else "",
        )

    def _input(self) -> InputRange | None:
        if self.clipping is None:
            return None
        saturated = self.clipping.clipped / max(self.clipping.count, 1)
        quality = self.clipping.comparison.quality()
        unsigned = self.clipping.limits[0] == 0
        return InputRange(self.bits, saturated, self.clipping.largest, quality, unsigned)


def _weight_error(dense: Source, compressed: Source, pair: Pair) -> WeightError | None:
    """The compressed weight against the dense one; None when there is none to look at."""
    if pair.dense.op == "opaque":
        return None
    found = compressed.graph.constants.get(pair.compressed.inputs[1])
    original = dense.graph.constants.get(pair.dense.inputs[1])
    if found is None:
        return None
    values, quality, narrowest = found.dense(), None, None
    if original is not None and original.data.shape == found.data.shape:
        comparison = Comparison()
        comparison.add(original.dense(), values)
        quality = comparison.quality()
    if found.quantized:
        codes = np.abs(np.moveaxis(found.data.astype(np.int16), found.axis, 0))
        peaks = codes.reshape(len(codes), -1).max(axis=1, initial=0)
        used = peaks[peaks > 0]
        narrowest = float(used.min()) / max_code(found.bits) if len(used) else None
    sparsity = 1 - np.count_nonzero(values) / max(values.size, 1)
    bits = found.bits if found.quantized else 8 * found.data.itemsize
    return WeightError(values.size, bits, sparsity, quality, narrowest)
