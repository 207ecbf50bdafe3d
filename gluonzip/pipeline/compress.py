"""The one call: a network through the stages of a recipe, packed, run and measured."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gluonzip._version import __version__
from gluonzip.archive import to_bytes, write
from gluonzip.errors import ConfigError, DataError
from gluonzip.graph import Graph
from gluonzip.pipeline.errors_of_layers import errors_of_layers
from gluonzip.pipeline.graphs import independent, to_graph
from gluonzip.pipeline.open_archive import leaves, open_archive
from gluonzip.pipeline.result import Result
from gluonzip.recipe import Job, Recipe, load
from gluonzip.report import Report, Stage, measure
from gluonzip.report.machine import machine
from gluonzip.runtime import cores
from gluonzip.training import Progress, Silent, accuracy, pairs, snapshot


def compress(
    net: Any,
    recipe: str | Path | Mapping[str, Any] | Recipe,
    *,
    train_data: Iterable[Any] | None = None,
    calibration_data: Iterable[Any] | None = None,
    validation_data: Iterable[Any] | None = None,
    teacher: Any = None,
    threads: int | None = None,
    progress: Progress | None = None,
    checkpoints: str | Path | None = None,
) -> Result:
    """Run the stages of ``recipe`` on ``net``, in place, and measure dense against compressed.

    Any network that traces will do: several inputs, nested outputs. Operators that the engine lacks
    run in MXNet between its segments (``report.partition`` lists them).

    ``recipe``: a :class:`gluonzip.recipe.Recipe`, an equal mapping, a YAML file or a built-in name;
    its ``network`` and ``data`` are not used. ``net``: an initialized Gluon network. Data:
    iterables of batches (inputs, labels) that can be gone through again and again (a Gluon
    DataLoader, an ``mx.io`` iterator, :class:`gluonzip.training.Batches`, a list); those of
    ``calibration_data`` need no labels, and several inputs come as a tuple: ``((x, y), labels)``.
    ``validation_data`` only measures (top-1 accuracy, of a network of one output); nothing is
    chosen by it. ``teacher``: any callable on a batch, by default the network as it is before the
    first stage that compresses. ``threads`` of the engine, by default all cores. ``checkpoints``: a
    folder; the same call with the same folder goes on where a killed one stopped, and ends as an
    unbroken one would.

    Seeds MXNet's and NumPy's global generators with ``recipe.seed``.

    Raises ConfigError (recipe, missing data), PatternError (a layer pattern that matches nothing;
    before anything is trained), DataError (unusable data or weights), TraceError.
    """
    recipe = load(recipe)
    job = Job(net, train_data, calibration_data, teacher, progress or Silent())
    job.checkpoints = None if checkpoints is None else Path(checkpoints)
    return _Run(recipe, job, validation_data, threads).run()


class _Run:
    """One pass through the stages: what has to be remembered on the way."""

    def __init__(
        self, recipe: Recipe, job: Job, validation_data: Iterable[Any] | None, threads: int | None
    ) -> None:
        self.recipe, self.job = recipe, job
        self.validation_data, self.threads = validation_data, threads or cores()
        self.sample = _first_inputs(
            validation_data=validation_data,
            calibration_data=job.calibration_data,
            train_data=job.train_data,
        )
        self.stages: list[Stage] = []
        self.dense: Any = None
        self.dense_weights: dict[str, np.ndarray] = {}
        self.dense_graph: Graph | None = None
        self.begin = self.stage_begin = time.perf_counter()

    def run(self) -> Result:
        _seed(self.recipe.seed)
        for stage in self.recipe.stages:
            stage.check(self.job)
        graph = self._graph()  # a network that cannot be traced, or has no values, fails now
        if self.validation_data is not None and len(graph.outputs) != 1:
            raise ConfigError(
                "validation_data measures the top-1 accuracy of class scores, but the network has "
                f"{len(graph.outputs)} outputs; leave it out and evaluate the result yourself"
            )
        for stage in self.recipe.stages:
            if stage.compresses and self.dense is None:
                self._keep_dense()
            stage.run(self.job)
            if stage.compresses:
                self._note_stage(stage.method)
        if self.dense is None:
            self._keep_dense()
        return self._result()

    # ------------------------------------------------------------ on the way
    def _keep_dense(self) -> None:
        """The network is dense now: keep a copy to compare with, and as the teacher."""
        import mxnet as mx

        from gluonzip.gluon.distill.teacher import frozen_copy

        self.dense = snapshot(self.job.net, *map(mx.nd.array, self.sample))
        self.dense_weights = measure.effective_weights(self.job.net)
        self.dense_graph = independent(self._graph())
        if self.job.teacher is None:
            # With its layers, so that features can be tapped (the snapshot is one symbol).
            self.job.teacher = frozen_copy(self.job.net)
        self._note_stage("dense")

    def _note_stage(self, name: str) -> None:
        taken = {stage.name for stage in self.stages}
        numbered = (f"{name} {i}" for i in range(2, len(taken) + 3))
        name = name if name not in taken else next(n for n in numbered if n not in taken)
        right = (
            None if self.validation_data is None else accuracy(self.job.net, self.validation_data)
        )
        size = len(to_bytes(self._graph(), self._meta()))
        now = time.perf_counter()
        self.stages.append(Stage(name, right, size, now - self.stage_begin))
        self.stage_begin = now

    def _graph(self) -> Graph:
        shapes = [x.shape for x in self.sample]
        return to_graph(self.job.net, shapes, self.recipe.name, self.job.storage)

    def _meta(self) -> dict[str, Any]:
        """What goes with the archive: the recipe, and what it led to."""
        return {
            "origin": {"gluonzip": __version__, "network": type(self.job.net).__name__},
            "recipe": self.recipe.model_dump(mode="json", exclude_defaults=True),
            "report": {s.name: {"accuracy": s.accuracy} for s in self.stages},
        }

    # ------------------------------------------------------------ at the end
    def _result(self) -> Result:
        graph, meta = self._graph(), self._meta()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "network.glz"
            info = write(path, graph, meta)
            engine = open_archive(path, self.threads)
        scores = None
        if self.validation_data is not None:
            scores = _scores(self.job.net, engine, self.validation_data)
        net = self.job.net
        report = Report(
            name=self.recipe.name,
            machine=machine(self.threads, engine.isa),
            samples=0 if scores is None else len(scores[2]),
            dense_bytes=_dense_bytes(self.dense),
            dense_accuracy=self.stages[0].accuracy,
            engine_accuracy=None if scores is None else _share_right(scores[1], scores[2]),
            stages=tuple(self.stages),
            layers=measure.layer_facts(net, graph, info, self.job.records),
            archive=measure.archive_bytes(info),
            latency=measure.latencies(
                # Detectors may allow one image at a time.
                _prepared(self.dense),
                engine,
                self.sample,
                (1,) if engine.partition else (1, 64),
            ),
            agreement=None if scores is None else measure.agreement(scores[0], scores[1]),
            histograms=measure.histograms(self.dense_weights, measure.effective_weights(net)),
            seconds=time.perf_counter() - self.begin,
            diagnosis=errors_of_layers(self.dense_graph, graph, self.sample, self.threads),
            partition=engine.partition,
        )
        return Result(net, graph, report, meta)


def _seed(seed: int) -> None:
    import mxnet as mx

    mx.random.seed(seed)
    np.random.seed(seed)


def _first_inputs(
    calibration_data: Iterable[Any] | None, **labelled: Iterable[Any] | None
) -> tuple[np.ndarray, ...]:
    """The first batch of inputs of the first data given, as NumPy; each must have a batch."""
    from gluonzip.gluon.batches import batches

    sources = {}
    if calibration_data is not None:
        sources["calibration_data"] = batches(calibration_data)
    sources |= {name: pairs(data) for name, data in labelled.items() if data is not None}
    found = []
    for name, data in sources.items():
        try:
            first = next(iter(data))
        except DataError as error:
            raise DataError(f"{name}: {error}") from None
        found.append(first if name == "calibration_data" else first[:1])
    if not found:
        raise ConfigError(
            "compress needs data: give train_data, calibration_data or validation_data"
        )
    return tuple(x.asnumpy() for x in found[0])


def _dense_bytes(dense: Any) -> int:
    return 4 * sum(p.data().size for p in dense.collect_params().values())


def _prepared(net: Any) -> Callable[..., Callable[[], object]]:
    """``net`` as the latency measurement wants it: a batch to a call that waits for the answer."""
    import mxnet as mx

    net.hybridize(static_alloc=True, static_shape=True)

    def prepare(*arrays: np.ndarray) -> Callable[[], object]:
        batch = [mx.nd.array(x) for x in arrays]
        return lambda: [y.wait_to_read() for y in leaves(net(*batch))]

    return prepare


def _scores(
    net: Any, engine: Any, data: Iterable[Any]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Outputs of the simulated network, outputs of the engine, and labels, over one pass."""
    simulated, measured, labels = [], [], []
    for inputs, answers in pairs(data):
        simulated.append(net(inputs).asnumpy())
        measured.append(engine(inputs.asnumpy()))
        labels.append(answers.asnumpy())
    return tuple(np.concatenate(part) for part in (simulated, measured, labels))


def _share_right(scores: np.ndarray, labels: np.ndarray) -> float:
    return float((scores.argmax(axis=1) == labels).mean())
