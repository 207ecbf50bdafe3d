"""From choices to an integer network, and how far its outputs are from the float32 one's."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import cached_property
from typing import Any

import numpy as np

from gluonzip.auto.choices import Choices
from gluonzip.auto.data import batches
from gluonzip.auto.reconstruction import reconstruct
from gluonzip.auto.source import GraphSource
from gluonzip.auto.statistics import Comparison
from gluonzip.errors import DataError, UnsupportedError
from gluonzip.graph import OPS, Constant, Graph, interpret
from gluonzip.passes import optimize
from gluonzip.passes.quantize import Statistics, collect, insert_fake_quantize, ranges
from gluonzip.passes.quantize.balance import balance, channel_peaks
from gluonzip.passes.quantize.bias import correct_bias
from gluonzip.passes.quantize.equalize import equalize, relax_clips
from gluonzip.passes.quantize.layer_inputs import Moments, layer_moments
from gluonzip.passes.quantize.rounding import quantize_weights
from gluonzip.runtime import CalibrationEngine
from gluonzip.spec import ActivationQuantization, WeightQuantization

Inputs = tuple[np.ndarray, ...]


def split(data: Any, held_out: float) -> tuple[list[Inputs], list[Inputs]]:
    """The data's batches in two parts, row by row: to fit to, and to judge by."""
    fit, judge = [], []
    for inputs, _ in batches(data):
        rows = len(inputs[0])
        cut = rows - int(np.ceil(held_out * rows)) if rows > 1 else rows * (len(fit) <= len(judge))
        for part, chosen in ((fit, slice(0, cut)), (judge, slice(cut, None))):
            if len(inputs[0][chosen]):
                part.append(tuple(array[chosen] for array in inputs))
    if not fit or not judge:
        raise DataError("the calibration data has one row; give at least two, one to judge by")
    return fit, judge


class Trials:
    """``build(choices)`` and ``error(graph)``, with what several trials share kept."""

    def __init__(
        self, dense: Graph, fit: list[Inputs], judge: list[Inputs], threads: int | None
    ) -> None:
        self.dense, self.fit, self.judge, self.threads = dense, fit, judge, threads
        self.wanted = self._outputs(dense)
        self._models: dict[tuple, Model] = {}
        self._weights: dict[tuple, Graph] = {}

    def build(self, choices: Choices) -> Graph:
        """The integer network."""
        model = self.model(choices)
        graph = self._with_weights(choices, model)
        found = model.ranges(choices, choices.observers)
        graph = insert_fake_quantize(graph, found, choices.weights, skip=choices.in_floats)
        graph = optimize(graph)
        if choices.bias_correction and not choices.reconstruct:
            graph = correct_bias(graph, model.dense, model.moments)
        return _halved(graph, {name for name, bits in choices.bits.items() if bits == 16})

    def _with_weights(self, choices: Choices, model: Model) -> Graph:
        """The float32 network with integer weights; those of the last choices are kept."""
        fitted = sorted(choices.fitted_to.items()) if choices.reconstruct else None
        key = (
            *(choices.equalize, choices.relax_clips, choices.balance, choices.reconstruct),
            *(choices.adaptive_rounding, repr(fitted), choices.floats, str(choices.weights)),
            *(repr(sorted(choices.bits.items())), choices.observer if fitted is not None else ""),
        )
        if key not in self._weights:
            self._weights = {key: self._quantized(choices, model)}
        return self._weights[key]

    def _quantized(self, choices: Choices, model: Model) -> Graph:
        moments = None
        if choices.adaptive_rounding and not choices.reconstruct:
            moments = model.moments
        what = weights_by_layer(model.dense, choices)
        graph = quantize_weights(model.dense, what, moments, choices.in_floats)
        if not choices.reconstruct:
            return graph
        found = model.ranges(choices, choices.fitted_to)
        return reconstruct(model.dense, graph, found, self.fit, choices.in_floats, self.threads)

    def model(self, choices: Choices) -> Model:
        key = choices.equalize, choices.relax_clips, choices.balance
        if key not in self._models:
            graph = relax_clips(self.dense) if choices.relax_clips else self.dense
            graph = equalize(graph) if choices.equalize else graph
            if choices.balance:
                peaks = channel_peaks(graph, self.fit, runner(graph, self.threads))
                graph = balance(graph, peaks, choices.balance)
            self._models[key] = Model(graph, self.fit, self.threads)
        return self._models[key]

    def error(self, graph: Graph) -> float:
        """Signal by noise of all outputs on the held-out rows, dB."""
        comparison = Comparison()
        for wanted, found in zip(self.wanted, self._outputs(graph), strict=True):
            for one, other in zip(wanted, found, strict=True):
                comparison.add(one, other)
        return comparison.quality().sqnr

    def _outputs(self, graph: Graph) -> list[list[np.ndarray]]:
        source = GraphSource(graph, "the network", self.threads)
        found = [source.values(inputs, graph.outputs) for inputs in self.judge]
        return [[values[name] for name in graph.outputs] for values in found]


class Model:
    """A float network that is quantized, and what was measured of it, once."""

    def __init__(self, dense: Graph, fit: list[Inputs], threads: int | None) -> None:
        self.dense, self.fit, self._threads = dense, fit, threads

    @cached_property
    def run(self) -> Callable[..., Any]:
        return runner(self.dense, self._threads)

    @cached_property
    def statistics(self) -> dict[str, Statistics]:
        return collect(self.dense, self.fit, self.run)

    @cached_property
    def moments(self) -> dict[str, Moments]:
        return layer_moments(self.dense, self.fit, self.run)

    def ranges(self, choices: Choices, observers: Any) -> dict[str, float]:
        """By tensor: of its own observer in ``observers``, or else that of the choices."""
        by_observer = {
            name: ranges(
                self.dense,
                self.statistics,
                ActivationQuantization(observer=name, signed=choices.signed),
                choices.in_floats,
            )
            for name in {choices.observer, *observers.values()}
        }
        points = by_observer[choices.observer]
        return {
            point: by_observer[observers.get(point, choices.observer)][point] for point in points
        }


def weights_by_layer(graph: Graph, choices: Choices) -> dict[str, WeightQuantization]:
    """Of each layer that has one: that of all, or its own bits."""
    layers = (n.name for n in graph.nodes if n.op in OPS and OPS[n.op].weight_axis is not None)
    own = {
        name: WeightQuantization(bits, choices.weights.granularity)
        for name, bits in choices.bits.items()
        if bits < 16
    }
    return {name: own.get(name, choices.weights) for name in layers}


def _halved(graph: Graph, layers: Collection[str]) -> Graph:
    """The float32 weights of ``layers`` as float16, where they are small enough for that."""
    largest = np.finfo(np.float16).max
    for node in graph.nodes:
        names = node.inputs[1:3] if node.name in layers else ()
        for name in names:
            constant = graph.constants.get(name)
            if constant is None or constant.data.dtype != np.float32:
                continue
            if np.abs(constant.data).max(initial=0) <= largest:
                graph.constants[name] = Constant(constant.data.astype(np.float16))
    return graph


def runner(graph: Graph, threads: int | None) -> Callable[..., Any]:
    """The engine, or the interpreter where it lacks an operator."""
    engine = CalibrationEngine(graph, threads)
    try:
        engine.prepare([graph.outputs[0]], histogram=True)
    except UnsupportedError:
        return interpret
    return engine


def readers_of(graph: Graph, points: Collection[str]) -> dict[str, list[str]]:
    """Of each activation, the nodes that read it."""
    readers = graph.consumers()
    return {point: [node.name for node in readers.get(point, ())] for point in points}
