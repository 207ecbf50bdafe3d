"""More than one teacher, more than one output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from gluonzip.errors import ConfigError, ShapeError
from gluonzip.gluon._mxnet import mx
from gluonzip.gluon.distill.losses import checks
from gluonzip.gluon.distill.losses.base import ScoreLoss


class SeveralTeachersLoss(mx.gluon.loss.Loss):
    r"""One loss of several teachers' scores, averaged or weighted.

    ``combine`` says what is averaged with the ``weights`` w (equal by default; they are made to sum
    to 1):

    - ``"losses"``: :math:`\sum_k w_k loss(s, t_k, label)`;
    - ``"scores"``: :math:`loss(s, \sum_k w_k t_k, label)`;
    - ``"probabilities"``: the teacher is :math:`p = \sum_k w_k softmax(t_k / T)`, with the loss's
      own temperature (an ensemble, Hinton et al. 2015; the scores handed to the loss are T log p).

    Inputs: student scores; a list of one array of scores a teacher; label and weight as for
    ``loss``. Raises ConfigError for weights that are negative or all 0, ShapeError when there are
    not as many teachers as weights.
    """

    def __init__(
        self,
        loss: ScoreLoss,
        weights: Sequence[float] | None = None,
        combine: Literal["losses", "scores", "probabilities"] = "losses",
        **kwargs: Any,
    ) -> None:
        super().__init__(None, 0, **kwargs)
        if combine not in ("losses", "scores", "probabilities"):
            raise ConfigError(
                f"combine = {combine!r} is unknown; use 'losses', 'scores' or 'probabilities'"
            )
        self.loss, self.combine = loss, combine
        self._shares = None if weights is None else _shares(weights)

    @property
    def alpha(self) -> float:
        """Weight of the teachers, as of the inner loss."""
        return self.loss.alpha

    @alpha.setter
    def alpha(self, value: float) -> None:
        self.loss.alpha = value
        self._clear_cached_op()

    def check(self, student: Any, teachers: Any) -> None:
        """ShapeError when the scores cannot be compared."""
        if self._shares is not None and len(teachers) != len(self._shares):
            raise ShapeError(f"{len(teachers)} teachers but {len(self._shares)} weights")
        for teacher in teachers:
            self.loss.check(student, teacher)

    def forward(self, student: Any, teachers: Any, label: Any = None, weight: Any = None) -> Any:
        teachers = list(teachers) if isinstance(teachers, (list, tuple)) else [teachers]
        if isinstance(student, mx.nd.NDArray):
            self.check(student, teachers)
        return super().forward(student, teachers, label, weight)

    def hybrid_forward(
        self, F: Any, student: Any, teachers: Any, label: Any = None, weight: Any = None
    ) -> Any:
        shares = self._shares or [1 / len(teachers)] * len(teachers)
        if self.combine == "losses":
            losses = (self.loss(student, teacher, label, weight) for teacher in teachers)
            return _mean(shares, losses)
        if self.combine == "scores":
            return self.loss(student, _mean(shares, teachers), label, weight)
        heat, axis = getattr(self.loss, "temperature", 1.0), self.loss._axis
        mixed = _mean(shares, (F.softmax(teacher / heat, axis=axis) for teacher in teachers))
        return self.loss(student, heat * F.log(F.maximum(mixed, 1e-30)), label, weight)

    def __repr__(self) -> str:
        return f"SeveralTeachersLoss({self.loss!r}, combine={self.combine!r})"


class OutputsLoss(mx.gluon.loss.Loss):
    """A loss for each output of networks that return several, summed: detectors, for example.

    ``losses``: one a output (None: that output is not compared), with ``weights``. Inputs: the
    outputs of student and teacher as lists of that length; ``label``: None, or a list of one a
    output. Output: (N,).
    """

    def __init__(
        self, losses: Sequence[Any], weights: Sequence[float] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(None, 0, **kwargs)
        if not any(loss is not None for loss in losses):
            raise ConfigError("OutputsLoss needs at least one loss")
        if weights is not None and len(weights) != len(losses):
            raise ConfigError(f"{len(weights)} weights for {len(losses)} losses")
        self.weights = [checks.number("weight", w) for w in weights or [1.0] * len(losses)]
        self.losses = list(losses)
        for place, loss in enumerate(losses):
            if loss is not None:
                self.register_child(loss, str(place))

    def forward(self, student: Any, teacher: Any, label: Any = None) -> Any:
        for side, outputs in (("student", student), ("teacher", teacher)):
            found = len(outputs) if isinstance(outputs, (list, tuple)) else 1
            if found != len(self.losses):
                raise ShapeError(f"the {side} has {found} outputs, but {len(self.losses)} losses")
        total = None
        for i, (loss, weight) in enumerate(zip(self.losses, self.weights, strict=True)):
            if loss is not None:
                part = weight * loss(student[i], teacher[i], None if label is None else label[i])
                total = part if total is None else total + part
        return total


def _shares(weights: Sequence[float]) -> list[float]:
    values = [checks.number("weight of a teacher", weight) for weight in weights]
    if not sum(values) > 0:
        raise ConfigError(f"weights = {list(weights)!r}: at least one must be above 0")
    return [value / sum(values) for value in values]


def _mean(shares: Sequence[float], values: Any) -> Any:
    total = None
    for share, value in zip(shares, values, strict=True):
        total = share * value if total is None else total + share * value
    return total
