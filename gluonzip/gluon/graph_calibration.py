"""Ranges of a traced graph's activations, measured fast: by the engine, or else by MXNet."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np

from gluonzip.errors import ConfigError, UnsupportedError
from gluonzip.gluon._mxnet import mx
from gluonzip.gluon.arrays import view
from gluonzip.gluon.batches import batches
from gluonzip.gluon.structure import Block
from gluonzip.gluon.tracing import Traced, trace_net
from gluonzip.graph.ir import Graph
from gluonzip.passes.quantize import activation_points, calibrate
from gluonzip.passes.quantize.observers import needs_histogram
from gluonzip.runtime import CalibrationEngine
from gluonzip.spec import ActivationQuantization

MEMORY = 128 * 2**20
"""Bytes of activations that MXNet may keep at a time: larger batches run in parts, which is
faster, too."""

ENGINE_ROWS = 16
"""Rows of a batch that the engine takes at a time."""


def calibrate_graph(
    net: Block,
    graph: Graph,
    data: Any,
    skip: Collection[str] = (),
    activations: ActivationQuantization | None = None,
    threads: int | None = None,
) -> dict[str, float]:
    """What :func:`gluonzip.passes.quantize.calibrate` finds, fast: by the engine, or by MXNet if
    ``graph`` has an operator that the engine lacks.

    ``graph`` is ``trace(net, ...)``, optimized or not (passes keep the names of tensors that are
    left). ``data``: as for :func:`gluonzip.gluon.calibrate`. ``skip``: layers that stay float32.
    ``activations`` names the observer. ``threads`` of the engine, by default all cores. Returns the
    range of each activation to be quantized, for ``insert_fake_quantize``. Raises DataError as
    ``calibrate``, UnsupportedError if a tensor of ``graph`` is not one of ``net`` and MXNet has to
    run.
    """
    shapes = graph.meta.get("input_shapes")
    if not shapes:
        raise ConfigError("calibrate_graph needs a graph made by gluonzip.gluon.trace(net, ...)")
    activations = activations or ActivationQuantization()
    names = tuple(activation_points(graph, skip))
    try:
        run: Any = CalibrationEngine(graph, threads)
        run.prepare(names, histogram=needs_histogram(activations.observer))
        rows = ENGINE_ROWS
    except UnsupportedError:
        traced = trace_net(net, *map(tuple, shapes), names=[i.name for i in graph.inputs])
        run, rows = _Runner(traced), _rows_at_once(traced, names)
    inputs = (part for batch in batches(data) for part in _parts(tuple(map(view, batch)), rows))
    return calibrate(graph, inputs, run, skip, activations)


def _rows_at_once(traced: Traced, names: Collection[str]) -> int:
    """How many rows of a batch keep no more than MEMORY bytes alive; 0 for any number."""
    if any(node.op == "opaque" for node in traced.graph.nodes):
        return 0  # axis 0 might be time
    shapes = [traced.shapes.get(traced.entries.get(name)) for name in names]
    kept = 4 * sum(math.prod(shape) for shape in shapes if shape)
    nominal = min(shape[0] for shape in traced.graph.meta["input_shapes"])
    return max(1, MEMORY * nominal // max(kept, 1))


def _parts(batch: tuple[np.ndarray, ...], rows: int) -> Iterator[tuple[np.ndarray, ...]]:
    count, *others = {len(array) for array in batch}
    if others or not rows or rows >= count:
        yield batch
        return
    for start in range(0, count, rows):
        yield tuple(array[start : start + rows] for array in batch)


class _Runner:
    """Runs the network of a trace; keeps the tensors that are asked for."""

    def __init__(self, traced: Traced) -> None:
        self.traced = traced
        self.names: tuple[str, ...] = ()
        self.operator: Any = None
        self.arguments: list[str] = []

    def __call__(
        self, graph: Graph, batch: tuple[np.ndarray, ...], keep: Collection[str]
    ) -> tuple[list[np.ndarray], Mapping[str, np.ndarray]]:
        inputs = {i.name: mx.nd.array(a) for i, a in zip(graph.inputs, batch, strict=True)}
        kept = {name: batch[at] for at, name in enumerate(inputs) if name in keep}
        self._prepare(tuple(name for name in keep if name not in inputs))
        if self.names:
            values = {**self.traced.values, **inputs}
            with mx.autograd.pause(train_mode=False):
                found = self.operator(*[values[name] for name in self.arguments])
            found = found if isinstance(found, list) else [found]
            kept.update(zip(self.names, map(view, found), strict=True))
        return [], kept

    def _prepare(self, names: tuple[str, ...]) -> None:
        if names == self.names:
            return
        foreign = [name for name in names if name not in self.traced.entries]
        if foreign:
            raise UnsupportedError(
                f"tensors {', '.join(foreign[:5])} of the graph are not in the network; trace it "
                "again, or calibrate with gluonzip.passes.quantize.calibrate"
            )
        symbol = self.traced.symbol.select([self.traced.entries[name] for name in names])
        self.names, self.operator = names, mx.nd.CachedOp(symbol)
        self.arguments = symbol.list_inputs()
