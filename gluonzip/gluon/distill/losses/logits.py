"""The teacher's scores themselves."""

from __future__ import annotations

from typing import Any

from gluonzip.gluon.distill.losses.base import ScoreLoss


class LogitsLoss(ScoreLoss):
    r"""Mean-squared difference of scores before softmax, over C classes.

    .. math:: \alpha \frac{1}{C} \sum_c (s_c - t_c)^2 + (1 - \alpha)\,CE(softmax(s), label)

    Ba and Caruana 2014 (https://arxiv.org/abs/1312.6184, eq. 1, up to a constant factor). Also for
    outputs that are no scores, such as box offsets (with ``alpha=1``).
    """

    def __init__(self, alpha: float = 1.0, **kwargs: Any) -> None:
        super().__init__(alpha, **kwargs)

    def compare(self, F: Any, student: Any, teacher: Any, label: Any) -> Any:
        return F.mean(F.square(student - teacher), axis=self._axis, keepdims=True)
