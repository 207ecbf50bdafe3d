"""The training loop: one function, settings in a frozen value, a teacher by choice."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from gluonzip.training.batches import pairs
from gluonzip.training.progress import Progress, Silent


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


def fit(
    net: Any,
    data: Iterable[Any],
    training: Training,
    *,
    teacher: Any = None,
    loss: Any = None,
    progress: Progress | None = None,
    label: str = "train",
    on_epoch: Callable[[int], None] | None = None,
) -> list[float]:
    """Train ``net`` in place on passes over ``data``; return the mean loss of each epoch.

    ``loss``: a Gluon loss of (outputs, labels), by default softmax cross-entropy; with a
    ``teacher`` (any callable on a batch), of (outputs, teacher's outputs, labels), such as
    :class:`gluonzip.gluon.DistillationLoss`. ``on_epoch`` is called with the number (from 0) of
    each epoch before it begins; it may prune ``net``.
    """
    import mxnet as mx

    loss = loss or mx.gluon.loss.SoftmaxCrossEntropyLoss()
    trainer = mx.gluon.Trainer(net.collect_params(), training.optimizer, _options(training))
    batches, history = _length(data), []
    with (progress or Silent()).task(label, training.epochs) as task:
        for epoch in range(training.epochs):
            if on_epoch is not None:
                on_epoch(epoch)
            # Summed on the device: reading each batch's loss would stop MXNet's queue.
            total, count = mx.nd.zeros((1,)), 0
            for step, (images, labels) in enumerate(pairs(data)):
                within = step / batches if batches else 0.0
                trainer.set_learning_rate(training.rate((epoch + within) / training.epochs))
                total = total + _step(net, trainer, loss, teacher, images, labels)
                count += len(labels)
            history.append(float(total.asscalar()) / count)
            task.advance(f"loss {history[-1]:.4f}")
    mx.nd.waitall()
    return history


def _step(net: Any, trainer: Any, loss: Any, teacher: Any, images: Any, labels: Any) -> Any:
    """One update; returns the batch's summed loss as an NDArray (1,)."""
    import mxnet as mx

    targets = (labels,) if teacher is None else (teacher(images), labels)
    with mx.autograd.record():
        losses = loss(net(images), *targets)
    losses.backward()
    trainer.step(len(labels))
    return losses.detach().sum()


def _options(training: Training) -> dict[str, float]:
    options = {"learning_rate": training.learning_rate, "wd": training.weight_decay}
    if training.optimizer in ("sgd", "nag"):
        options["momentum"] = 0.9
    return options


def _length(data: Iterable[Any]) -> int:
    """Batches in a pass, or 0 when ``data`` cannot tell (the rate then falls once an epoch)."""
    try:
        return len(data)  # type: ignore[arg-type]
    except TypeError:
        return 0
