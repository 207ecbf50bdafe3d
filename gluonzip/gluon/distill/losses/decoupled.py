"""Knowledge about the target class and about the others, weighed apart."""

from __future__ import annotations

from typing import Any

from gluonzip.gluon.distill.losses import checks
from gluonzip.gluon.distill.losses.base import ScoreLoss

_NEVER = 1e9
"""Subtracted from the target's score: its probability among the others is exactly 0."""


class DecoupledLoss(ScoreLoss):
    r"""Decoupled distillation, Zhao et al. 2022 (https://arxiv.org/abs/2203.08679, eq. 7).

    .. math:: \alpha T^2 (a\,KL(b^t \| b^s) + b\,KL(\hat p^t \| \hat p^s))
              + (1 - \alpha)\,CE(softmax(s), label)

    With p = softmax(scores / T): b = (p_label, 1 - p_label), and p-hat the softmax over all classes
    but the label. ``target`` is the paper's alpha (a), ``others`` its beta (b). The classical loss
    is a = 1 with b = 1 - p_label of the teacher, so it forgets the others when the teacher is sure.
    Labels are indices and always needed; samples whose label is not known (below 0) teach nothing.
    """

    needs_label = True

    def __init__(
        self,
        temperature: float = 4.0,
        alpha: float = 0.5,
        target: float = 1.0,
        others: float = 8.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(alpha, **kwargs)
        self.temperature = checks.positive("temperature", temperature)
        self.target = checks.number("target", target)
        self.others = checks.number("others", others)

    def compare(self, F: Any, student: Any, teacher: Any, label: Any) -> Any:
        s, t = student / self.temperature, teacher / self.temperature
        hidden = _NEVER * self._one_hot(F, student, label)
        s_others, t_others = s - hidden, t - hidden
        loss = self.target * self._binary(F, s, t, s_others, t_others, label)
        if self.others:
            log_q, log_p = (F.log_softmax(x, axis=self._axis) for x in (s_others, t_others))
            among = F.sum(F.exp(log_p) * (log_p - log_q), axis=self._axis, keepdims=True)
            loss = loss + self.others * among
        return self.temperature**2 * loss * self._known(F, label)

    def _binary(self, F: Any, s: Any, t: Any, s_others: Any, t_others: Any, label: Any) -> Any:
        """KL between (p_label, 1 - p_label) of teacher and student."""
        yes, no = [], []
        for scores, others in ((s, s_others), (t, t_others)):
            log_p = F.log_softmax(scores, axis=self._axis)
            yes.append(F.pick(log_p, label, axis=self._axis, keepdims=True))
            no.append(self._log_sum_exp(F, others) - self._log_sum_exp(F, scores))
        part = F.exp(yes[1]) * (yes[1] - yes[0])
        return part + F.exp(no[1]) * (no[1] - no[0])

    def _log_sum_exp(self, F: Any, scores: Any) -> Any:
        """z_c - log_softmax(z)_c is the same for every c: their mean weighted by softmax."""
        log_p = F.log_softmax(scores, axis=self._axis)
        weights = F.BlockGrad(F.exp(log_p))
        return F.sum(weights * (scores - log_p), axis=self._axis, keepdims=True)

    def _one_hot(self, F: Any, scores: Any, label: Any) -> Any:
        """Ones at the label, of the scores' shape (whose class count symbols do not know)."""
        ones = F.ones_like(scores)
        if self._axis < 0:  # cumsum counts axes from the front alone: reverse them
            counted = F.transpose(F.cumsum(F.transpose(ones), axis=-1 - self._axis))
        else:
            counted = F.cumsum(ones, axis=self._axis)
        return F.broadcast_equal(counted - 1, F.expand_dims(label, axis=self._axis))
