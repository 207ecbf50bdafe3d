"""Post-training quantization that keeps a step only if the measured output error falls."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from gluonzip.archive import to_bytes
from gluonzip.auto.checkpoint import Checkpoint, digest_of, fingerprint
from gluonzip.auto.choices import PER_CHANNEL, STEPS, AutoResult, Choices, Step
from gluonzip.auto.data import batches, parts
from gluonzip.auto.diagnose import diagnose
from gluonzip.auto.mixed_precision import mixed_precision
from gluonzip.auto.trials import Trials, readers_of, split
from gluonzip.errors import ConfigError, GluonzipError
from gluonzip.graph import Graph
from gluonzip.graph.statistics import macs
from gluonzip.passes import simplify
from gluonzip.passes.quantize import OBSERVERS
from gluonzip.passes.quantize.kinds import WEIGHTED
from gluonzip.passes.quantize.points import check_names
from gluonzip.spec import WeightQuantization

ROWS = 16
"""Rows of the data whose activations are held in memory together."""

STRENGTHS = (0.5, 0.75, 1.0)
"""Of balancing, tried one after the other."""

TRIALS = 48
"""Of single observers: beyond, a search takes longer than it is worth."""


def quantize_automatically(
    graph: Graph,
    data: Any,
    *,
    weights: WeightQuantization = PER_CHANNEL,
    bits: Mapping[str, int] | None = None,
    skip: Collection[str] = (),
    signed: bool = False,
    steps: Collection[str] = STEPS,
    float_share: float = 0.0,
    size_budget: float | None = None,
    latency_budget: float | None = None,
    held_out: float = 0.25,
    trials: int = TRIALS,
    seconds: float = math.inf,
    checkpoint: str | os.PathLike | None = None,
    threads: int | None = None,
) -> AutoResult:
    """Quantize ``graph`` (as traced) with whatever lowers the error of its outputs.

    In turn: each observer for all activations; adaptive rounding; bias correction; reconstruction
    (each layer fitted to make up for those before it); cross-layer equalization (with ReLU6 as it
    is, and as ReLU); balanced channels; observers of single activations, those of the layers with
    the largest error first; and at last layers that stay float32, worst first, as long as their
    multiply-accumulates are no more than ``float_share`` of all. Every trial is the integer network
    itself, run by the engine on the ``held_out`` part of ``data`` (the last rows of each batch), of
    which nothing else is computed; a step stays only if it raises the signal-to-quantization-noise
    ratio there.

    ``data``: as for :func:`gluonzip.diagnose`. ``weights``: bits and granularity; ``bits``: of
    single layers, by name. ``size_budget`` (bytes of the archive) or ``latency_budget`` (ms): find
    them by :func:`gluonzip.auto.mixed_precision` first; no step is kept whose archive would exceed
    the size. ``skip``: layers that stay float32 in any case. ``signed``: of activations,
    as in :class:`gluonzip.spec.ActivationQuantization`. ``steps``: some of :data:`STEPS`.
    ``trials``: the most for observers of single activations. ``seconds``: no trial begins later,
    and the result says what was left out. ``checkpoint``: a JSON file to go on from after an
    interruption, with the same arguments; Ctrl-C returns the best so far. Raises ConfigError,
    DataError (one row), PatternError.
    """
    _check(held_out, float_share, steps)
    dense = simplify(graph)
    check_names(dense, [*skip, *(bits or {})])
    precision = None
    if size_budget is not None or latency_budget is not None:
        data = [(inputs, None) for inputs, _ in batches(data)]  # gone through twice
        precision = mixed_precision(
            graph, data, size_budget=size_budget, latency_budget=latency_budget, weights=weights,
            skip=skip, signed=signed, held_out=held_out, threads=threads,
            checkpoint=None if checkpoint is None else f"{os.fspath(checkpoint)}.bits",
        )  # fmt: skip
        bits = precision.bits
    fit, judge = split(data, held_out)
    fit = [part for inputs in fit for part in parts(inputs, ROWS)]
    choices = Choices(weights, bits=dict(bits or {}), floats=frozenset(skip), signed=signed)
    owner = fingerprint(dense, (choices.key, digest_of(*(a for b in [*fit, *judge] for a in b))))
    search = _Search(Trials(dense, fit, judge, threads), choices, Checkpoint(checkpoint, owner))
    search.size_budget = math.inf if size_budget is None else size_budget
    found = search.run([name for name in STEPS if name in steps], float_share, trials, seconds)
    return replace(found, precision=precision)


def _check(held_out: float, float_share: float, steps: Collection[str]) -> None:
    if not 0 < held_out < 1:
        raise ConfigError(f"held_out = {held_out!r} must be between 0 and 1")
    if not 0 <= float_share <= 1:
        raise ConfigError(f"float_share = {float_share!r} must be from 0 to 1")
    unknown = [name for name in steps if name not in STEPS]
    if unknown:
        raise ConfigError(f"step {unknown[0]!r} is unknown; use some of {', '.join(STEPS)}")


class _OutOfTimeError(Exception):
    """No further trial may begin."""


class _Search:
    """Greedy: the best so far, one step more. What the checkpoint knows is not built again."""

    def __init__(self, trials: Trials, choices: Choices, checkpoint: Checkpoint) -> None:
        self.trials, self.choices, self.checkpoint = trials, choices, checkpoint
        self.known: dict[str, float] = checkpoint.state
        self.steps: list[Step] = []
        self.skipped: list[str] = []
        self.built: tuple[str, Graph] | None = None
        self.best, self.until, self.size_budget = -math.inf, math.inf, math.inf

    def run(self, names: list[str], float_share: float, most: int, seconds: float) -> AutoResult:
        todo = {
            "observers": self._observers,
            "round": lambda: self._try("adaptive rounding", adaptive_rounding=True),
            "bias": lambda: self._try("bias correction", bias_correction=True),
            "reconstruct": lambda: self._try("reconstruction", reconstruct=True),
            "equalize": self._equalize,
            "balance": self._balance,
            "single_observers": lambda: self._single_observers(most),
            "floats": lambda: self._leave_floats(float_share),
        }
        bits = self.choices.weights.bits
        self._try("mixed weights, minmax" if self.choices.bits else f"{bits}-bit weights, minmax")
        self.until, complete = time.monotonic() + seconds, True
        left = list(names)
        try:
            while left:
                todo[left[0]]()
                left.pop(0)
        except _OutOfTimeError:
            self.skipped.append(f"{', '.join(left)} (or the rest of it): {seconds:g} s were over")
        except KeyboardInterrupt:
            complete = False
            self.skipped.append(f"{', '.join(left)} (or the rest of it): interrupted")
        graph = self._graph()
        return AutoResult(graph, self.choices, tuple(self.steps), tuple(self.skipped), complete)

    # ------------------------------------------------------------ one trial
    def _try(self, name: str, **changes: Any) -> bool:
        choices = replace(self.choices, **changes)
        found = self._measure(choices)
        kept = found > self.best or not self.steps
        self.steps.append(Step(name, found, kept))
        if kept:
            self.choices, self.best = choices, found
        return kept

    def _measure(self, choices: Choices) -> float:
        if choices.key not in self.known:
            if time.monotonic() > self.until:
                raise _OutOfTimeError
            graph = self.trials.build(choices)
            found = self.trials.error(graph)
            if found > self.best and self.size_budget < math.inf and self.steps:
                found = -math.inf if len(to_bytes(graph)) > self.size_budget else found
            self.known[choices.key] = found
            self.checkpoint.save()
            if found > self.best:
                self.built = choices.key, graph
        return self.known[choices.key]

    def _graph(self) -> Graph:
        """Of the best choices."""
        if self.built is None or self.built[0] != self.choices.key:
            self.built = self.choices.key, self.trials.build(self.choices)
        return self.built[1]

    # ------------------------------------------------------------ steps
    def _observers(self) -> None:
        for name in OBSERVERS:
            if name != self.choices.observer:
                self._try(f"observer {name}", observer=name)

    def _equalize(self) -> None:
        self._try("equalization", equalize=True)
        nodes = self.trials.dense.nodes
        if any(node.op == "clip" or node.attrs.get("act") == "clip" for node in nodes):
            self._try("equalization, ReLU6 as ReLU", equalize=True, relax_clips=True)

    def _balance(self) -> None:
        """Balanced channels want other ranges: the observers have another turn."""
        kept = [self._try(f"balanced channels, {s:g}", balance=s) for s in STRENGTHS]
        if any(kept):
            self._observers()

    def _single_observers(self, most: int) -> None:
        """One activation's observer after the other; then weights fitted to what was found."""
        points = self._worst_first()
        wanted = [(point, name) for point in points for name in OBSERVERS]
        usual = self.choices.observer
        wanted = [(point, name) for point, name in wanted if name != usual]
        for point, name in wanted[:most]:
            chosen = {**self.choices.observers, point: name}
            self._try(f"observer {name} for {point}", observers=chosen)
        if len(wanted) > most:
            self.skipped.append(
                f"{len(wanted) - most} of {len(wanted)} observers of single activations: "
                f"trials = {most}"
            )
        if self.choices.reconstruct and self.choices.observers:
            self._try("reconstruction again", fitted_to=self.choices.observers)

    def _worst_first(self) -> list[str]:
        """Activations, those that the layers with the largest error read first."""
        model = self.trials.model(self.choices)
        points = list(model.statistics)
        try:
            found = diagnose(model.dense, self._graph(), self.trials.fit, samples=2 * ROWS)
        except GluonzipError:  # an operator that cannot run alone, say: any order will do
            return points
        ranks = {layer.name: layer.rank for layer in found.layers}
        readers = readers_of(model.dense, points)
        return sorted(
            points,
            key=lambda p: min((ranks.get(n, math.inf) for n in readers[p]), default=math.inf),
        )

    def _leave_floats(self, share: float) -> None:
        costs = _costs(self.trials.dense)
        budget = share * sum(costs.values())
        while True:
            used = sum(costs[name] for name in self.choices.floats if name in costs)
            left = [n for n in costs if n not in self.choices.floats and used + costs[n] <= budget]
            if not left:
                return
            errors = {n: self._measure(self._with_float(n)) for n in left}
            best = max(errors, key=errors.__getitem__)
            if not self._try(f"{best} in float32", floats=self.choices.floats | {best}):
                return

    def _with_float(self, name: str) -> Choices:
        return replace(self.choices, floats=self.choices.floats | {name})


def _costs(graph: Graph) -> dict[str, int]:
    """Multiply-accumulates of each layer, for the nominal shapes."""
    shapes = {i.name: tuple(n or 1 for n in i.shape) for i in graph.inputs}
    kinds = {node.name: node.op for node in graph.nodes}
    return {name: n for name, n in macs(graph, shapes).items() if kinds[name] in WEIGHTED}
