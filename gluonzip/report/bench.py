"""Latency of an archive by batch and threads, and its profile by layer. Needs no MXNet."""

from __future__ import annotations

import time
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
    limits: dict[str, float]
    throughputs: tuple[Throughput, ...] = ()


@dataclass(frozen=True)
class Throughput:
    """Samples a second with ``streams`` calls under way at once."""

    batch: int
    streams: int
    threads: int
    per_second: float


def bench(
    path: Path,
    batches: Sequence[int],
    threads: Sequence[int | None],
    isa: str | None = None,
    shape: tuple[int, ...] | None = None,
    streams: Sequence[int] = (),
    tune: bool = False,
) -> Bench:
    """Time the archive at ``path`` on seeded random inputs.

    ``shape``: of one sample, where the archive leaves axes open. ``streams``: numbers of calls
    under way at once whose throughput is measured, with the last of ``threads``. ``tune``: measure
    each layer's fastest way first. Raises as ``Engine.load`` and ``Engine.streams``.
    """
    engines = [Engine.load(path, threads=n, isa=isa) for n in threads]
    timings: list[Timing] = []
    for batch in batches:
        inputs = random_inputs(engines[0], batch, shape)
        if tune:
            for engine in engines:
                engine.tune(*inputs)
        calls = [partial(engine, *inputs) for engine in engines]
        medians, count = alternate(calls)
        timings += [
            Timing(batch, engine.threads, engine.isa, median, count)
            for engine, median in zip(engines, medians, strict=True)
        ]
    profile = engines[-1].profile(*random_inputs(engines[-1], batches[0], shape))
    rates = [
        throughput(engines[-1], count, random_inputs(engines[-1], batch, shape))
        for batch in batches
        for count in streams
    ]
    limits = engines[-1].limits()
    return Bench(engines[0].name, tuple(timings), batches[0], tuple(profile), limits, tuple(rates))


def throughput(
    engine: Engine, streams: int, inputs: Sequence[np.ndarray], seconds: float = 1.0
) -> Throughput:
    """Calls of ``engine.streams(streams)`` as fast as they go, for about so many seconds."""
    several, batch = engine.streams(streams), len(inputs[0])
    warm_up = 2 * streams
    begin = time.perf_counter()
    for _ in several.map([inputs] * warm_up):
        pass
    each = (time.perf_counter() - begin) / warm_up
    calls = max(3 * streams, int(seconds / each))
    begin = time.perf_counter()
    for _ in several.map([inputs] * calls):
        pass
    took = time.perf_counter() - begin
    return Throughput(batch, streams, engine.threads, calls * batch / took)


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
            f"{row['macs_per_second'] / 1e9:,.1f}",
            f"{row['bytes_per_second'] / 1e9:,.1f}",
            f"{percent(row['share_of_limit'], 0)} {_LIMITS[row['limit']]}",
        )
        for row in facts.profile
    )
    header = ("layer", "operator", "kernel", "median", "share", "multiply-accumulates")
    header += ("G MAC/s", "GB/s", "of the limit")
    title = f"Where the time goes, batch {facts.profile_batch}"
    made = [latency, Table(title, header, rows, left=3, note=_limits_note(facts.limits))]
    chosen = tuple(
        (row["name"], row["kernel"], row["note"])
        for row in facts.profile
        if row["note"] and not row["note"].startswith("100%")
    )
    if chosen:
        columns = ("layer with zeros", "kernel", "why")
        made.append(Table("Dense or sparse", columns, chosen, left=3, wide=frozenset({2})))
    if facts.throughputs:
        cells = tuple(
            (f"{t.batch}", f"{t.streams}", f"{t.threads}", f"{t.per_second:,.0f}")
            for t in facts.throughputs
        )
        columns = ("batch", "streams", "threads in all", "samples a second")
        made.insert(1, Table(f"{facts.name}: throughput", columns, cells, left=0))
    return made


_LIMITS = {"s8": "int8", "f32": "float32", "memory": "memory"}


def _limits_note(limits: dict[str, float]) -> str:
    return (
        f"limits of this machine, measured: {limits['s8'] / 1e9:,.0f} G int8 and "
        f"{limits['f32'] / 1e9:,.0f} G float32 multiply-accumulates, "
        f"{limits['memory'] / 1e9:,.1f} GB read a second; what caches hold can exceed the last"
    )
