"""Post-training quantization of any traced network, whoever runs its nodes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from gluonzip.errors import ConfigError
from gluonzip.gluon._mxnet import mx
from gluonzip.gluon.arrays import view
from gluonzip.gluon.batches import batches
from gluonzip.gluon.segments import Program
from gluonzip.graph.ir import Graph
from gluonzip.passes import fold_constants, optimize, simplify
from gluonzip.passes.quantize import (
    activation_points,
    calibrate,
    fake_quantize_weights,
    insert_fake_quantize,
)
from gluonzip.passes.quantize.peaks import with_outputs, with_peaks
from gluonzip.spec import ActivationQuantization, WeightQuantization


class Quantizer:
    """``quantizer(graph)``: a graph of :func:`gluonzip.gluon.trace` in int8, as
    :func:`gluonzip.passes.quantize_graph` makes it.

    ``data``: batches for calibration, as for :func:`gluonzip.gluon.calibrate`. Ranges are measured
    for the first graph, by the engine and, for what it does not run, by MXNet; the same network
    traced for images of another size gets the same ranges. ``skip``: layers that stay float32.
    """

    def __init__(
        self,
        data: Any,
        weights: WeightQuantization | None = None,
        activations: ActivationQuantization | None = None,
        skip: Collection[str] = (),
        threads: int | None = None,
    ) -> None:
        self.data, self.weights, self.activations = data, weights, activations
        self.skip, self.threads = tuple(skip), threads
        self.ranges: dict[str, float] | None = None

    def __call__(self, graph: Graph) -> Graph:
        graph = fake_quantize_weights(fold_constants(graph), self.weights, self.skip)
        graph = simplify(graph)
        if self.ranges is None:
            run = CalibrationProgram(graph, self.threads)
            found = (tuple(map(view, batch)) for batch in batches(self.data))
            self.ranges = calibrate(graph, found, run, self.skip, self.activations)
        points = activation_points(graph, self.skip)
        missing = [name for name in points if name not in self.ranges]
        if missing:
            raise ConfigError(
                f"for this size the network has tensors that the calibration did not see: "
                f"{', '.join(missing[:5])}; make a Quantizer of data of this size"
            )
        ranges = {name: self.ranges[name] for name in points}
        return optimize(
            insert_fake_quantize(graph, ranges, self.weights, self.activations, self.skip)
        )


class CalibrationProgram:
    """A divided graph in the interpreter's place (``run`` of ``calibrate``)."""

    def __init__(self, graph: Graph, threads: int | None = None) -> None:
        self.graph, self.threads = graph, threads
        self._programs: dict[Any, Program] = {}

    def __call__(
        self, graph: Graph, batch: Sequence[np.ndarray], keep: Collection[str] = ()
    ) -> tuple[list[np.ndarray], dict[str, np.ndarray]]:
        return [], self._run(with_outputs, tuple(keep), batch)

    def peaks(self, batch: Sequence[np.ndarray], names: Sequence[str]) -> dict[str, np.ndarray]:
        """The largest magnitude of each row of the tensors ``names``."""
        return self._run(with_peaks, tuple(names), batch)

    def _run(
        self, narrow: Any, names: tuple[str, ...], batch: Sequence[np.ndarray]
    ) -> dict[str, np.ndarray]:
        if not names:
            return {}
        if (narrow, names) not in self._programs:
            self._programs[narrow, names] = Program(narrow(self.graph, names), self.threads)
        arrays = [mx.nd.array(x, dtype=x.dtype) for x in batch]
        found = self._programs[narrow, names](*arrays)
        return dict(zip(names, map(view, found), strict=True))
