"""The engine in the interpreter's place while ranges of activations are measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from gluonzip.graph import Graph
from gluonzip.passes.quantize.peaks import with_outputs, with_peaks
from gluonzip.runtime.engine import Engine

Narrow = Callable[[Graph, Sequence[str]], Graph]


class CalibrationEngine:
    """Runs ``graph`` for :func:`gluonzip.passes.quantize.calibrate` (its ``run``), many times
    faster than the interpreter.

    Where only the largest magnitudes are asked for, they are found inside the engine and no
    activation leaves it. ``threads``: as for :class:`Engine`. Raises UnsupportedError, when
    prepared or first run, for an operator that the engine lacks.
    """

    def __init__(self, graph: Graph, threads: int | None = None) -> None:
        self._graph, self._threads = graph, threads
        self._engines: dict[tuple[Narrow, tuple[str, ...]], Engine] = {}

    def prepare(self, names: Sequence[str], histogram: bool) -> None:
        """Make the engine for these tensors now: whole (``histogram``), or their peaks."""
        if histogram:
            self._engine(with_outputs, tuple(n for n in names if n not in self._input_names()))
        else:
            self._engine(with_peaks, tuple(names))

    def __call__(
        self, graph: Graph, batch: object, keep: Sequence[str] = ()
    ) -> tuple[list[np.ndarray], dict[str, np.ndarray]]:
        """([], the tensors ``keep`` by name)."""
        inputs = self._inputs(batch)
        kept = {name: inputs[name] for name in keep if name in inputs}
        others = tuple(name for name in keep if name not in inputs)
        kept.update(zip(others, self._run(with_outputs, others, inputs), strict=True))
        return [], kept

    def peaks(self, batch: object, names: Sequence[str]) -> dict[str, np.ndarray]:
        """The lowest and highest of 0 and each row (along axis 0) of the tensors ``names``."""
        names = tuple(names)
        return dict(zip(names, self._run(with_peaks, names, self._inputs(batch)), strict=True))

    def _run(
        self, narrow: Narrow, names: tuple[str, ...], inputs: Mapping[str, np.ndarray]
    ) -> tuple[np.ndarray, ...]:
        if not names:
            return ()
        outputs = self._engine(narrow, names)(*(inputs[name] for name in self._input_names()))
        return outputs if isinstance(outputs, tuple) else (outputs,)

    def _engine(self, narrow: Narrow, names: tuple[str, ...]) -> Engine:
        if (narrow, names) not in self._engines:
            graph = narrow(self._graph, names)
            self._engines[narrow, names] = Engine.from_graph(graph, self._threads, raw=True)
        return self._engines[narrow, names]

    def _input_names(self) -> list[str]:
        return [i.name for i in self._graph.inputs]

    def _inputs(self, batch: object) -> dict[str, np.ndarray]:
        if isinstance(batch, Mapping):
            return dict(batch)
        arrays = [batch] if isinstance(batch, np.ndarray) else list(batch)
        return dict(zip(self._input_names(), arrays, strict=True))
