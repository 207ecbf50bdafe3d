"""Ordinary training with labels: it makes the dense network."""

from __future__ import annotations

from typing import ClassVar, Literal

from gluonzip.recipe.job import Job
from gluonzip.recipe.methods.base import Fit, Method, need_train_data, run_fit


class Train(Method):
    """Softmax cross-entropy on the labels."""

    method: Literal["train"] = "train"
    training: Fit
    compresses: ClassVar[bool] = False

    def check(self, job: Job) -> None:
        need_train_data(self, job)

    def run(self, job: Job) -> None:
        run_fit(job, self.training, None, "train")
