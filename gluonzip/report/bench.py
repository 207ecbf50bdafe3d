"""Latency of an archive by batch and threads, and its profile by layer. Needs no MXNet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from gluonzip.errors import ConfigError
from gluonzip.report.facts import Machine
from gluonzip.report.latency import alternate
from gluonzip.report.tables import Table, milliseconds, percent
from gluonzip.runtime import Engine


@dataclass(frozen=True)
class Timing:
    """Median milliseconds of a call over ``calls`` calls."""

    batch: int
    threads: int
    isa: str
    milliseconds: float
    calls: int

    @property
    def per_second(self) -> float:
        """Samples a second."""
        return 1000 * self.batch / self.milliseconds


@dataclass(frozen=True)
class Bench:
    """``profile``: rows of :meth:`gluonzip.runtime.Engine.profile` at ``profile_batch``."""

    name: str
    timings: tuple[Timing, ...]
    profile_batch: int
    profile: tuple[dict[str, Any], ...]


def bench(
    path: Path,
    batches: Sequence[int],
    threads: Sequence[int | None],
    isa: str | None = None,
    shape: tuple[int, ...] | None = None,
) -> Bench:
    """Time the archive at ``path`` on seeded random inputs.

    ``shape``: of one sample, where the archive leaves axes open. Raises as ``Engine.load``.
    """
    engines = [Engine.load(path, threads=n, isa=isa) for n in threads]
    timings = []
    for batch in batches:
        inputs = random_inputs(engines[0], batch, shape)
        calls = [partial(engine, *inputs) for engine in engines]
        medians, count = alternate(calls)
        timings += [
            Timing(batch, engine.threads, engine.isa, median, count)
            for engine, median in zip(engines, medians, strict=True)
        ]
    profile = engines[-1].profile(*random_inputs(engines[-1], batches[0], shape))
    return Bench(engines[0].name, tuple(timings), batches[0], tuple(profile))


def random_inputs(engine: Engine, batch: int, shape: tuple[int, ...] | None) -> list[np.ndarray]:
    """Normal values for each input. ConfigError when an axis is open and ``shape`` does not say."""
    rng = np.random.default_rng(0)
    arrays = []
    for name, nominal, _ in engine.inputs:
        rest = shape or nominal[1:]
        if 0 in rest or len(rest) != len(nominal) - 1:
            wanted = "x".join("?" if n == 0 else str(n) for n in nominal[1:])
            raise ConfigError(f"input {name!r} takes samples of shape {wanted}; give --shape")
        arrays.append(rng.standard_normal((batch, *rest)).astype(np.float32))
    return arrays


def tables(facts: Bench, machine: Machine) -> list[Table]:
    """Latency, and where the time goes."""
    timings = tuple(
        (f"{t.batch}", f"{t.threads}", t.isa, milliseconds(t.milliseconds), f"{t.per_second:,.0f}")
        for t in facts.timings
    )
    latency = Table(
        f"{facts.name}: latency",
        ("batch", "threads", "ISA", "median", "samples a second"),
        timings,
        left=0,
        wide=frozenset({2}),
        note=f"{machine.cpu}, {machine.cores} cores; medians of {facts.timings[0].calls} calls",
    )
    rows = tuple(
        (
            row["name"],
            row["op"],
            row["kernel"],
            milliseconds(row["milliseconds"]),
            percent(row["share"], 1),
            f"{row['macs']:,}",
        )
        for row in facts.profile
    )
    header = ("layer", "operator", "kernel", "median", "share", "multiply-accumulates")
    return [
        latency,
        Table(f"Where the time goes, batch {facts.profile_batch}", header, rows, left=3),
    ]
