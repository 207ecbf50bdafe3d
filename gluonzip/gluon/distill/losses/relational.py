"""How the samples of a batch lie to each other."""

from __future__ import annotations

from typing import Any

from gluonzip.errors import ShapeError
from gluonzip.gluon.distill.losses import checks
from gluonzip.gluon.distill.losses.base import FeatureLoss

_TINY = 1e-12


class RelationalLoss(FeatureLoss):
    r"""Relational distillation, Park et al. 2019 (https://arxiv.org/abs/1904.05068).

    Distances: for every pair of samples, Huber(d_s(i, j), d_t(i, j)), d being the Euclidean
    distance divided by its mean over the pairs of the batch (eq. 4-6). Angles: for every triple,
    Huber of the cosines of the angle at j between i and k (eq. 7-8). ``distance`` and ``angle``
    weigh the two; the paper's values are 1 and 2 in ratio.

    Features of any shape (N, ...), flattened; student and teacher may differ in all but N >= 2. The
    loss of sample j is the mean over all i (and k), so that the mean over the batch is the mean
    over the N^2 pairs and N^3 triples, those of a sample with itself (which are 0) included.
    """

    def __init__(self, distance: float = 1.0, angle: float = 2.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.distance = checks.number("distance", distance)
        self.angle = checks.number("angle", angle)

    def check(self, student: Any, teacher: Any) -> None:
        checks.same_batch("RelationalLoss", student, teacher)
        if student.shape[0] < 2:
            raise ShapeError("RelationalLoss compares samples with each other; a batch of 1 has no")

    def compare(self, F: Any, student: Any, teacher: Any, **parameters: Any) -> Any:
        loss = F.zeros_like(F.sum(F.flatten(student), axis=1))
        (s_vectors, s_lengths), (t_vectors, t_lengths) = (
            self._pairs(F, x) for x in (student, teacher)
        )
        if self.distance:
            difference = self._relative(F, s_lengths) - self._relative(F, t_lengths)
            huber = F.smooth_l1(difference, scalar=1.0)
            loss = loss + self.distance * F.mean(huber, axis=1)
        if self.angle:
            difference = self._cosines(F, s_vectors, s_lengths)
            difference = difference - self._cosines(F, t_vectors, t_lengths)
            huber = F.smooth_l1(difference, scalar=1.0)
            loss = loss + self.angle * F.mean(huber, axis=(1, 2))
        return loss

    def _pairs(self, F: Any, feature: Any) -> tuple[Any, Any]:
        """Differences (N, N, D) and their lengths (N, N, 1)."""
        flat = F.flatten(feature)
        vectors = F.broadcast_sub(F.expand_dims(flat, 0), F.expand_dims(flat, 1))
        squares = F.sum(F.square(vectors), axis=2, keepdims=True)
        # The root has no slope at 0: where two samples coincide, none is wanted.
        apart = F.BlockGrad(squares > _TINY)
        lengths = F.sqrt(squares * apart + (1 - apart)) * apart
        return vectors, lengths

    def _relative(self, F: Any, lengths: Any) -> Any:
        """Lengths divided by their mean over pairs of different samples: (N, N)."""
        apart = F.BlockGrad(lengths > 0)
        mean = F.sum(lengths) / F.maximum(F.sum(apart), 1)
        return F.squeeze(F.broadcast_div(lengths, F.maximum(mean, _TINY)), axis=2)

    def _cosines(self, F: Any, vectors: Any, lengths: Any) -> Any:
        """Cosine of the angle at sample j between i and k: (N, N, N), j first."""
        safe = lengths + F.BlockGrad(lengths == 0)
        units = F.broadcast_div(vectors, safe)
        return F.batch_dot(units, units, transpose_b=True)
