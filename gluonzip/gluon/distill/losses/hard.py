"""The teacher's decision as a label."""

from __future__ import annotations

from typing import Any

from gluonzip.gluon.distill.losses.base import ScoreLoss


class HardLabelLoss(ScoreLoss):
    r"""Cross-entropy with the class that the teacher prefers, mixed with the true labels.

    .. math:: \alpha\,CE(softmax(s), argmax\,t) + (1 - \alpha)\,CE(softmax(s), label)

    The hard-label distillation of Touvron et al. 2021 (https://arxiv.org/abs/2012.12877, eq. 3,
    alpha 1/2); with ``alpha=1`` pseudo-labels for unlabelled data (Lee 2013).
    """

    def __init__(self, alpha: float = 0.5, **kwargs: Any) -> None:
        super().__init__(alpha, **kwargs)

    def compare(self, F: Any, student: Any, teacher: Any, label: Any) -> Any:
        decision = F.argmax(teacher, axis=self._axis)
        log_q = F.log_softmax(student, axis=self._axis)
        return -F.pick(log_q, decision, axis=self._axis, keepdims=True)
