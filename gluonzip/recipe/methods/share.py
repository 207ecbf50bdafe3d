"""Weight sharing: codebooks by k-means or by rate, then training through them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from gluonzip.recipe.job import Job
from gluonzip.recipe.methods.base import (
    Fit,
    Layers,
    Method,
    distill_trains,
    need_train_data,
    run_fit,
)
from gluonzip.recipe.methods.distilling import Distill
from gluonzip.spec import WeightSharing, granularity


class Share(Method):
    """Let the weights of each layer share ``2^bits`` values (:func:`gluonzip.gluon.share`).

    ``rate`` above 0 also makes zeros, by the bits that they save; it then needs training data, for
    how much each weight matters. ``biases``: bits to round the biases of these layers to.
    """

    method: Literal["share"] = "share"
    layers: Layers = ("*",)
    bits: int = Field(4, ge=1, le=8)
    granularity: Literal["per_tensor", "per_channel"] = "per_tensor"
    start: Literal["linear", "density", "random"] = "linear"
    rate: float = Field(0.0, ge=0)
    together: bool = False
    biases: int | None = Field(None, ge=2, le=16)
    training: Fit | None = None
    distill: Distill | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Share:
        distill_trains(self.training, self.distill)
        return self

    def check(self, job: Job) -> None:
        from gluonzip.gluon import select

        if self.training is not None or self.rate > 0:
            need_train_data(self, job)
        select(job.net, self.layers)

    def run(self, job: Job) -> None:
        from gluonzip.gluon import curvature, round_biases, share

        what = WeightSharing(self.bits, granularity(self.granularity), self.start, self.rate)
        matters = None
        if self.rate > 0:
            matters = curvature(job.net, job.train_data, layers=self.layers, batches=60)
        job.records["share"] = share(
            job.net, what, layers=self.layers, together=self.together, curvature=matters
        )
        if self.training is not None:
            run_fit(job, self.training, self.distill, "share")
        if self.biases is not None:
            round_biases(job.net, self.biases, layers=self.layers)
