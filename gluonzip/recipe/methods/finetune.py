"""Further training of what earlier stages left, usually with the dense network as teacher."""

from __future__ import annotations

from typing import Literal

from gluonzip.recipe.job import Job
from gluonzip.recipe.methods.base import Distill, Fit, Method, need_train_data, run_fit


class Finetune(Method):
    """Train on; masks and quantizers hold. ``distill: null`` learns from labels alone."""

    method: Literal["finetune"] = "finetune"
    training: Fit
    distill: Distill | None = Distill()

    def check(self, job: Job) -> None:
        need_train_data(self, job)

    def run(self, job: Job) -> None:
        run_fit(job, self.training, self.distill, "finetune")
