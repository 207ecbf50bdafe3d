"""Which layers stay at 16, 8 or 4 bits: by measured sensitivity, under a size or latency budget."""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from gluonzip.auto.budgets import Costs, assign, latencies, sizes
from gluonzip.auto.checkpoint import Checkpoint, digest_of, fingerprint
from gluonzip.auto.choices import PER_CHANNEL, Choices
from gluonzip.auto.data import parts
from gluonzip.auto.trials import Trials, split
from gluonzip.errors import ConfigError
from gluonzip.graph import Graph
from gluonzip.passes import simplify
from gluonzip.passes.quantize.kinds import WEIGHTED
from gluonzip.passes.quantize.points import check_names
from gluonzip.report.precision import LayerPrecision, MixedPrecision
from gluonzip.spec import WeightQuantization, max_code

LEVELS = (16, 8, 4)

ROWS = 16
"""Rows of the data whose activations are held in memory together."""

ATTEMPTS = 6
"""Assignments that are built and measured at most: additive costs and errors are a model."""


def mixed_precision(
    graph: Graph,
    data: Any,
    *,
    size_budget: float | None = None,
    latency_budget: float | None = None,
    levels: Sequence[int] = LEVELS,
    weights: WeightQuantization = PER_CHANNEL,
    skip: Collection[str] = (),
    signed: bool = False,
    held_out: float = 0.25,
    checkpoint: str | os.PathLike | None = None,
    threads: int | None = None,
) -> MixedPrecision:
    """Bits of each layer such that the outputs' error is small and a budget is kept.

    Each layer (conv2d, conv_transpose2d and dense with constant weights, those in ``skip`` left in
    float32) is measured once at each level, alone: the noise of the outputs on ``held_out`` rows of
    ``data``, everything else in float32; at fewer than 16 bits its input is in 8 bits, at 16 it
    computes in float32 from weights stored in float16. Its cost is that of the very archive
    (``size_budget``, bytes of the file), or what the engine's profile says of the data's first row
    (``latency_budget``, milliseconds a call; weights of 4 bits run as fast as those of 8). The
    assignment with the least sum of noises within the budget is found exactly, built and measured;
    where sums were wrong, the next best. The result is the best measured one that keeps the budget.

    ``weights``: the granularity. ``signed``: of activations, as in
    :class:`gluonzip.spec.ActivationQuantization`. ``checkpoint``: a JSON file to go on from; Ctrl-C
    returns the best with what was measured so far. Raises ConfigError (no budget or both, levels
    outside 2 to 8, 16 and 32; a budget below the smallest assignment, naming that), DataError,
    PatternError.
    """
    if (size_budget is None) == (latency_budget is None):
        raise ConfigError("give size_budget (bytes) or latency_budget (ms), and not both")
    budget = latency_budget if size_budget is None else size_budget
    if not budget > 0:
        raise ConfigError(f"a budget of {budget!r} must be above 0")
    levels = _checked(levels)
    dense = simplify(graph)
    check_names(dense, skip)
    fit, judge = split(data, held_out)
    fit = [part for inputs in fit for part in parts(inputs, ROWS)]
    arrays = [array for batch in (*fit, *judge) for array in batch]
    choices = Choices(weights, floats=frozenset(skip), signed=signed)
    owner = fingerprint(dense, (choices.key, levels, digest_of(*arrays)))
    trials = Trials(dense, fit, judge, threads)
    measured = _Measured(trials, choices, levels, Checkpoint(checkpoint, owner))
    complete = measured.run()
    if size_budget is not None:
        costs = sizes(measured.uniform, measured.layers, levels)
    else:
        first = tuple(array[:1] for array in judge[0])
        costs = latencies(measured.uniform, measured.layers, levels, first, threads)
    return _best(measured, costs, float(budget), complete)


def _checked(levels: Sequence[int]) -> tuple[int, ...]:
    for bits in levels:
        if bits not in (16, 32):
            max_code(bits)
    if len(set(levels)) != len(levels) or not levels:
        raise ConfigError(f"levels = {tuple(levels)} must be different, and at least one")
    return tuple(sorted(levels, reverse=True))


class _Measured:
    """What each layer bears; ``noise``: by layer and bits, relative to the signal."""

    def __init__(
        self,
        trials: Trials,
        choices: Choices,
        levels: tuple[int, ...],
        checkpoint: Checkpoint,
    ) -> None:
        self.trials, self.choices = trials, choices
        self.levels, self.checkpoint = levels, checkpoint
        graph = trials.dense
        self.layers = [
            node.name
            for node in graph.nodes
            if node.op in WEIGHTED
            and node.inputs[1] in graph.constants
            and node.name not in choices.floats
        ]
        if not self.layers:
            raise ConfigError("no layer has a constant weight: there are no bits to choose")
        self.found: dict[str, dict[str, float]] = checkpoint.state

    def run(self) -> bool:
        """Measure what the checkpoint lacks; False when interrupted."""
        try:
            for name in self.layers:
                known = self.found.setdefault(name, {})
                for bits in self.levels:
                    if str(bits) not in known:
                        known[str(bits)] = self.error(self.alone(name, bits))
                        self.checkpoint.save()
        except KeyboardInterrupt:
            return False
        return True

    def alone(self, name: str, bits: int) -> Graph:
        others = {layer: 32 for layer in self.layers}
        return self.build({**others, name: bits})

    def uniform(self, bits: int) -> Graph:
        return self.build({name: bits for name in self.layers})

    def build(self, bits: dict[str, int]) -> Graph:
        return self.trials.build(replace(self.choices, bits=bits))

    def error(self, graph: Graph) -> float:
        return self.trials.error(graph)

    def decibels(self, name: str) -> dict[int, float]:
        known = self.found.get(name, {})
        return {bits: known[str(bits)] for bits in self.levels if str(bits) in known}

    @property
    def noise(self) -> dict[str, dict[int, float]]:
        """A level that was not measured counts as noise alone."""
        return {
            name: {b: _noise(self.decibels(name).get(b, 0.0)) for b in self.levels}
            for name in self.layers
        }


def _noise(decibels: float) -> float:
    return 10 ** (-decibels / 10) if decibels > -math.inf else math.inf


def _best(measured: _Measured, costs: Costs, budget: float, complete: bool) -> MixedPrecision:
    """Of the assignments that keep the budget when built, the one with the least error."""
    tried: dict[tuple, tuple[float, float, dict[str, int]]] = {}
    room, noise = budget - costs.rest, measured.noise
    for _ in range(ATTEMPTS):
        chosen = assign(noise, costs.by_layer, room)
        if chosen is None:
            break
        cost = _try(measured, costs, chosen, tried)
        if cost <= budget:
            break
        room -= cost - budget
    for bits in measured.levels:
        if costs.rest + sum(found[bits] for found in costs.by_layer.values()) <= budget:
            _try(measured, costs, {name: bits for name in measured.layers}, tried)
    within = [entry for entry in tried.values() if entry[1] <= budget]
    if not within:
        least = costs.rest + sum(min(found.values()) for found in costs.by_layer.values())
        raise ConfigError(
            f"a budget of {budget:g} {costs.unit} cannot be kept: with the cheapest of the levels "
            f"{list(measured.levels)} everywhere the network takes {least:g} {costs.unit}"
        )
    decibels, cost, bits = max(within, key=lambda entry: entry[0])
    layers = tuple(_row(measured, costs, name, bits[name]) for name in measured.layers)
    return MixedPrecision(layers, decibels, cost, budget, costs.unit, complete)


def _try(
    measured: _Measured, costs: Costs, bits: dict[str, int], tried: dict[tuple, tuple]
) -> float:
    """The cost, measured; enters it with the error and the bits."""
    key = tuple(bits.items())
    if key not in tried:
        graph = measured.build(bits)
        tried[key] = measured.error(graph), costs.of(graph), bits
    return tried[key][1]


def _row(measured: _Measured, costs: Costs, name: str, bits: int) -> LayerPrecision:
    found, own = measured.decibels(name), costs.by_layer[name]
    return LayerPrecision(name, bits, found, own, _reason(found, own, bits, costs.unit))


def _reason(found: dict[int, float], own: dict[int, float], bits: int, unit: str) -> str:
    """What the next step up would cost, and the next one down lose."""
    levels = sorted(own, reverse=True)
    at, said = levels.index(bits), []
    if bits not in found:
        said.append("not measured")
    for other, word in ((at - 1, "up"), (at + 1, "down")):
        if 0 <= other < len(levels) and levels[other] in found and bits in found:
            step = levels[other]
            change = own[step] - own[bits]
            said.append(f"{word} to {step}: {change:+.4g} {unit}, {found[step]:.1f} dB alone")
    return "; ".join(said)
