"""A teacher's inner feature, reached through a learned regressor where shapes differ."""

from __future__ import annotations

from typing import Any

from gluonzip.errors import ConfigError, ShapeError
from gluonzip.gluon._mxnet import mx
from gluonzip.gluon.distill.losses import checks
from gluonzip.gluon.distill.losses.base import FeatureLoss


class HintLoss(FeatureLoss):
    r"""FitNets, Romero et al. 2015 (https://arxiv.org/abs/1412.6550, eq. 3), mean over values.

    .. math:: \frac{1}{2} mean((r(v) - u)^2)

    v: the student's feature, u: the teacher's, (N, C) or (N, C, H, W). r is nothing when the shapes
    agree; otherwise a learned dense layer or 1x1 convolution to ``channels`` outputs (the
    teacher's), after adaptive average pooling where heights or widths differ.

    ``channels`` may be left out: :meth:`build` finds what is needed from both features (the
    Distiller calls it). Its parameters must be trained along: they are in ``collect_params()``.

    Raises ShapeError when the shapes differ and there is no regressor for it.
    """

    def __init__(self, channels: int | None = None, spatial: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if channels is not None and (not isinstance(channels, int) or channels < 1):
            raise ConfigError(f"channels = {channels!r} is not usable; it must be 1 or more")
        self.regressor: Any = None
        self._size: tuple[int, int] | None = None
        if channels is not None:
            self._add_regressor(channels, spatial)

    def _add_regressor(self, channels: int, spatial: bool) -> None:
        with self.name_scope():
            self.regressor = (
                mx.gluon.nn.Conv2D(channels, 1, use_bias=True)
                if spatial
                else mx.gluon.nn.Dense(channels, flatten=False)
            )

    def build(self, student: Any, teacher: Any) -> None:
        """Add the regressor that the shapes of two NDArrays call for, initialized (Xavier)."""
        if student.ndim != teacher.ndim or student.ndim not in (2, 4):
            raise ShapeError(
                f"HintLoss: features {student.shape} and {teacher.shape} cannot be matched by a "
                "regressor; tap two layers of (N, C) or two of (N, C, H, W)"
            )
        if self.regressor is None and student.shape[1] != teacher.shape[1]:
            self._add_regressor(teacher.shape[1], student.ndim == 4)
        if student.shape[2:] != teacher.shape[2:]:
            self._size = tuple(teacher.shape[2:])
        if self.regressor is not None and self.regressor.weight._data is None:
            if not self.regressor.weight._deferred_init:
                self.regressor.initialize(mx.init.Xavier(), ctx=student.context)
            self.regressor(student)  # settles its shape
        self._clear_cached_op()

    def check(self, student: Any, teacher: Any) -> None:
        checks.same_batch("HintLoss", student, teacher)
        channels = student.shape[1] if self.regressor is None else self.regressor.weight.shape[0]
        size = student.shape[2:] if self._size is None else self._size
        if (channels, *size) != teacher.shape[1:]:
            raise ShapeError(
                f"HintLoss: the student's feature {student.shape} becomes (N, {channels}, ...) but "
                f"the teacher's is {teacher.shape}; call build(student, teacher) once, or give "
                f"channels={teacher.shape[1]}"
            )

    def compare(self, F: Any, student: Any, teacher: Any, **parameters: Any) -> Any:
        if self._size is not None:
            student = F.contrib.AdaptiveAvgPooling2D(student, output_size=self._size)
        if self.regressor is not None:
            student = self.regressor(student)
        return 0.5 * F.mean(F.square(student - teacher), axis=self._batch_axis, exclude=True)
