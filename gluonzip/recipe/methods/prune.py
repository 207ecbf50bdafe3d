"""Magnitude pruning, gradual if wanted, with fine-tuning while the masks hold."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Literal

from pydantic import Field, model_validator

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
from gluonzip.spec import NM, Block, SparsityPattern, Unstructured


class Rule(Model):
    """How far some layers are pruned.

    ``layers``: names or globs. ``sparsity``: the share of weights that becomes zero; or
    ``threshold``: weights smaller than it in magnitude do. ``pattern``: ``unstructured``, ``4x1``
    (blocks of input channels times output channels) or ``2:4`` (at most 2 of every 4 inputs; it
    says how many by itself).
    """

    layers: Layers = ("*",)
    sparsity: float | None = Field(None, ge=0, lt=1)
    threshold: float | None = Field(None, gt=0)
    pattern: str = "unstructured"

    @model_validator(mode="after")
    def _one_measure(self) -> Rule:
        given = [n for n in ("sparsity", "threshold") if getattr(self, n) is not None]
        if isinstance(parse_pattern(self.pattern), NM):
            if given:
                raise ValueError(
                    f"pattern {self.pattern} sets the sparsity itself; drop {given[0]}"
                )
        elif len(given) != 1:
            raise ValueError("give exactly one of sparsity and threshold")
        return self


class Prune(Method):
    """Zero the smallest weights, then train on with the masks held.

    ``ramp``: epochs over which sparsity rises to its target along a cubic curve (Zhu and Gupta
    2017, https://arxiv.org/abs/1710.01878); 0: at once. Without ``training`` nothing is trained.
    """

    method: Literal["prune"] = "prune"
    rules: tuple[Rule, ...] = Field(min_length=1)
    ramp: int = Field(0, ge=0)
    training: Fit | None = None
    distill: Distill | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Prune:
        epochs = self.training.epochs if self.training else 0
        if self.ramp > epochs:
            raise ValueError(f"ramp = {self.ramp} is longer than training (epochs = {epochs})")
        distill_trains(self.training, self.distill)
        return self

    def check(self, job: Job) -> None:
        from gluonzip.gluon import select

        if self.training is not None:
            need_train_data(self, job)
        for rule in self.rules:
            select(job.net, rule.layers)

    def run(self, job: Job) -> None:
        if self.training is None:
            apply_rules(job, self.rules, 1.0)
        else:
            run_fit(job, self.training, self.distill, "prune", lambda e: self._on_epoch(job, e))

    def _on_epoch(self, job: Job, epoch: int) -> None:
        if epoch == 0 or epoch < self.ramp:
            apply_rules(job, self.rules, ramp_share(epoch, self.ramp))


def apply_rules(job: Job, rules: Iterable[Rule], share: float) -> None:
    """Prune the job's network to ``share`` of the rules' sparsities, and note it."""
    from gluonzip.gluon import prune

    merged: dict[str, Any] = {}
    for rule in rules:
        records = prune(
            job.net,
            sparsity=None if rule.sparsity is None else rule.sparsity * share,
            threshold=rule.threshold,
            layers=rule.layers,
            pattern=parse_pattern(rule.pattern),
        )
        merged |= {n: r for n, r in records.items() if r.compressed or n not in merged}
    job.records["prune"] = merged


def ramp_share(epoch: int, ramp: int) -> float:
    """Share of the target sparsity in force during ``epoch`` (from 0): 1 - (1 - t)^3.

    >>> [round(ramp_share(e, 4), 3) for e in range(4)], ramp_share(0, 0)
    ([0.578, 0.875, 0.984, 1.0], 1.0)
    """
    return 1.0 - (1.0 - (epoch + 1) / ramp) ** 3 if epoch < ramp else 1.0


def parse_pattern(text: str) -> SparsityPattern:
    """``unstructured``, ``4x1`` or ``2:4`` as a value. Raises ValueError for anything else."""
    if text == "unstructured":
        return Unstructured()
    if found := re.fullmatch(r"(\d+)x(\d+)", text):
        return Block(int(found[1]), int(found[2]))
    if found := re.fullmatch(r"(\d+):(\d+)", text):
        return NM(int(found[1]), int(found[2]))
    raise ValueError(f"pattern {text!r} is unknown; use unstructured, 4x1 (blocks) or 2:4 (N:M)")
