"""What methods have in common: the interface, training settings, distillation settings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from gluonzip.errors import ConfigError
from gluonzip.recipe.job import Job
from gluonzip.recipe.methods.distilling import Distill
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


def batches_of(job: Job) -> int:
    """Batches in a pass over the training data. ConfigError when it cannot tell."""
    try:
        return len(job.train_data)  # type: ignore[arg-type]
    except TypeError:
        raise ConfigError(
            f"schedules by steps need to know how long an epoch is, but a "
            f"{type(job.train_data).__name__} has no len(); use a DataLoader or a list"
        ) from None


def run_fit(
    job: Job,
    settings: Fit,
    distill: Distill | None,
    label: str,
    on_epoch: Callable[[int], None] | None = None,
    handlers: Sequence[Any] = (),
) -> None:
    """Train ``job.net``, from the teacher as well if ``distill`` says so."""
    handlers = [*handlers, _Records(job)]
    distiller = None if distill is None else distill.distiller(job)
    if distill is not None and distill.final_alpha is not None:
        handlers += distill.schedules(distiller, settings.epochs * batches_of(job))
    try:
        fit(
            job.net,
            job.train_data,
            settings.value(),
            distiller=distiller,
            handlers=handlers,
            checkpoints=job.next_checkpoints(label),
            progress=job.progress,
            label=label,
            on_epoch=on_epoch,
        )
    finally:
        if distiller is not None:
            distiller.close()


class _Records:
    """Carries the job's records through checkpoints: what a killed run noted is not lost."""

    def __init__(self, job: Job) -> None:
        self.job = job

    def epoch(self) -> None:
        pass

    step = epoch

    def state(self) -> dict[str, Any]:
        return self.job.records

    def load_state(self, state: dict[str, Any]) -> None:
        self.job.records.update(state)
