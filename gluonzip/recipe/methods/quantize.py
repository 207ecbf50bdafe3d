"""Symmetric integers for weights and activations: calibration, then training with both in place."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from gluonzip.errors import ConfigError
from gluonzip.passes.quantize.observers import find_observer
from gluonzip.recipe.job import Job
from gluonzip.recipe.methods.base import (
    Distill,
    Fit,
    Layers,
    Method,
    distill_trains,
    need_train_data,
    run_fit,
)
from gluonzip.recipe.model import Model
from gluonzip.spec import ActivationQuantization, WeightQuantization, granularity


class Weights(Model):
    """Integers of weights (:class:`gluonzip.spec.WeightQuantization`)."""

    bits: int = Field(8, ge=2, le=8)
    granularity: Literal["per_tensor", "per_channel"] = "per_tensor"
    scale: Literal["peak", "learned"] = "peak"

    def value(self) -> WeightQuantization:
        return WeightQuantization(self.bits, granularity(self.granularity), self.scale)


class Activations(Model):
    """Integers of layer inputs (:class:`gluonzip.spec.ActivationQuantization`)."""

    bits: int = Field(8, ge=2, le=8)
    observer: str = "minmax"
    scale: Literal["observed", "learned"] = "observed"

    @field_validator("observer")
    @classmethod
    def _known(cls, name: str) -> str:
        find_observer(name)
        return name

    def value(self) -> ActivationQuantization:
        return ActivationQuantization(self.bits, self.observer, self.scale)


class Quantize(Method):
    """Quantize ``layers``; ranges of activations come from the calibration data.

    ``activations: null`` quantizes weights only. With ``training`` the network then trains on
    through the quantizers (straight-through gradients), and the ranges are taken again at the end
    unless they are learned.
    """

    method: Literal["quantize"] = "quantize"
    layers: Layers = ("*",)
    weights: Weights = Weights()
    activations: Activations | None = Activations()
    training: Fit | None = None
    distill: Distill | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Quantize:
        distill_trains(self.training, self.distill)
        return self

    def check(self, job: Job) -> None:
        from gluonzip.gluon import select

        if self.training is not None:
            need_train_data(self, job)
        if self.activations is not None and job.calibration_data is None:
            raise ConfigError(
                "stage 'quantize' needs calibration_data for the ranges of activations "
                "(or activations: null, to quantize weights only)"
            )
        select(job.net, self.layers)

    def run(self, job: Job) -> None:
        from gluonzip.gluon import calibrate, quantize

        activations = None if self.activations is None else self.activations.value()
        job.records["quantize"] = quantize(
            job.net, weights=self.weights.value(), activations=activations, layers=self.layers
        )
        if activations is not None:
            calibrate(job.net, job.calibration_data)
        if self.training is not None:
            run_fit(job, self.training, self.distill, "quantize")
            if activations is not None and activations.scale != "learned":
                calibrate(job.net, job.calibration_data)
