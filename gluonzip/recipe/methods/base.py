"""What methods have in common: the interface, training settings, distillation settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from gluonzip.errors import ConfigError
from gluonzip.recipe.job import Job
from gluonzip.recipe.model import Model
from gluonzip.training import Training, fit


def _one_or_more(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


Layers = Annotated[tuple[str, ...], BeforeValidator(_one_or_more)]
"""Names or globs of layers; one of them may stand alone."""


class Fit(Model):
    """Settings of a training run (:class:`gluonzip.training.Training`)."""

    epochs: int = Field(ge=1)
    learning_rate: float = Field(1e-3, gt=0)
    optimizer: Literal["adam", "sgd", "nag"] = "adam"
    weight_decay: float = Field(0.0, ge=0)

    def value(self) -> Training:
        return Training(**self.model_dump())


class Distill(Model):
    """Learn from the dense network: ``alpha`` for its softened answers, the rest for labels."""

    temperature: float = Field(3.0, gt=0)
    alpha: float = Field(0.7, ge=0, le=1)


class Method(Model):
    """One stage of a recipe.

    A subclass has a ``method`` literal, its settings, and ``run``; it joins the registry in
    ``gluonzip.recipe.methods``.
    """

    method: str
    compresses: ClassVar[bool] = True
    """False: what the stage leaves is still the dense network."""

    def check(self, job: Job) -> None:
        """Raise now what would otherwise fail after minutes of training."""

    def run(self, job: Job) -> None:
        """Change ``job.net`` in place and note what happened in ``job.records``."""
        raise NotImplementedError

    def distills(self) -> bool:
        """Does the stage need a teacher?"""
        return getattr(self, "distill", None) is not None


def distill_trains(training: Fit | None, distill: Distill | None) -> None:
    """ValueError when a stage that need not train is to distil without training."""
    if distill is not None and training is None:
        raise ValueError("distill needs training: say for how many epochs")


def need_train_data(method: Method, job: Job) -> None:
    """ConfigError when a stage that trains has nothing to train on."""
    if job.train_data is None:
        raise ConfigError(f"stage {method.method!r} trains, but no train_data was given")


def run_fit(
    job: Job,
    settings: Fit,
    distill: Distill | None,
    label: str,
    on_epoch: Callable[[int], None] | None = None,
) -> None:
    """Train ``job.net``, from the teacher as well if ``distill`` says so."""
    loss: Any = None
    if distill is not None:
        from gluonzip.gluon import DistillationLoss

        loss = DistillationLoss(distill.temperature, distill.alpha)
    fit(
        job.net,
        job.train_data,
        settings.value(),
        teacher=None if distill is None else job.teacher,
        loss=loss,
        progress=job.progress,
        label=label,
        on_epoch=on_epoch,
    )
