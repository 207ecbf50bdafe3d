"""Learning from a teacher network."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

from gluonzip.errors import ConfigError, ShapeError
from gluonzip.gluon._mxnet import mx


class DistillationLoss(mx.gluon.loss.Loss):
    r"""Hinton, Vinyals and Dean 2015 (https://arxiv.org/abs/1503.02531), a loss for each sample.

    .. math:: \alpha T^2 KL(softmax(t / T) \| softmax(s / T)) + (1 - \alpha) CE(softmax(s), label)

    Inputs: student scores s and teacher scores t before softmax, both (N, classes); label (N,) of
    class indices, or (N, classes) of probabilities with ``sparse_label=False``; an optional
    sample weight (N, 1). Output: (N,). No gradient flows into t.

    ``temperature`` > 0 softens both distributions; the factor T^2 keeps the size of the gradients.
    ``alpha`` in [0, 1] weighs teacher against labels; with 1 the label may be left out.

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
        **kwargs: Any,
    ) -> None:
        super().__init__(weight, batch_axis, **kwargs)
        self.temperature = _number("temperature", temperature, 0.0, math.inf)
        self.alpha = _number("alpha", alpha, 0.0, 1.0)
        if self.temperature == 0:
            raise ConfigError(f"temperature = {temperature!r} is not usable; it must be above 0")
        self._sparse_label = sparse_label

    def forward(self, student: Any, teacher: Any, label: Any = None, weight: Any = None) -> Any:
        if isinstance(student, mx.nd.NDArray):
            _check_shapes(student, teacher)
        if label is None and self.alpha != 1:
            raise ConfigError(f"alpha = {self.alpha} needs labels; alpha = 1 works without")
        return super().forward(student, teacher, label, weight)

    def hybrid_forward(
        self, F: Any, student: Any, teacher: Any, label: Any = None, weight: Any = None
    ) -> Any:
        loss = 0.0
        if self.alpha > 0:
            loss = self.alpha * self.temperature**2 * self._divergence(F, student, teacher)
        if self.alpha < 1:
            loss = loss + (1 - self.alpha) * self._cross_entropy(F, student, label)
        if weight is not None:
            loss = F.broadcast_mul(loss, weight.reshape((-1,)))
        return loss if self._weight is None else loss * self._weight

    def _divergence(self, F: Any, student: Any, teacher: Any) -> Any:
        teacher = F.BlockGrad(teacher)
        log_p = F.log_softmax(teacher / self.temperature, axis=-1)
        log_q = F.log_softmax(student / self.temperature, axis=-1)
        terms = F.exp(log_p) * (log_p - log_q)
        return F.sum(terms, axis=self._batch_axis, exclude=True)

    def _cross_entropy(self, F: Any, student: Any, label: Any) -> Any:
        log_q = F.log_softmax(student, axis=-1)
        if self._sparse_label:
            terms = -F.pick(log_q, label, axis=-1, keepdims=True)
        else:
            terms = -log_q * label
        return F.sum(terms, axis=self._batch_axis, exclude=True)

    def __repr__(self) -> str:
        return f"DistillationLoss(temperature={self.temperature}, alpha={self.alpha})"


def _number(name: str, value: object, low: float, high: float) -> float:
    if not isinstance(value, Real) or isinstance(value, bool) or not low <= value <= high:
        raise ConfigError(f"{name} = {value!r} is not usable; it must be from {low:g} to {high:g}")
    if math.isinf(value):
        raise ConfigError(f"{name} = {value!r} is not usable; it must be finite")
    return float(value)


def _check_shapes(student: Any, teacher: Any) -> None:
    if student.shape == teacher.shape:
        return
    if student.shape[-1] != teacher.shape[-1]:
        raise ShapeError(
            f"the student has {student.shape[-1]} classes and the teacher {teacher.shape[-1]} "
            f"(shapes {student.shape} and {teacher.shape}); distillation needs the same classes"
        )
    raise ShapeError(
        f"student scores {student.shape} and teacher scores {teacher.shape} differ in shape; feed "
        "both the same batch"
    )
