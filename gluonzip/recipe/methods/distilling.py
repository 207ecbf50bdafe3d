"""Settings of distillation, and the Distiller that they make."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from gluonzip.errors import ConfigError
from gluonzip.recipe.job import Job
from gluonzip.recipe.model import Model


class FeatureRule(Model):
    """An inner layer of the network that follows one of the teacher's.

    ``teacher``: its layer there, by default of the same name. ``loss``: ``hint`` (mean-squared,
    through a learned regressor where shapes differ), ``attention`` or ``relational``.
    """

    student: str
    teacher: str | None = None
    loss: Literal["hint", "attention", "relational"] = "hint"
    weight: float = Field(1.0, ge=0)


class Distill(Model):
    """Learn from a teacher, by default the dense network: ``alpha`` for its answers, the rest for
    labels.

    ``loss``: ``soft`` (softened answers), ``hard`` (its decisions), ``logits`` (mean-squared
    scores) or ``decoupled``; ``temperature`` for soft and decoupled. ``final_alpha``: alpha moves
    there along a straight line. ``engine``: the teacher runs in the gluonzip engine.
    """

    loss: Literal["soft", "hard", "logits", "decoupled"] = "soft"
    temperature: float = Field(3.0, gt=0)
    alpha: float = Field(0.7, ge=0, le=1)
    final_alpha: float | None = Field(None, ge=0, le=1)
    features: tuple[FeatureRule, ...] = ()
    engine: Literal["fp32", "int8"] | None = None

    @model_validator(mode="after")
    def _temperature_is_used(self) -> Distill:
        default = type(self).model_fields["temperature"].default
        if self.loss in ("hard", "logits") and self.temperature != default:
            raise ValueError(f"loss {self.loss} has no temperature; drop it")
        return self

    def distiller(self, job: Job) -> Any:
        """A :class:`gluonzip.gluon.Distiller` for the job's network and teacher."""
        from gluonzip.gluon import Distiller, Feature

        if job.teacher is None:
            raise ConfigError("the stage distils, but the job has no teacher")
        features = [
            Feature(
                rule.student, rule.teacher or rule.student, _feature_loss(rule.loss), rule.weight
            )
            for rule in self.features
        ]
        sample = _sample(job) if self.features or self.engine else None
        calibration = job.calibration_data if self.engine == "int8" else None
        return Distiller(
            job.net,
            job.teacher,
            loss=self._score_loss(),
            features=features,
            sample=sample,
            engine=self.engine,
            calibration=calibration,
        )

    def _score_loss(self) -> Any:
        from gluonzip.gluon.distill import losses

        kinds = {
            "soft": lambda: losses.DistillationLoss(self.temperature, self.alpha),
            "decoupled": lambda: losses.DecoupledLoss(self.temperature, self.alpha),
            "hard": lambda: losses.HardLabelLoss(self.alpha),
            "logits": lambda: losses.LogitsLoss(self.alpha),
        }
        return kinds[self.loss]()

    def schedules(self, distiller: Any, steps: int) -> list[Any]:
        """Handlers that move alpha over ``steps``."""
        from gluonzip.gluon import Scheduled
        from gluonzip.schedule import Ramp

        if self.final_alpha is None:
            return []
        ramp = Ramp(self.alpha, self.final_alpha, 0, steps)
        return [Scheduled(ramp, distiller.set_alpha, every=max(1, steps // 100))]


def _feature_loss(name: str) -> Any:
    from gluonzip.gluon.distill import losses

    kinds = {
        "hint": losses.HintLoss,
        "attention": losses.AttentionLoss,
        "relational": losses.RelationalLoss,
    }
    return kinds[name]()


def _sample(job: Job) -> Any:
    from gluonzip.training import pairs

    data = job.train_data if job.calibration_data is None else job.calibration_data
    return next(iter(pairs(data)))[0]
