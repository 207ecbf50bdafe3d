"""Layers in two thinner ones each, then training."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from gluonzip.errors import ConfigError
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


class LowRank(Method):
    """Factorize ``layers`` by SVD (:func:`gluonzip.gluon.factorize`).

    Give one of ``energy``, ``rank`` and ``budget``. The network is another one afterwards, with
    layers ``NAME.first`` and ``NAME.second``: put this stage before those that prune or quantize.
    """

    method: Literal["low_rank"] = "low_rank"
    layers: Layers = ("*",)
    energy: float | None = Field(None, gt=0, le=1)
    rank: int | None = Field(None, ge=1)
    budget: float | None = Field(None, gt=0, le=1)
    scheme: Literal["channel", "spatial"] = "channel"
    training: Fit | None = None
    distill: Distill | None = None

    @model_validator(mode="after")
    def _consistent(self) -> LowRank:
        if sum(v is not None for v in (self.energy, self.rank, self.budget)) != 1:
            raise ValueError("give exactly one of energy, rank and budget")
        distill_trains(self.training, self.distill)
        return self

    def check(self, job: Job) -> None:
        if self.training is not None:
            need_train_data(self, job)
        if job.train_data is None and job.calibration_data is None:
            raise ConfigError("stage 'low_rank' needs data, for the shape of the network's input")

    def run(self, job: Job) -> None:
        from gluonzip.gluon import LayerRecord, factorize
        from gluonzip.training import pairs

        source = job.train_data if job.train_data is not None else job.calibration_data
        shape = next(iter(pairs(source)))[0].shape
        net, found = factorize(
            job.net, (1, *shape[1:]), energy=self.energy, rank=self.rank, budget=self.budget,
            scheme=self.scheme, layers=self.layers,
        )  # fmt: skip
        net.hybridize()
        job.net = net
        job.records["low_rank"] = {
            f.layer: LayerRecord(
                f.layer, "", f.before, bool(f.rank), f.reason, {"rank": f.rank, "energy": f.energy}
            )
            for f in found
        }
        if self.training is not None:
            run_fit(job, self.training, self.distill, "low_rank")
