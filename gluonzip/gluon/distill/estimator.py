"""Distillation in the Gluon Estimator."""

from __future__ import annotations

from typing import Any

from mxnet.gluon.contrib.estimator import BatchProcessor
from mxnet.gluon.utils import split_and_load

from gluonzip.errors import ConfigError
from gluonzip.gluon._mxnet import mx
from gluonzip.gluon.distill.distiller import Distiller
from gluonzip.gluon.distill.lessons import Lessons


class DistillationProcessor(BatchProcessor):
    """Trains the Estimator's network by a :class:`Distiller`; evaluation stays as it is.

        distiller = Distiller(student, teacher)
        trainer = Trainer(distiller.collect_params(), "adam")
        Estimator(student, loss, trainer=trainer, batch_processor=DistillationProcessor(distiller))

    With ``lessons`` (:meth:`Distiller.remember`) batches are (inputs, labels, rows).
    """

    def __init__(self, distiller: Distiller, lessons: Lessons | None = None) -> None:
        super().__init__()
        self.distiller, self.lessons = distiller, lessons

    def fit_batch(self, estimator: Any, train_batch: Any, batch_axis: int = 0) -> tuple:
        if estimator.net is not self.distiller.student:
            raise ConfigError("the Estimator's network is not the student of this Distiller")
        data, label = self._get_data_and_label(train_batch, estimator.context, batch_axis)
        if self.lessons is None:
            taught = [self.distiller.teach(x) for x in data]
        else:
            rows = split_and_load(_rows(train_batch), estimator.context, batch_axis)
            taught = [self.lessons[part] for part in rows]
        outputs, losses = [], []
        with mx.autograd.record():
            for x, y, lesson in zip(data, label, taught, strict=True):
                outputs.append(estimator.net(x))
                losses.append(self.distiller.loss(outputs[-1], lesson, y))
        for loss in losses:
            loss.backward()
        return data, label, outputs, losses


def _rows(batch: Any) -> Any:
    if len(batch) < 3:
        raise ConfigError(
            "cached lessons need batches of (inputs, labels, rows): give the data set a third "
            "array, numpy.arange(len(inputs))"
        )
    return batch[2]
