"""Post-training quantization that keeps a step only if the measured output error falls."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from gluonzip.auto.data import batches, parts
from gluonzip.auto.source import GraphSource
from gluonzip.auto.statistics import Comparison
from gluonzip.errors import ConfigError, DataError, UnsupportedError
from gluonzip.graph import Graph, interpret
from gluonzip.graph.statistics import macs
from gluonzip.passes import optimize, simplify
from gluonzip.passes.quantize import OBSERVERS, Statistics, collect, insert_fake_quantize, ranges
from gluonzip.passes.quantize.bias import correct_bias
from gluonzip.passes.quantize.equalize import equalize, relax_clips
from gluonzip.passes.quantize.kinds import WEIGHTED
from gluonzip.passes.quantize.layer_inputs import Moments, layer_moments
from gluonzip.passes.quantize.points import check_names
from gluonzip.passes.quantize.rounding import quantize_weights
from gluonzip.runtime import CalibrationEngine
from gluonzip.spec import ActivationQuantization, PerChannel, WeightQuantization

ROWS = 16
"""Rows of the data whose activations are held in memory together."""

MOST_POINTS = 24
"""Activations beyond which no observer is tried for each: it takes longer than it is worth."""

PER_CHANNEL = WeightQuantization(granularity=PerChannel())


STEPS = ("observers", "single_observers", "equalize", "round", "bias", "floats")
"""Names of what :func:`quantize_automatically` may try, in its order."""


@dataclass(frozen=True)
class Choices:
    """Which steps are on. ``observers``: by tensor, where it is not ``observer``; ``floats``:
    layers left in float32."""

    weights: WeightQuantization = PER_CHANNEL
    observer: str = "minmax"
    observers: Mapping[str, str] = field(default_factory=dict)
    equalize: bool = False
    relax_clips: bool = False
    adaptive_rounding: bool = False
    bias_correction: bool = False
    floats: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Step:
    """A step that was tried: the output error with it (signal-to-quantization-noise, dB), and
    whether it was kept."""

    name: str
    decibels: float
    kept: bool


@dataclass(frozen=True)
class AutoResult:
    """``graph``: quantized, ready for the engine. ``steps``: all that was tried, in order.
    ``skipped``: what was asked for and not tried, and why."""

    graph: Graph
    choices: Choices
    steps: tuple[Step, ...]
    skipped: tuple[str, ...] = ()

    @property
    def decibels(self) -> float:
        """Of the held-out part of the data."""
        return max(step.decibels for step in self.steps if step.kept)

    def __str__(self) -> str:
        lines = [
            f"{'kept' if step.kept else '':5}{step.decibels:8.2f} dB  {step.name}"
            for step in self.steps
        ]
        return "\n".join([*lines, *(f"not tried: {reason}" for reason in self.skipped)])


def quantize_automatically(
    graph: Graph,
    data: Any,
    *,
    weights: WeightQuantization = PER_CHANNEL,
    skip: Collection[str] = (),
    steps: Collection[str] = STEPS,
    float_share: float = 0.0,
    held_out: float = 0.25,
    threads: int | None = None,
) -> AutoResult:
    """Quantize ``graph`` (as traced) with whatever lowers the error of its outputs.

    In turn: each observer for all activations, then for single ones; cross-layer equalization (with
    ReLU6 as it is, and as ReLU); adaptive rounding; bias correction; and at last layers that stay
    float32, worst first, as long as their multiply-accumulates are no more than ``float_share`` of
    all. Every trial is the integer network itself, run by the engine on the ``held_out`` part of
    ``data`` (the last rows of each batch), of which nothing else is computed; a step stays only if
    it raises the signal-to-quantization-noise ratio there.

    ``data``: as for :func:`gluonzip.diagnose`. ``weights``: bits and granularity. ``skip``: layers
    that stay float32 in any case. ``steps``: some of :data:`STEPS`. Raises ConfigError, DataError
    (one row), PatternError.
    """
    if not 0 < held_out < 1:
        raise ConfigError(f"held_out = {held_out!r} must be between 0 and 1")
    if not 0 <= float_share <= 1:
        raise ConfigError(f"float_share = {float_share!r} must be from 0 to 1")
    unknown = [name for name in steps if name not in STEPS]
    if unknown:
        raise ConfigError(f"step {unknown[0]!r} is unknown; use some of {', '.join(STEPS)}")
    dense = simplify(graph)
    check_names(dense, skip)
    fit, judge = _split(data, held_out)
    fit = [part for inputs in fit for part in parts(inputs, ROWS)]
    search = _Search(dense, fit, judge, Choices(weights, floats=frozenset(skip)), threads)
    search.run(steps, float_share)
    return AutoResult(search.graph, search.choices, tuple(search.steps), tuple(search.skipped))


def _split(data: Any, held_out: float) -> tuple[list[tuple], list[tuple]]:
    """The data's batches in two parts, row by row."""
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


class _Search:
    """Greedy: the best so far, one step more."""

    def __init__(
        self,
        dense: Graph,
        fit: list[tuple],
        judge: list[tuple],
        choices: Choices,
        threads: int | None,
    ) -> None:
        self.dense, self.fit, self.judge, self.threads = dense, fit, judge, threads
        self.wanted = self._outputs(dense)
        self.models: dict[tuple[bool, bool], _Model] = {}
        self.choices, self.steps = choices, []
        self.skipped: list[str] = []
        self.graph = self._build(choices)
        self.best = self._error(self.graph)
        self.steps.append(Step(f"{choices.weights.bits}-bit weights, minmax", self.best, True))

    def run(self, steps: Collection[str], float_share: float) -> None:
        todo = {
            "observers": self._observers,
            "single_observers": self._single_observers,
            "equalize": self._equalize,
            "round": lambda: self._try("adaptive rounding", adaptive_rounding=True),
            "bias": lambda: self._try("bias correction", bias_correction=True),
            "floats": lambda: self._leave_floats(float_share),
        }
        for name in STEPS:
            if name in steps:
                todo[name]()

    # ------------------------------------------------------------ steps
    def _try(self, name: str, **changes: Any) -> bool:
        choices = replace(self.choices, **changes)
        graph = self._build(choices)
        found = self._error(graph)
        kept = found > self.best
        self.steps.append(Step(name, found, kept))
        if kept:
            self.choices, self.graph, self.best = choices, graph, found
        return kept

    def _observers(self) -> None:
        for name in OBSERVERS:
            if name != self.choices.observer:
                self._try(f"observer {name}", observer=name)

    def _equalize(self) -> None:
        self._try("equalization", equalize=True)
        if any(node.op == "clip" or node.attrs.get("act") == "clip" for node in self.dense.nodes):
            self._try("equalization, ReLU6 as ReLU", equalize=True, relax_clips=True)

    def _single_observers(self) -> None:
        """One activation's observer after the other, those of the largest networks left out."""
        points = list(self._model(self.choices).statistics)
        if len(points) > MOST_POINTS:
            self.skipped.append(
                f"observers of single activations: there are {len(points)}, more than {MOST_POINTS}"
            )
            return
        for point in points:
            for name in OBSERVERS:
                if name != self.choices.observers.get(point, self.choices.observer):
                    chosen = {**self.choices.observers, point: name}
                    self._try(f"observer {name} for {point}", observers=chosen)

    def _leave_floats(self, share: float) -> None:
        costs = _costs(self.dense)
        budget = share * sum(costs.values())
        while True:
            used = sum(costs[name] for name in self.choices.floats if name in costs)
            left = [n for n in costs if n not in self.choices.floats and used + costs[n] <= budget]
            if not left:
                return
            trials = {n: self._build(self._with_float(n)) for n in left}
            errors = {n: self._error(g) for n, g in trials.items()}
            best = max(errors, key=errors.get)
            kept = errors[best] > self.best
            self.steps.append(Step(f"{best} in float32", errors[best], kept))
            if not kept:
                return
            self.choices, self.graph = self._with_float(best), trials[best]
            self.best = errors[best]

    def _with_float(self, name: str) -> Choices:
        return replace(self.choices, floats=self.choices.floats | {name})

    # ------------------------------------------------------------ trials
    def _build(self, choices: Choices) -> Graph:
        model = self._model(choices)
        skip = choices.floats
        moments = model.moments if choices.adaptive_rounding else None
        graph = quantize_weights(model.dense, choices.weights, moments, skip)
        found = model.ranges(choices)
        graph = insert_fake_quantize(graph, found, choices.weights, skip=skip)
        graph = optimize(graph)
        if choices.bias_correction:
            graph = correct_bias(graph, model.dense, model.moments)
        return graph

    def _model(self, choices: Choices) -> _Model:
        key = choices.equalize, choices.relax_clips
        if key not in self.models:
            graph = relax_clips(self.dense) if choices.relax_clips else self.dense
            graph = equalize(graph) if choices.equalize else graph
            self.models[key] = _Model(graph, self.fit, self.threads)
        return self.models[key]

    def _error(self, graph: Graph) -> float:
        comparison = Comparison()
        for wanted, found in zip(self.wanted, self._outputs(graph), strict=True):
            for one, other in zip(wanted, found, strict=True):
                comparison.add(one, other)
        return comparison.quality().sqnr

    def _outputs(self, graph: Graph) -> list[list[np.ndarray]]:
        source = GraphSource(graph, "the network", self.threads)
        found = [source.values(inputs, graph.outputs) for inputs in self.judge]
        return [[values[name] for name in graph.outputs] for values in found]


class _Model:
    """The float network that is quantized, and what was measured of it, once."""

    def __init__(self, dense: Graph, fit: list[tuple], threads: int | None) -> None:
        self.dense, self.fit = dense, fit
        self.run = _runner(dense, threads)
        self.statistics: dict[str, Statistics] = collect(dense, fit, self.run)
        self._moments: dict[str, Moments] | None = None

    @property
    def moments(self) -> dict[str, Moments]:
        if self._moments is None:
            self._moments = layer_moments(self.dense, self.fit, self.run)
        return self._moments

    def ranges(self, choices: Choices) -> dict[str, float]:
        def observer_of(name: str) -> str:
            return choices.observers.get(name, choices.observer)

        by_observer = {
            name: ranges(
                self.dense, self.statistics, ActivationQuantization(observer=name), choices.floats
            )
            for name in (choices.observer, *choices.observers.values())
        }
        points = next(iter(by_observer.values()))
        return {point: by_observer[observer_of(point)][point] for point in points}


def _runner(graph: Graph, threads: int | None) -> Callable[..., Any]:
    engine = CalibrationEngine(graph, threads)
    try:
        engine.prepare([graph.outputs[0]], histogram=True)
    except UnsupportedError:
        return interpret
    return engine


def _costs(graph: Graph) -> dict[str, int]:
    """Multiply-accumulates of each layer, for the nominal shapes."""
    shapes = {i.name: tuple(n or 1 for n in i.shape) for i in graph.inputs}
    kinds = {node.name: node.op for node in graph.nodes}
    return {name: n for name, n in macs(graph, shapes).items() if kinds[name] in WEIGHTED}
