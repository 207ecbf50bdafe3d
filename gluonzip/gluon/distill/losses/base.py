"""The two kinds of distillation losses: of scores, mixed with the labels; and of features."""

from __future__ import annotations

from typing import Any

from gluonzip.errors import ConfigError
from gluonzip.gluon._mxnet import mx
from gluonzip.gluon.distill.losses import checks


class ScoreLoss(mx.gluon.loss.Loss):
    r"""Base of losses that compare scores before softmax: a loss for each sample.

    .. math:: \alpha\,compare(s, t) + (1 - \alpha)\,CE(softmax(s), label)

    Inputs: student scores s and teacher scores t of the same shape, with the classes on ``axis``:
    (N, classes); or with positions, (N, classes, H, W) and ``axis=1`` for segmentation, (N,
    anchors, classes) and ``axis=-1`` for detection. Labels without the class axis, as indices; or
    with it, as probabilities (``sparse_label=False``); may be left out with ``alpha=1``. An index
    below 0 means that the label is not known: only the teacher speaks there. An optional weight of
    samples or positions broadcasts against (N, 1), (N, 1, H, W), (N, anchors, 1). Output: (N,), the
    mean over positions. No gradient flows into t.

    A subclass has :meth:`compare`. ``alpha`` may be set while training (schedules do).

    Raises ConfigError for arguments outside their range, ShapeError if student and teacher differ.
    """

    needs_label = False
    """Does ``compare`` itself use the labels?"""

    def __init__(
        self,
        alpha: float,
        sparse_label: bool = True,
        weight: float | None = None,
        batch_axis: int = 0,
        axis: int = -1,
        **kwargs: Any,
    ) -> None:
        super().__init__(weight, batch_axis, **kwargs)
        self._alpha = checks.number("alpha", alpha, 0.0, 1.0)
        self._sparse_label = sparse_label
        self._axis = axis

    @property
    def alpha(self) -> float:
        """Weight of the teacher, 0 to 1; the labels have the rest."""
        return self._alpha

    @alpha.setter
    def alpha(self, value: float) -> None:
        self._alpha = checks.number("alpha", value, 0.0, 1.0)
        self._clear_cached_op()  # a hybridized loss has the number in its graph

    def compare(self, F: Any, student: Any, teacher: Any, label: Any) -> Any:
        """The teacher's part for each position, the class axis kept with length 1."""
        raise NotImplementedError

    def check(self, student: Any, teacher: Any) -> None:
        """ShapeError when the two (NDArrays) cannot be compared."""
        checks.same_scores(student, teacher, self._axis)

    def forward(self, student: Any, teacher: Any, label: Any = None, weight: Any = None) -> Any:
        if isinstance(student, mx.nd.NDArray):
            self.check(student, teacher)
        if label is None and (self.alpha != 1 or self.needs_label):
            if self.needs_label:
                raise ConfigError(f"{type(self).__name__} needs labels")
            raise ConfigError(f"alpha = {self.alpha} needs labels; alpha = 1 works without")
        return super().forward(student, teacher, label, weight)

    def hybrid_forward(
        self, F: Any, student: Any, teacher: Any, label: Any = None, weight: Any = None
    ) -> Any:
        loss = 0.0
        if self.alpha > 0:
            loss = self.alpha * self.compare(F, student, F.BlockGrad(teacher), label)
        if self.alpha < 1:
            loss = loss + (1 - self.alpha) * self._cross_entropy(F, student, label)
        if weight is not None:
            loss = F.broadcast_mul(loss, weight)
        if self._weight is not None:
            loss = loss * self._weight
        return F.mean(loss, axis=self._batch_axis, exclude=True)

    def _cross_entropy(self, F: Any, student: Any, label: Any) -> Any:
        log_q = F.log_softmax(student, axis=self._axis)
        if self._sparse_label:
            return -F.pick(log_q, label, axis=self._axis, keepdims=True) * self._known(F, label)
        return -F.sum(log_q * label, axis=self._axis, keepdims=True)

    def _known(self, F: Any, label: Any) -> Any:
        return F.expand_dims(label >= 0, axis=self._axis)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(alpha={self.alpha})"


class FeatureLoss(mx.gluon.loss.Loss):
    """Base of losses that compare inner features: a loss for each sample, (N,).

    Inputs: a feature of the student and one of the teacher for the same N samples. No gradient
    flows into the teacher's. A subclass has :meth:`compare` and may have :meth:`check`.
    """

    def __init__(self, weight: float | None = None, batch_axis: int = 0, **kwargs: Any) -> None:
        super().__init__(weight, batch_axis, **kwargs)

    def check(self, student: Any, teacher: Any) -> None:
        """ShapeError when the two (NDArrays) cannot be compared."""
        checks.same_batch(type(self).__name__, student, teacher)

    def compare(self, F: Any, student: Any, teacher: Any, **parameters: Any) -> Any:
        """The loss of each sample."""
        raise NotImplementedError

    def build(self, student: Any, teacher: Any) -> None:
        """Make what depends on the shapes of both features; called once, before training."""

    def forward(self, student: Any, teacher: Any) -> Any:
        if isinstance(student, mx.nd.NDArray):
            self.check(student, teacher)
        return super().forward(student, teacher)

    def hybrid_forward(self, F: Any, student: Any, teacher: Any, **parameters: Any) -> Any:
        loss = self.compare(F, student, F.BlockGrad(teacher), **parameters)
        return loss if self._weight is None else loss * self._weight

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


def divergence(F: Any, student: Any, teacher: Any, temperature: float, axis: int) -> Any:
    """KL(softmax(t / T) || softmax(s / T)) along ``axis``, kept with length 1."""
    log_p = F.log_softmax(teacher / temperature, axis=axis)
    log_q = F.log_softmax(student / temperature, axis=axis)
    return F.sum(F.exp(log_p) * (log_p - log_q), axis=axis, keepdims=True)
