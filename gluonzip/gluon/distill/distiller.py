"""Teacher and student together: what a training loop needs to distil."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from gluonzip.errors import ConfigError
from gluonzip.gluon._mxnet import mx
from gluonzip.gluon.distill import fingerprint
from gluonzip.gluon.distill.cache import AnswerCache, Tell
from gluonzip.gluon.distill.lessons import Lesson, Lessons, as_batch
from gluonzip.gluon.distill.losses import (
    DistillationLoss,
    FeatureLoss,
    HintLoss,
    SeveralTeachersLoss,
)
from gluonzip.gluon.distill.losses.checks import number
from gluonzip.gluon.distill.taps import Taps
from gluonzip.gluon.distill.teacher import (
    EngineTeacher,
    Teacher,
    frozen_copy,
    host,
    teachers_of,
)
from gluonzip.gluon.structure import Block

SCORES = "scores"


@dataclass(frozen=True, eq=False)
class Feature:
    """An inner layer of the student that follows one of the teacher's.

    ``student``, ``teacher``: names or globs of one layer each (:class:`Taps`). ``loss``: a
    :class:`FeatureLoss`. ``weight`` of it in the sum. ``of``: which teacher, where there are
    several. ``name``: how weights are set later; by default the student's layer.
    """

    student: str
    teacher: str
    loss: FeatureLoss = field(default_factory=HintLoss)
    weight: float = 1.0
    of: int = 0
    name: str = ""


class Distiller:
    """Makes ``student`` learn from ``teacher``, in your own loop: three lines more.

        distiller = Distiller(student, teacher)                      # 1
        for x, y in data:
            lesson = distiller.teach(x)                              # 2
            with mx.autograd.record():
                loss = distiller.loss(student(x), lesson, y)         # 3
            loss.backward()
            trainer.step(len(x))

    ``teacher``: a Gluon network, any callable on a batch, several of them in a list, or ``"self"``:
    a copy of the student as it is now teaches what pruning and quantization leave of it. It runs
    without gradients, in inference mode; with ``engine="fp32"`` or ``"int8"`` in the gluonzip
    engine (``calibration`` as for :func:`gluonzip.gluon.calibrate`; ``threads`` as for the engine).

    ``loss`` of (outputs, teacher's outputs, labels): by default
    ``DistillationLoss(temperature=4, alpha=0.7)``, for several teachers the mean over them.
    ``features``: inner layers that follow the teacher's; their losses may have parameters of their
    own (:class:`HintLoss`), so make the trainer from ``distiller.collect_params()``. ``sample``: a
    batch of inputs, needed with features or an engine; it settles shapes and finds errors early.

    Raises ConfigError, PatternError (a tap that matches nothing or several), ShapeError (classes
    or features that do not fit), TraceError (a network that the engine cannot have).
    """

    def __init__(
        self,
        student: Block,
        teacher: Any,
        *,
        loss: Any = None,
        features: Sequence[Feature] = (),
        sample: Any = None,
        engine: Literal["fp32", "int8"] | None = None,
        calibration: Any = None,
        threads: int | None = None,
    ) -> None:
        self.student, self.features = student, tuple(features)
        if sample is None and (features or engine):
            raise ConfigError("features and engines need sample=, a batch of inputs")
        sample = None if sample is None else as_batch(sample)
        sources = self._sources(teacher, sample)
        self._several = len(sources) > 1
        self._check_features(len(sources))
        self.score_loss = loss if loss is not None else _default_loss(self._several)
        self.weights = {SCORES: 1.0}
        for name, feature in zip(self._names(), self.features, strict=True):
            self.weights[name] = number(f"weight of feature {name!r}", feature.weight)
        self.teachers: list[Teacher] = []
        for place, source in enumerate(sources):
            taps = [f.teacher for f in self.features if f.of == place]
            if engine is None:
                self.teachers.append(Teacher(source, taps))
            else:
                made = EngineTeacher(source, engine, sample, taps, calibration, threads)
                self.teachers.append(made)
        names = list(dict.fromkeys(f.student for f in self.features))
        self._taps = Taps(student, names) if names else None
        if sample is not None:
            self._try(sample)

    def _sources(self, teacher: Any, sample: Any) -> list[Any]:
        if isinstance(teacher, str):
            if teacher != "self":
                raise ConfigError(f"teacher = {teacher!r} is unknown; 'self', or a network")
            if sample is not None:
                with mx.autograd.pause(train_mode=False):
                    self.student(sample)  # deferred shapes cannot be copied
            return [frozen_copy(self.student)]
        sources = teachers_of(teacher)
        if any(source is self.student for source in sources):
            raise ConfigError(
                "the teacher is the student itself, so it would change along; teacher='self' "
                "makes a frozen copy"
            )
        return sources

    def _check_features(self, teachers: int) -> None:
        for feature in self.features:
            if not 0 <= feature.of < teachers:
                raise ConfigError(f"{feature}: there is no teacher {feature.of}")
        names = self._names()
        if len(set(names)) < len(names) or SCORES in names:
            raise ConfigError(f"features need different names, other than {SCORES!r}: {names}")

    def _names(self) -> list[str]:
        return [feature.name or feature.student for feature in self.features]

    def _try(self, sample: Any) -> None:
        """One batch through both: shapes, regressors, class counts."""
        lesson = self.teach(sample)
        with mx.autograd.pause(train_mode=False):
            outputs = self.student(sample)
            for feature, wanted in zip(self.features, lesson.features, strict=True):
                feature.loss.build(self._taps[feature.student], wanted)
                feature.loss(self._taps[feature.student], wanted)
            check = getattr(self.score_loss, "check", None)
            if check is not None:
                check(outputs, lesson.outputs)

    # ------------------------------------------------------------ a step
    def teach(self, inputs: Any) -> Lesson:
        """What the teacher says of a batch. No gradients, whether recording or not."""
        outputs, features = [], []
        for teacher in self.teachers:
            answer, found = teacher(inputs)
            outputs.append(answer)
            features.append(iter(found))
        ordered = tuple(next(features[feature.of]) for feature in self.features)
        return Lesson(outputs if self._several else outputs[0], ordered)

    def loss(self, outputs: Any, lesson: Lesson, labels: Any = None) -> Any:
        """The loss of each sample, (N,); call it right after ``student(inputs)``, recording.

        ``labels`` may be left out where the loss needs none.
        """
        total = None
        if self.weights[SCORES]:
            total = self.weights[SCORES] * self.score_loss(outputs, lesson.outputs, labels)
        for name, feature, wanted in zip(
            self._names(), self.features, lesson.features, strict=True
        ):
            if self.weights[name]:
                part = self.weights[name] * feature.loss(self._taps[feature.student], wanted)
                total = part if total is None else total + part
        if total is None:
            raise ConfigError(f"all weights of the distiller are 0: {self.weights}")
        return total

    # ------------------------------------------------------------ settings
    @property
    def alpha(self) -> float:
        """Weight of the teacher's scores against the labels (of ``score_loss``)."""
        return self.score_loss.alpha

    def set_alpha(self, value: float) -> None:
        """For schedules: ``Scheduled(Ramp(...), distiller.set_alpha)``."""
        self.score_loss.alpha = value

    def set_weight(self, name: str, value: float) -> None:
        """Weight of ``"scores"`` or of a feature by name. ConfigError for an unknown name."""
        if name not in self.weights:
            raise ConfigError(f"no part {name!r}; there are: {', '.join(map(repr, self.weights))}")
        self.weights[name] = number(f"weight of {name!r}", value)

    def collect_params(self) -> Any:
        """The student's parameters and those of the losses: for the trainer."""
        parameters = mx.gluon.ParameterDict()
        parameters.update(self.student.collect_params())
        for block in self.loss_blocks().values():
            parameters.update(block.collect_params())
        return parameters

    def loss_blocks(self) -> dict[str, Block]:
        """The feature losses by name: they may have parameters to train and to store."""
        return dict(zip(self._names(), (f.loss for f in self.features), strict=True))

    def state(self) -> dict[str, Any]:
        """The weights that schedules have set: for checkpoints."""
        return {"alpha": getattr(self.score_loss, "alpha", None), "weights": dict(self.weights)}

    def load_state(self, state: dict[str, Any]) -> None:
        for name, value in state["weights"].items():
            self.set_weight(name, value)
        if state["alpha"] is not None:
            self.set_alpha(state["alpha"])

    # ------------------------------------------------------------ cache
    def remember(
        self,
        folder: str | os.PathLike,
        inputs: Any,
        *,
        batch_size: int = 256,
        teacher_key: str | None = None,
        tell: Tell | None = None,
    ) -> Lessons:
        """Lessons for all of ``inputs`` (an array (N, ...)), from ``folder`` or computed into it.

        What is there is used; what is missing is computed and written, so a broken run goes on
        where it stopped. ``teacher_key``: instead of the digest of the teachers' weights, for
        teachers that are not Gluon networks. ``tell``: called with the rows that each batch adds.

        Raises CacheError for a folder made by another teacher or for other data, or damaged.
        """
        data = fingerprint.of_data(inputs)
        if not isinstance(batch_size, int) or batch_size < 1:
            raise ConfigError(f"batch_size = {batch_size!r} is not usable; it must be 1 or more")
        key = teacher_key
        if key is None:
            sample = as_batch(inputs[:1])
            key = fingerprint.combine(*(t.fingerprint(sample) for t in self.teachers))
        cache = AnswerCache(folder, {"teacher": key, "data": data}, len(inputs))

        def compute(first: int, last: int) -> list[np.ndarray]:
            lesson = self.teach(as_batch(inputs[first:last]))
            outputs = lesson.outputs if self._several else [lesson.outputs]
            return [host(value) for value in (*outputs, *lesson.features)]

        cache.fill(compute, batch_size, tell)
        return Lessons(cache, len(self.teachers))

    # ------------------------------------------------------------ the end
    def close(self) -> None:
        """Take the taps off student and teachers."""
        for taps in (self._taps, *self.teachers):
            if taps is not None:
                taps.close()

    def __enter__(self) -> Distiller:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _default_loss(several: bool) -> Any:
    loss = DistillationLoss(temperature=4.0, alpha=0.7)
    return SeveralTeachersLoss(loss) if several else loss
