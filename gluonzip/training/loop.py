"""What :func:`gluonzip.training.fit` runs."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import mxnet as mx
import numpy as np

from gluonzip.errors import CheckpointError, ConfigError
from gluonzip.gluon.finite import check_step
from gluonzip.training.batches import Batches, rows_of
from gluonzip.training.checkpoint import Checkpoints, Position, trained_parameters
from gluonzip.training.fit import Training
from gluonzip.training.progress import Progress, Silent


class Lesson:
    """Where the loss of a batch comes from: labels, a teacher, or a distiller."""

    def __init__(self, net: Any, teacher: Any, loss: Any, distiller: Any, lessons: Any) -> None:
        if distiller is not None and (teacher is not None or loss is not None):
            raise ConfigError("a distiller has its own teacher and loss; give no others")
        if lessons is not None and distiller is None:
            raise ConfigError("lessons come from a distiller: give it, too")
        if distiller is not None and distiller.student is not net:
            raise ConfigError("the network to train is not the student of the distiller")
        self.net, self.teacher, self.distiller, self.lessons = net, teacher, distiller, lessons
        self.loss = loss or mx.gluon.loss.SoftmaxCrossEntropyLoss()

    def blocks(self) -> dict[str, Any]:
        """Blocks besides the network that are trained."""
        return {} if self.distiller is None else self.distiller.loss_blocks()

    def losses(self, images: Any, labels: Any, rows: Any) -> Any:
        """The losses of a batch, recorded."""
        if self.distiller is not None:
            taught = self._taught(images, rows)
            with mx.autograd.record():
                return self.distiller.loss(self.net(images), taught, labels)
        targets = (labels,) if self.teacher is None else (self.teacher(images), labels)
        with mx.autograd.record():
            return self.loss(self.net(images), *targets)

    def _taught(self, images: Any, rows: Any) -> Any:
        if self.lessons is None:
            return self.distiller.teach(images)
        if rows is None:
            raise ConfigError(
                "cached lessons need batches of (inputs, labels, rows): Batches(..., rows=True)"
            )
        return self.lessons[rows]


class Loop:
    """One run over all epochs."""

    def __init__(
        self,
        net: Any,
        data: Iterable[Any],
        training: Training,
        lesson: Lesson,
        handlers: Sequence[Any],
        checkpoints: Checkpoints | None,
        cluster: Any,
        on_epoch: Callable[[int], None] | None,
    ) -> None:
        self.net, self.data, self.training, self.lesson = net, data, training, lesson
        if lesson.lessons is not None and getattr(data, "augment", None) is not None:
            raise ConfigError("cached lessons are of the images as they are: leave augment out")
        self.handlers, self.checkpoints, self.cluster = list(handlers), checkpoints, cluster
        self.on_epoch = on_epoch
        self.batches = _length(data)
        self.history: list[float] = []
        self.at = Position()
        self.order: dict[str, Any] = {}
        # Summed on the device: reading each batch's loss would stop MXNet's queue twice.
        self.total, self.count = mx.nd.zeros((1,)), 0
        self.trainer: Any = None
        self.values: list[Any] = []

    def run(self, progress: Progress | None, label: str) -> list[float]:
        self._begin()
        with (progress or Silent()).task(label, self.training.epochs) as task:
            for done in self.history:
                task.advance(f"loss {done:.4f}")
            for epoch in range(self.at.epoch, self.training.epochs):
                self._epoch(epoch)
                task.advance(f"loss {self.history[-1]:.4f}")
        for handler in self.handlers:
            getattr(handler, "finish", _nothing)()
        mx.nd.waitall()
        return self.history

    # ------------------------------------------------------------ beginning
    def _begin(self) -> None:
        blocks = (self.net, *self.lesson.blocks().values())
        if self.cluster is not None:
            for block in blocks:
                self.cluster.broadcast(block)
        make = mx.gluon.Trainer if self.cluster is None else self.cluster.trainer
        parameters = trained_parameters(*blocks)
        self.trainer = make(parameters, self.training.optimizer, self.training.options())
        self._introduce()
        if self.checkpoints is not None and self.checkpoints.latest() is not None:
            self._resume(self.checkpoints.restore(self.net, self.trainer, *self._stored()))
        if self.cluster is not None:
            self.cluster.agree("step", self.at.step)
            for block in blocks:
                self.cluster.broadcast(block)

    def _introduce(self) -> None:
        """Handlers that change the trainer's state (rewinding) are given it."""
        for handler in self.handlers:
            if getattr(handler, "trainer", self) is None:
                handler.trainer = self.trainer

    def _check_trained(self) -> None:
        """A parameter to train that came after the trainer was made would stay as it is."""
        held = {id(parameter) for parameter in self.trainer._params}
        for parameter in trained_parameters(self.net):
            if id(parameter) not in held:
                raise ConfigError(
                    f"parameter {parameter.name!r} with a gradient was added while training, so "
                    "the trainer does not have it; add it before fit"
                )

    def _stored(self) -> tuple[dict[str, Any], dict[str, Any]]:
        parts = {f"{i} {type(h).__name__}": h for i, h in enumerate(self.handlers)}
        if self.lesson.distiller is not None:
            parts["distiller"] = self.lesson.distiller
        return parts, self.lesson.blocks()

    def _resume(self, at: Position) -> None:
        settings = dataclasses.asdict(self.training)
        for name, value in at.facts["training"].items():
            if settings[name] != value:
                raise CheckpointError(
                    f"{self.checkpoints.latest()} belongs to a run with {name} = {value!r}, this "
                    f"one has {settings[name]!r}; use another folder for another run"
                )
        self.at, self.history = at, list(at.facts["history"])
        self.total, self.count = mx.nd.array(at.facts["total"]), at.facts["count"]
        self.order = at.facts["order"]
        if isinstance(self.data, Batches):
            self.data.epoch = at.facts["passes"]

    # ------------------------------------------------------------ an epoch
    def _epoch(self, epoch: int) -> None:
        skip = self.at.batch
        now = _generators()
        if skip == 0:
            if self.on_epoch is not None:
                self.on_epoch(epoch)
            for handler in self.handlers:
                handler.epoch()
            self.total, self.count = mx.nd.zeros((1,)), 0
            now = self.order = {**_generators(), "pass": _passes(self.data)}
        for batch, (images, labels, rows) in enumerate(self._batches(skip, now), start=skip):
            self._batch(epoch, batch, images, labels, rows)
        self.history.append(float(self.total.asscalar()) / max(self.count, 1))
        self.at = dataclasses.replace(self.at, epoch=epoch + 1, batch=0)
        self._save()

    def _batches(self, skip: int, now: dict[str, Any]) -> Iterator[tuple[Any, Any, Any]]:
        """The epoch's batches but the first ``skip``, in the order drawn when the epoch began."""
        _set_generators(self.order)
        if self.order["pass"] is not None:
            self.data.epoch = self.order["pass"]
        batches = rows_of(self.data)
        for _ in range(skip):
            next(batches)
        _set_generators(now)
        yield from batches

    def _batch(self, epoch: int, batch: int, images: Any, labels: Any, rows: Any) -> None:
        values = [handler.step() for handler in self.handlers]
        if values != self.values:  # something has changed the network
            self._check_trained()
            self.values = values
        within = batch / self.batches if self.batches else 0.0
        rate = self.training.rate((epoch + within) / self.training.epochs)
        self.trainer.set_learning_rate(rate)
        losses = self.lesson.losses(images, labels, rows)
        losses.backward()
        self._check(losses, images, epoch, batch)
        workers = 1 if self.cluster is None else self.cluster.workers
        self.trainer.step(len(labels) * workers)
        self.total, self.count = self.total + losses.detach().sum(), self.count + len(labels)
        self.at = dataclasses.replace(self.at, step=self.at.step + 1, epoch=epoch, batch=batch + 1)
        last = self.batches == batch + 1
        if self.checkpoints is not None and self.checkpoints.due(self.at.step) and not last:
            self._save()

    def _check(self, losses: Any, images: Any, epoch: int, batch: int) -> None:
        kept = ""
        if self.checkpoints is not None and self.checkpoints.latest() is not None:
            kept = f"the last good checkpoint is {self.checkpoints.latest()}"
        where = f"step {self.at.step} (epoch {epoch}, batch {batch})"
        check_step(self.net, losses, images, where, kept)

    def _save(self) -> None:
        """A checkpoint; and of several workers, the same statistics, masks and scales."""
        if self.cluster is not None:
            self.cluster.synchronize(self.net)
        if self.checkpoints is None or (self.cluster is not None and self.cluster.rank != 0):
            return
        facts = {
            "training": dataclasses.asdict(self.training),
            "history": self.history,
            "total": self.total.asnumpy(),
            "count": self.count,
            "order": self.order,
            "passes": _passes(self.data),
        }
        at = dataclasses.replace(self.at, facts=facts)
        self.checkpoints.save(at, self.net, self.trainer, *self._stored())


def _nothing() -> None:
    pass


def _passes(data: Any) -> int | None:
    return data.epoch if isinstance(data, Batches) else None


def _generators() -> dict[str, Any]:
    return {"numpy": np.random.get_state(), "python": random.getstate()}


def _set_generators(states: dict[str, Any]) -> None:
    np.random.set_state(states["numpy"])
    random.setstate(states["python"])


def _length(data: Iterable[Any]) -> int:
    """Batches in a pass, or 0 when ``data`` cannot tell (the rate then falls once an epoch)."""
    try:
        return len(data)  # type: ignore[arg-type]
    except TypeError:
        return 0
