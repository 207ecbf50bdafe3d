"""The training loop: one function, settings in a frozen value; a teacher, handlers, checkpoints
and other machines by choice."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from gluonzip.training.checkpoint import Checkpoints
from gluonzip.training.progress import Progress


@dataclass(frozen=True)
class Training:
    """How to train. The learning rate falls along half a cosine to ``final`` times its start."""

    epochs: int
    learning_rate: float = 1e-3
    optimizer: str = "adam"
    weight_decay: float = 0.0
    final: float = 0.01

    def rate(self, done: float) -> float:
        """Learning rate when the share ``done`` (0 to 1) is over; Loshchilov and Hutter 2016."""
        fall = (1 + math.cos(math.pi * min(done, 1.0))) / 2
        return self.learning_rate * (self.final + (1 - self.final) * fall)

    def options(self) -> dict[str, float]:
        """Arguments of the MXNet optimizer."""
        options = {"learning_rate": self.learning_rate, "wd": self.weight_decay}
        if self.optimizer in ("sgd", "nag"):
            options["momentum"] = 0.9
        return options


def fit(
    net: Any,
    data: Iterable[Any],
    training: Training,
    *,
    teacher: Any = None,
    loss: Any = None,
    distiller: Any = None,
    lessons: Any = None,
    handlers: Sequence[Any] = (),
    checkpoints: Checkpoints | None = None,
    cluster: Any = None,
    progress: Progress | None = None,
    label: str = "train",
    on_epoch: Callable[[int], None] | None = None,
) -> list[float]:
    """Train ``net`` in place on passes over ``data``; return the mean loss of each epoch.

    ``loss``: a Gluon loss of (outputs, labels), by default softmax cross-entropy; with a
    ``teacher`` (any callable on a batch), of (outputs, teacher's outputs, labels), such as
    :class:`gluonzip.gluon.DistillationLoss`. ``distiller``
    (:class:`gluonzip.gluon.Distiller`, whose student is ``net``) takes the place of both; with
    ``lessons`` (``distiller.remember``) batches are (inputs, labels, rows).

    ``handlers``: :class:`gluonzip.gluon.Scheduled` and :class:`gluonzip.gluon.Pruner`, told of each
    epoch and each batch before it begins, and of the end; they prune, quantize, weigh losses.
    ``on_epoch`` is called with the number (from 0) of each epoch before it begins; it may prune
    ``net``.

    ``checkpoints``: the run goes on from the newest one, if there is one, exactly as if it had
    never stopped. ``cluster`` (:class:`gluonzip.training.Cluster`): train together with other
    workers.

    Raises DivergedError when a loss or gradient is not finite, before it reaches the weights;
    CheckpointError when a checkpoint belongs to another network or other settings.
    """
    from gluonzip.training.loop import Lesson, Loop

    source = Lesson(net, teacher, loss, distiller, lessons)
    loop = Loop(net, data, training, source, handlers, checkpoints, cluster, on_epoch)
    return loop.run(progress, label)
