"""Prune, quantize and distil in one training loop."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from gluonzip.errors import ConfigError
from gluonzip.recipe.job import Job
from gluonzip.recipe.methods.base import Fit, Layers, Method, batches_of, need_train_data, run_fit
from gluonzip.recipe.methods.distilling import Distill
from gluonzip.recipe.methods.prune import Rule, apply_rules
from gluonzip.recipe.methods.quantize import Activations, Weights
from gluonzip.recipe.model import Model


class Sparsify(Model):
    """Sparsity rises along a cubic curve from 0 to the ``rules``' during the share ``until`` of
    the steps (Zhu and Gupta 2017, https://arxiv.org/abs/1710.01878)."""

    rules: tuple[Rule, ...] = Field(min_length=1)
    until: float = Field(0.5, gt=0, le=1)


class Integers(Model):
    """Quantizers come when the share ``begin`` of the steps is over."""

    layers: Layers = ("*",)
    weights: Weights = Weights()
    activations: Activations | None = Activations()
    begin: float = Field(0.5, ge=0, lt=1)


class Together(Method):
    """Train with a teacher while the network is pruned and quantized, each on its schedule.

    Without ``prune`` and ``quantize`` it only distils. Ranges of activations are taken when the
    quantizers come, and again at the end.
    """

    method: Literal["distill"] = "distill"
    training: Fit
    distill: Distill = Distill()
    prune: Sparsify | None = None
    quantize: Integers | None = None

    @model_validator(mode="after")
    def _order(self) -> Together:
        if self.prune and self.quantize and self.quantize.begin < self.prune.until:
            raise ValueError(
                f"quantize.begin = {self.quantize.begin} lies before prune.until = "
                f"{self.prune.until}: ranges would be taken of a network that is still changing"
            )
        sides = (self.quantize.weights, self.quantize.activations) if self.quantize else ()
        if any(side is not None and side.scale == "learned" for side in sides):
            raise ValueError(
                "quantize: learned scales train from the first step on; give them a stage of their "
                "own: {method: quantize, training: ..., distill: ...}"
            )
        return self

    def check(self, job: Job) -> None:
        from gluonzip.gluon import select

        need_train_data(self, job)
        for rule in self.prune.rules if self.prune else ():
            select(job.net, rule.layers)
        if self.quantize is not None:
            select(job.net, self.quantize.layers)
            if self._calibrates() and job.calibration_data is None:
                raise ConfigError(
                    "stage 'distill' needs calibration_data for the ranges of activations "
                    "(or quantize: {activations: null}, to quantize weights only)"
                )

    def _calibrates(self) -> bool:
        what = self.quantize and self.quantize.activations
        return what is not None and what.calibrates

    def run(self, job: Job) -> None:
        from gluonzip.gluon import calibrate

        steps = self.training.epochs * batches_of(job)
        handlers = [*self._pruning(job, steps), *self._quantizing(job, steps)]
        run_fit(job, self.training, self.distill, "distill", handlers=handlers)
        if self._calibrates():
            calibrate(job.net, job.calibration_data)

    def _pruning(self, job: Job, steps: int) -> list[Any]:
        from gluonzip.gluon import Scheduled
        from gluonzip.schedule import Ramp

        if self.prune is None:
            return []
        rules, end = self.prune.rules, max(1, int(self.prune.until * steps))
        every = max(1, min(end, 20))
        ramp = Ramp(0.0, 1.0, 0, end // every * every, power=3)
        return [Scheduled(ramp, lambda share: apply_rules(job, rules, share), every=every)]

    def _quantizing(self, job: Job, steps: int) -> list[Any]:
        from gluonzip.gluon import Scheduled
        from gluonzip.schedule import Steps

        if self.quantize is None:
            return []
        jump = Steps(((int(self.quantize.begin * steps), 1.0),))
        return [Scheduled(jump, lambda on: self._insert(job) if on else None)]

    def _insert(self, job: Job) -> None:
        from gluonzip.gluon import calibrate, quantize

        what = self.quantize
        activations = None if what.activations is None else what.activations.value()
        job.records["quantize"] = quantize(
            job.net, weights=what.weights.value(), activations=activations, layers=what.layers
        )
        if self._calibrates():
            calibrate(job.net, job.calibration_data)
