"""What a layer costs at each number of bits, and the best assignment within a budget."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gluonzip import archive
from gluonzip.graph import Graph
from gluonzip.runtime import Engine

FRONTIER = 4096
"""Assignments of the first layers that are kept while the next one is added."""

Build = Callable[[int], Graph]
"""The network with all layers at so many bits."""


@dataclass(frozen=True)
class Costs:
    """``by_layer``: name -> bits -> cost; ``rest``: of everything else; ``of``: measures a network;
    ``unit``: bytes or ms."""

    by_layer: dict[str, dict[int, float]]
    rest: float
    of: Callable[[Graph], float]
    unit: str


def sizes(build: Build, layers: Sequence[str], levels: Sequence[int]) -> Costs:
    """Bytes of the archive: every layer's sections, and all others."""
    by_layer: dict[str, dict[int, float]] = {name: {} for name in layers}
    rest = math.inf
    for bits in levels:
        graph = build(bits)
        info = archive.inspect(archive.to_bytes(graph))
        sections = {section.name: section.bytes for section in info.sections}
        for name in layers:
            own = [n for n in graph.node(name).inputs[1:3] if n]
            by_layer[name][bits] = sum(sections.get(n, 0) for n in own)
        rest = min(rest, info.bytes - sum(found[bits] for found in by_layer.values()))
    return Costs(by_layer, rest, lambda graph: len(archive.to_bytes(graph)), "bytes")


def latencies(
    build: Build,
    layers: Sequence[str],
    levels: Sequence[int],
    inputs: tuple[np.ndarray, ...],
    threads: int | None,
) -> Costs:
    """Milliseconds in the engine for ``inputs``, by its profile. Weights of 8 bits and fewer run in
    the same kernels, so all of them count as the fewest-bit network's."""
    by_layer: dict[str, dict[int, float]] = {name: {} for name in layers}
    rest = math.inf
    for bits in sorted({min(8, b) if b < 16 else b for b in levels}):
        rows = {r["name"]: r["milliseconds"] for r in _profile(build(bits), inputs, threads)}
        for name in layers:
            for level in levels:
                if level == bits or (level < 16 and bits < 16):
                    by_layer[name][level] = rows.get(name, 0.0)
        rest = min(rest, sum(ms for name, ms in rows.items() if name not in by_layer))
    total = lambda graph: sum(r["milliseconds"] for r in _profile(graph, inputs, threads))  # noqa: E731
    return Costs(by_layer, rest, total, "ms")


def _profile(graph: Graph, inputs: tuple[np.ndarray, ...], threads: int | None) -> list[dict]:
    engine = Engine.from_graph(graph, threads=threads, raw=True)
    return engine.profile(*inputs, repeat=30, limits=False)


# ---------------------------------------------------------------- choosing
def assign(
    noise: Mapping[str, Mapping[int, float]],
    costs: Mapping[str, Mapping[int, float]],
    budget: float,
) -> dict[str, int] | None:
    """Bits by layer with the least sum of ``noise`` whose ``costs`` sum to at most ``budget``; None
    if there are none.

    Layer by layer, of all partial assignments those stay that no other one beats in both sums: the
    exact optimum, as long as there are no more than FRONTIER of them (beyond, they are thinned out
    evenly along the cost).
    """
    frontier: list[tuple[float, float, tuple[int, ...]]] = [(0.0, 0.0, ())]
    cheapest = [min(costs[name].values()) for name in noise]
    for place, name in enumerate(noise):
        room = budget - sum(cheapest[place + 1 :])
        grown = [
            (cost + costs[name][bits], lost + noise[name][bits], (*chosen, bits))
            for cost, lost, chosen in frontier
            for bits in noise[name]
            if cost + costs[name][bits] <= room
        ]
        frontier = _thinned(_undominated(grown))
    if not frontier:
        return None
    best = min(frontier, key=lambda entry: entry[1])
    return dict(zip(noise, best[2], strict=True))


def _undominated(entries: list[tuple]) -> list[tuple]:
    kept, least = [], math.inf
    for entry in sorted(entries):
        if entry[1] < least:
            kept.append(entry)
            least = entry[1]
    return kept


def _thinned(entries: list[tuple]) -> list[tuple]:
    if len(entries) <= FRONTIER:
        return entries
    places = np.unique(np.linspace(0, len(entries) - 1, FRONTIER).astype(int))
    return [entries[at] for at in places]
