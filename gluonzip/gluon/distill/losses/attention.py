"""Where the teacher looks."""

from __future__ import annotations

from typing import Any

from gluonzip.errors import ShapeError
from gluonzip.gluon.distill.losses import checks
from gluonzip.gluon.distill.losses.base import FeatureLoss

_TINY = 1e-12


class AttentionLoss(FeatureLoss):
    r"""Attention transfer, Zagoruyko and Komodakis 2017 (https://arxiv.org/abs/1612.03928).

    .. math:: \| Q_s / \|Q_s\|_2 - Q_t / \|Q_t\|_2 \|_2^2, \quad Q = \sum_c |A_c|^p

    A: features (N, C, H, W); the channels may differ in number, the positions may not. ``power`` is
    p. The squared distance, between 0 and 2, as in the authors' program (which takes the mean over
    positions instead of the sum).
    """

    def __init__(self, power: float = 2.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.power = checks.number("power", power, 1.0)

    def check(self, student: Any, teacher: Any) -> None:
        checks.same_batch("AttentionLoss", student, teacher)
        if student.ndim != 4 or student.shape[2:] != teacher.shape[2:]:
            raise ShapeError(
                f"AttentionLoss: features {student.shape} and {teacher.shape} are not (N, C, H, W) "
                "with the same height and width; tap layers of equal resolution"
            )

    def compare(self, F: Any, student: Any, teacher: Any, **parameters: Any) -> Any:
        difference = self._map(F, student) - self._map(F, teacher)
        return F.sum(F.square(difference), axis=1)

    def _map(self, F: Any, feature: Any) -> Any:
        strength = F.square(feature) if self.power == 2 else F.abs(feature) ** self.power
        flat = F.flatten(F.sum(strength, axis=1))
        length = F.sqrt(F.sum(F.square(flat), axis=1, keepdims=True) + _TINY)
        return F.broadcast_div(flat, length)
