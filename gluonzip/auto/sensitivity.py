"""What each layer bears: accuracy or output error against sparsity or bits, one layer at a time.

Li et al. 2017 (https://arxiv.org/abs/1608.08710) prune by such curves. Nothing in front of the
layer that changes depends on it: those activations are computed once and kept.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np

from gluonzip.auto.changes import Change, change_of
from gluonzip.auto.checkpoint import Checkpoint, digest_of, fingerprint
from gluonzip.auto.data import batches, chunks
from gluonzip.auto.layer import chosen_names, layers_of
from gluonzip.auto.scoring import Evaluate, Scorer
from gluonzip.auto.segments import Cuts, Values, reoriented, replaced
from gluonzip.auto.source import Source, open_source
from gluonzip.auto.tally import Tally
from gluonzip.errors import ConfigError, DataError, ShapeError
from gluonzip.graph import OPS, Constant, Graph
from gluonzip.graph.interpret import bind
from gluonzip.graph.statistics import macs
from gluonzip.passes import fold_constants
from gluonzip.passes.quantize import simulate
from gluonzip.report.sensitivity import LayerSensitivity, Sensitivity
from gluonzip.spec import Granularity, PerTensor, SparsityPattern
from gluonzip.spec import granularity as named_granularity
from gluonzip.training.progress import Progress, Silent

MEMORY = 512 * 2**20
"""Bytes of activations to keep: more data runs in chunks."""


def sensitivity(
    network: Any,
    data: Any,
    *,
    method: str | Change = "sparsity",
    levels: Sequence[float] | None = None,
    layers: str | Sequence[str] | None = None,
    evaluate: Evaluate | None = None,
    pattern: str | SparsityPattern | None = None,
    granularity: str | Granularity = PerTensor(),  # noqa: B008 (frozen)
    samples: int | None = None,
    checkpoint: str | os.PathLike | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Sensitivity:
    """Each layer of ``network`` compressed alone, at each level, and what that costs on ``data``.

    ``network``: a Gluon network, a Graph or the path of an archive; it is left as it is. ``data``:
    an array, a tuple (inputs, labels) or an iterable of batches. The outputs' error is always
    measured; with labels so is the score: top-1 accuracy for outputs (N, classes) and labels (N,),
    or ``evaluate(outputs, labels)``, a number or one number a sample, averaged over the samples
    (``outputs``: an array, or a tuple of them).

    ``method``: ``sparsity`` (smallest weights, or units of a ``pattern`` such as ``"4x1"``),
    ``bits`` (weights in integers of a ``granularity``; ``per_tensor`` or ``per_channel``), or a
    function of your own from a weight (output channels first) and a level to a weight; ``levels``:
    from mild to harsh. ``layers``:
    names or globs. ``checkpoint``: a JSON file to go on from after an interruption. Ctrl-C returns
    what was found so far (``complete`` is False). ``threads``: of the engine that runs it all.

    Raises ConfigError, PatternError, DataError, ShapeError, UnsupportedError (an operator that
    neither engine nor interpreter has, by name).
    """
    name, change, chosen = change_of(
        method, None if levels is None else tuple(levels), pattern, named_granularity(granularity)
    )
    if samples is not None and samples < 1:
        raise ConfigError(f"samples = {samples} must be at least 1")
    run = _Run(name, change, chosen, Scorer(evaluate), threads, progress or Silent())
    settings = repr((pattern, granularity, samples, getattr(evaluate, "__name__", "")))
    return run.on(network, data, samples, layers, (checkpoint, settings))


class _Run:
    """One measurement: chunk by chunk of the data, layer by layer, level by level."""

    def __init__(
        self,
        method: str,
        change: Change,
        levels: tuple[float, ...],
        scorer: Scorer,
        threads: int | None,
        progress: Progress,
    ) -> None:
        self.method, self.change, self.levels = method, change, levels
        self.score, self.threads, self.progress = scorer, threads, progress
        self.macs = [0, 0]

    def on(
        self, network: Any, data: Any, samples: int | None, layers: Any, saved: tuple[Any, str]
    ) -> Sensitivity:
        stream = batches(data)
        first = next(stream)
        self._open(network, first[0], layers, *saved)
        most = max(1, MEMORY // max(1, self.cuts.bytes_per_row()))
        complete = True
        try:
            for index, piece in enumerate(chunks(chain([first], stream), most, samples)):
                self._chunk(index, *piece)
        except KeyboardInterrupt:
            complete = False
        self.tally.checkpoint.save()
        return self._result(complete)

    def _open(
        self, network: Any, inputs: tuple[np.ndarray, ...], layers: Any, path: Any, settings: str
    ) -> None:
        source = open_source(network, [x.shape for x in inputs], plain=True, run=False)
        self.graph = _in_floats(source.graph)
        found = layers_of(Source(self.graph, "the network"))
        able = [
            name
            for name, node in found.items()
            if node.op in OPS and node.inputs[1] in self.graph.constants
        ]
        if not able:
            raise ConfigError("no layer has a constant weight: there is nothing to vary")
        at = {node.name: index for index, node in enumerate(self.graph.nodes)}
        self.layers = {name: at[name] for name in chosen_names(layers, able)}
        self.cuts = Cuts(self.graph, (at[name] for name in able), self.threads)
        named = (self.method, self.levels, tuple(self.layers), settings)
        self.tally = Tally(Checkpoint(path, fingerprint(self.graph, named)), self.layers)
        self.cost = self._macs(inputs)

    def _macs(self, inputs: tuple[np.ndarray, ...]) -> list[int] | None:
        """Of each node, for one sample; None if an operator's are not known."""
        self._bind(inputs)
        if any(node.op == "opaque" for node in self.graph.nodes):
            return None
        shapes = {i.name: (1, *x.shape[1:]) for i, x in zip(self.graph.inputs, inputs, strict=True)}
        costs = macs(self.graph, shapes)
        return [costs[node.name] for node in self.graph.nodes]

    def _bind(self, inputs: tuple[np.ndarray, ...]) -> Values:
        try:
            return bind(self.graph, list(inputs))
        except ShapeError as error:
            raise ShapeError(f"the data does not fit the network: {error}") from None

    # ------------------------------------------------------------ on the data
    def _chunk(self, index: int, inputs: tuple[np.ndarray, ...], labels: Any) -> None:
        values = self._bind(inputs)
        self.tally.begin(index, digest_of(*inputs, labels))
        reference = self._outputs(self.cuts.run(0, self.cuts.end, values))
        score = self.score(reference, labels)
        if score is not None and not np.isfinite(score):
            raise DataError(f"the score of the unchanged network is {score}")
        self.tally.base(index, len(inputs[0]), score)
        begin = 0
        with self.progress.task(f"chunk {index + 1}", len(self.layers)) as task:
            for name, at in self.layers.items():
                waiting = [n for n in self.levels if self.tally.waits(index, name, n)]
                if waiting:
                    values, begin = self.cuts.run(begin, at, values), at
                for level in waiting:
                    self._point(index, name, level, values, reference, labels)
                if waiting:
                    self.tally.checkpoint.save()
                task.advance(name)

    def _point(
        self,
        index: int,
        name: str,
        level: float,
        values: Values,
        reference: list[np.ndarray],
        labels: Any,
    ) -> None:
        at = self.layers[name]
        found = self.cuts.run(at, self.cuts.end, values, self._changed(at, level))
        outputs = self._outputs(found)
        self.tally.add(index, name, level, self.score(outputs, labels), reference, outputs)
        if self.cost:
            rows = len(reference[0])
            self.macs[0] += rows * sum(self.cost[at:])
            self.macs[1] += rows * sum(self.cost)

    def _changed(self, at: int, level: float) -> dict[str, Constant]:
        """The layer's weight at a level."""
        node = self.graph.nodes[at]
        constant = self.graph.constants[node.inputs[1]]
        axis = OPS[node.op].weight_axis
        weight = reoriented(constant.dense(), axis)
        made = np.asarray(self.change(weight, level))
        what = f"method {self.method!r} at level {level:g}, layer {node.name!r}"
        if made.shape != weight.shape:
            raise ShapeError(f"{what}: the weight {weight.shape} became {made.shape}")
        if not np.isfinite(made).all():
            raise DataError(f"{what}: the weight has values that are not finite")
        return {node.inputs[1]: replaced(constant, reoriented(made, axis))}

    def _outputs(self, values: Values) -> list[np.ndarray]:
        return [values[name] for name in self.graph.outputs]

    def _result(self, complete: bool) -> Sensitivity:
        return Sensitivity(
            network=self.graph.name,
            method=self.method,
            levels=self.levels,
            rows=self.tally.rows,
            score=self.tally.score,
            layers=tuple(
                LayerSensitivity(
                    name, self._weights(at), tuple(self.tally.points(name, self.levels))
                )
                for name, at in self.layers.items()
            ),
            complete=complete,
            macs=tuple(self.macs) if self.cost else None,
            note=self.score.note,
        )

    def _weights(self, at: int) -> int:
        return self.graph.constants[self.graph.nodes[at].inputs[1]].data.size


def _in_floats(graph: Graph) -> Graph:
    """The graph with integers simulated, so that it can be cut anywhere."""
    integers = any(
        node.op == "quantize" or node.attrs.get("out_scale") is not None for node in graph.nodes
    )
    return fold_constants(simulate(graph)) if integers else graph
