"""Softened answers of the teacher."""

from __future__ import annotations

from typing import Any

from gluonzip.gluon.distill.losses import checks
from gluonzip.gluon.distill.losses.base import ScoreLoss, divergence


class DistillationLoss(ScoreLoss):
    r"""Hinton, Vinyals and Dean 2015 (https://arxiv.org/abs/1503.02531), a loss for each sample.

    .. math:: \alpha T^2 KL(softmax(t / T) \| softmax(s / T)) + (1 - \alpha) CE(softmax(s), label)

    ``temperature`` > 0 softens both distributions; the factor T^2 keeps the size of the gradients.
    ``alpha`` in [0, 1] weighs teacher against labels; with 1 the label may be left out. Shapes,
    ``axis`` and labels: :class:`gluonzip.gluon.distill.losses.base.ScoreLoss`.

    Raises ConfigError for arguments outside their range, ShapeError if student and teacher differ
    in shape.
    """

    def __init__(
        self,
        temperature: float = 1.0,
        alpha: float = 0.5,
        sparse_label: bool = True,
        weight: float | None = None,
        batch_axis: int = 0,
        axis: int = -1,
        **kwargs: Any,
    ) -> None:
        super().__init__(alpha, sparse_label, weight, batch_axis, axis, **kwargs)
        self.temperature = checks.positive("temperature", temperature)

    def compare(self, F: Any, student: Any, teacher: Any, label: Any) -> Any:
        return self.temperature**2 * divergence(F, student, teacher, self.temperature, self._axis)

    def __repr__(self) -> str:
        return f"DistillationLoss(temperature={self.temperature}, alpha={self.alpha})"
