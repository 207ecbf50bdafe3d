"""Symmetric integers for weights and activations: calibration, then training with both in place."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeInt, field_validator, model_validator

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
from gluonzip.spec import (
    ActivationQuantization,
    Binary,
    Ternary,
    WeightQuantization,
    granularity,
)

Bits = Annotated[int, Field(ge=2, le=8)]


class Weights(Model):
    """Integers of weights (:class:`gluonzip.spec.WeightQuantization`).

    ``granularity``: per_tensor, per_channel or per_group:SIZE.
    """

    scheme: Literal["uniform", "ternary", "binary"] = "uniform"
    bits: int = Field(8, ge=2, le=8)
    granularity: str | None = None
    scale: Literal["peak", "learned"] = "peak"
    threshold: float = Field(0.7, ge=0)

    @model_validator(mode="after")
    def _meaningful(self) -> Weights:
        given = self.model_fields_set
        for field, scheme in (("bits", "uniform"), ("scale", "uniform"), ("threshold", "ternary")):
            usual = getattr(self, field) == type(self).model_fields[field].default
            if field in given and not usual and self.scheme != scheme:
                raise ValueError(f"{field} is for scheme: {scheme}, not {self.scheme}")
        self.value()
        return self

    def value(self) -> WeightQuantization:
        """``granularity`` left out: per tensor, and per channel for binary weights."""
        usual = "per_channel" if self.scheme == "binary" else "per_tensor"
        along = granularity(self.granularity or usual)
        if self.scheme == "ternary":
            return Ternary(along, threshold=self.threshold)
        if self.scheme == "binary":
            return Binary(along)
        return WeightQuantization(self.bits, along, self.scale)


class Activations(Model):
    """Integers of layer inputs (:class:`gluonzip.spec.ActivationQuantization`).

    ``signed: true``: codes of either sign also where calibration saw nothing below zero.
    """

    bits: int = Field(8, ge=2, le=8)
    observer: str = "minmax"
    scale: Literal["observed", "learned"] = "observed"
    mode: Literal["static", "dynamic", "none"] = "static"
    signed: bool = False

    @field_validator("observer")
    @classmethod
    def _known(cls, name: str) -> str:
        find_observer(name)
        return name

    @property
    def calibrates(self) -> bool:
        """Are there ranges to be found on calibration data?"""
        return self.mode == "static"

    def value(self) -> ActivationQuantization:
        return ActivationQuantization(self.bits, self.observer, self.scale, self.mode, self.signed)


class Quantize(Method):
    """Quantize ``layers``; ranges of activations come from the calibration data.

    ``activations: {mode: none}`` (or null) quantizes weights only, ``{mode: dynamic}`` takes each
    batch's own ranges; neither needs calibration data. Layers in ``skip``, and the network's first
    and last one with ``skip_first`` and ``skip_last``, stay in float32. With ``training`` the
    network then trains on through the quantizers (straight-through gradients), and the ranges are
    taken again at the end unless they are learned.

    While it trains, ``freeze_batch_norm: 2`` freezes the statistics of batch norms after 2 epochs,
    ``lower_bits: {2: 6, 4: 4}`` gives weights 6 bits from epoch 2 on and 4 from epoch 4, and
    ``extension: true`` runs the quantizers as C++ operators, compiled on this machine
    (:func:`gluonzip.gluon.load_extension`).
    """

    method: Literal["quantize"] = "quantize"
    layers: Layers = ("*",)
    skip: Layers = ()
    skip_first: bool = False
    skip_last: bool = False
    weights: Weights = Weights()
    activations: Activations | None = Activations()
    training: Fit | None = None
    distill: Distill | None = None
    freeze_batch_norm: float | None = Field(None, ge=0)
    lower_bits: dict[NonNegativeInt, Annotated[int, Field(ge=2, le=8)]] = Field(
        default_factory=dict
    )
    extension: bool = False

    @model_validator(mode="after")
    def _consistent(self) -> Quantize:
        distill_trains(self.training, self.distill)
        for field in ("freeze_batch_norm", "lower_bits", "extension"):
            value = getattr(self, field)
            if self.training is None and value is not None and value not in ({}, False):
                raise ValueError(f"{field} needs training: say for how many epochs")
        if self.lower_bits and self.weights.scheme != "uniform":
            raise ValueError(f"lower_bits: {self.weights.scheme} weights have no bits to lower")
        return self

    def check(self, job: Job) -> None:
        from gluonzip.gluon import select

        if self.training is not None:
            need_train_data(self, job)
        if self._calibrates() and job.calibration_data is None:
            raise ConfigError(
                "stage 'quantize' needs calibration_data for the ranges of activations "
                "(or activations: {mode: dynamic}, or null to quantize weights only)"
            )
        select(job.net, self.layers)
        select(job.net, self.skip)

    def _calibrates(self) -> bool:
        return self.activations is not None and self.activations.calibrates

    def _handlers(self, net: Any) -> list[Any]:
        from gluonzip.gluon import FreezeBatchNorm, LowerBits
        from gluonzip.schedule import Steps

        handlers: list[Any] = []
        if self.freeze_batch_norm is not None:
            handlers.append(FreezeBatchNorm(net, self.freeze_batch_norm, unit="epoch"))
        if self.lower_bits:
            steps = Steps(tuple(sorted(self.lower_bits.items())), start=self.weights.bits)
            handlers.append(LowerBits(net, steps, unit="epoch"))
        return handlers

    def _unused(self, job: Job) -> list[str]:
        """Layers that calibration would never see, but for those named outright."""
        from gluonzip.gluon.batches import batches
        from gluonzip.gluon.unreached import unreached

        if not self._calibrates():
            return []
        inputs = len(next(iter(batches(job.calibration_data))))
        return [name for name in unreached(job.net, inputs) if name not in self.layers]

    def run(self, job: Job) -> None:
        from gluonzip.gluon import calibrate, load_extension, quantize
        from gluonzip.gluon.unreached import UNREACHED

        if self.extension:
            load_extension()
        activations = None if self.activations is None else self.activations.value()
        unused = self._unused(job)
        records = quantize(
            job.net, weights=self.weights.value(), activations=activations, layers=self.layers,
            skip=(*self.skip, *unused), skip_first=self.skip_first, skip_last=self.skip_last,
        )  # fmt: skip
        records |= {name: replace(records[name], reason=UNREACHED) for name in unused}
        job.records["quantize"] = records
        if self._calibrates():
            calibrate(job.net, job.calibration_data)
        if self.training is not None:
            handlers = self._handlers(job.net)
            run_fit(job, self.training, self.distill, "quantize", handlers=handlers)
            if self._calibrates() and activations.scale != "learned":
                calibrate(job.net, job.calibration_data)
