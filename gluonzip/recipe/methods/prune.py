"""Pruning by masks, at once or on a schedule, with training while the masks hold."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from pydantic import Field, model_validator

from gluonzip.passes.prune import resolve
from gluonzip.recipe.job import Job
from gluonzip.recipe.methods.base import (
    Distill,
    Fit,
    Layers,
    Method,
    batches_of,
    distill_trains,
    need_train_data,
    run_fit,
)
from gluonzip.recipe.methods.sampling import sample
from gluonzip.recipe.model import Model
from gluonzip.spec import NM, sparsity_pattern


class Rule(Model):
    """How far some layers are pruned, and by what.

    ``layers``: names or globs. ``sparsity``: the share of units that becomes zero; or
    ``threshold``: units that score below it do. ``pattern``: ``unstructured``, ``4x1`` (blocks of
    input channels times output channels), ``2:4`` (at most 2 of every 4 inputs; it says how many by
    itself), ``filters`` or ``channels``. ``criterion``: ``magnitude``, ``l1``, ``l2``, ``taylor``,
    ``snip``, ``movement``, ``random``, ``fpgm``, ``bn_scale``; gradients are those of a few batches
    of the training data. ``scope``: ``layer``, or ``global`` (the rule's layers ranked together).
    """

    layers: Layers = ("*",)
    sparsity: float | None = Field(None, ge=0, lt=1)
    threshold: float | None = Field(None, gt=0)
    pattern: str = "unstructured"
    criterion: str = "magnitude"
    scope: Literal["layer", "global"] = "layer"

    @model_validator(mode="after")
    def _one_measure(self) -> Rule:
        resolve(self.criterion, "criterion")
        given = [n for n in ("sparsity", "threshold") if getattr(self, n) is not None]
        if isinstance(sparsity_pattern(self.pattern), NM):
            if given:
                raise ValueError(
                    f"pattern {self.pattern} sets the sparsity itself; drop {given[0]}"
                )
        elif len(given) != 1:
            raise ValueError("give exactly one of sparsity and threshold")
        return self

    def target(self, job: Job, movement: Any = None) -> Any:
        """The rule as a :class:`gluonzip.gluon.PruningTarget`."""
        from gluonzip.gluon import PruningTarget

        gradients = resolve(self.criterion).needs == "gradient"
        return PruningTarget(
            self.sparsity,
            self.threshold,
            self.layers,
            self.pattern,
            self.scope,
            self.criterion,
            data=sample(job, f"criterion {self.criterion!r}") if gradients else None,
            movement=movement if resolve(self.criterion).needs == "movement" else None,
        )


class When(Model):
    """When sparsity rises, in shares of the training's steps (0 to 1).

    ``kind``: ``one_shot`` (all at ``begin``), ``linear``, ``polynomial`` (with ``power``; Zhu and
    Gupta 2017, https://arxiv.org/abs/1710.01878) or ``iterative`` (``rounds`` prunings that each
    take the same share of what is left). ``rewind``: the parameters of that time come back after
    each pruning (lottery tickets; Frankle and Carbin 2019). ``updates``: how often sparsity rises.
    """

    kind: Literal["one_shot", "linear", "polynomial", "iterative"] = "polynomial"
    begin: float = Field(0.0, ge=0, lt=1)
    end: float = Field(0.5, gt=0, le=1)
    power: float = Field(3.0, gt=0)
    rounds: int = Field(3, ge=1)
    updates: int = Field(20, ge=1)
    rewind: float | None = Field(None, ge=0, lt=1)

    @model_validator(mode="after")
    def _order(self) -> When:
        if self.kind != "one_shot" and self.end <= self.begin:
            raise ValueError(f"end = {self.end} does not lie behind begin = {self.begin}")
        if self.rewind is not None and self.rewind > self.begin:
            raise ValueError(
                f"rewind = {self.rewind} lies behind begin = {self.begin}: pruning would begin "
                "before the parameters that are to come back"
            )
        return self

    def schedule(self, steps: int, sparsity: float) -> tuple[Any, int]:
        """Step -> share of the sparsity in force; and how many steps lie between two looks."""
        from gluonzip.gluon import iterative, one_shot, polynomial

        begin = int(self.begin * steps)
        span = max(1, int(self.end * steps) - begin)
        if self.kind == "one_shot":
            return one_shot(begin), 1
        if self.kind == "iterative":
            gap = max(1, span // self.rounds)
            return iterative(self.rounds, gap, sparsity, begin + gap), 1
        every = max(1, span // self.updates)
        first = -(-begin // every) * every  # looks are at multiples of every
        end = first + span // every * every
        return polynomial(first, end, self.power if self.kind == "polynomial" else 1), every


class Prune(Method):
    """Zero the least important weights, and train on with the masks held.

    ``ramp``: epochs over which sparsity rises to its target along a cubic curve (Zhu and Gupta
    2017); 0: at once. ``schedule``: by steps instead, and of other kinds. ``masks``: ``frozen``;
    with a schedule also ``recomputed`` (weights may come back while training goes on) or ``soft``
    (what is pruned is set to zero and trains on; with pattern ``filters`` soft filter pruning).
    Without ``training`` nothing is trained.
    """

    method: Literal["prune"] = "prune"
    rules: tuple[Rule, ...] = Field(min_length=1)
    ramp: int = Field(0, ge=0)
    schedule: When | None = None
    masks: Literal["frozen", "recomputed", "soft"] = "frozen"
    training: Fit | None = None
    distill: Distill | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Prune:
        epochs = self.training.epochs if self.training else 0
        if self.ramp > epochs:
            raise ValueError(f"ramp = {self.ramp} is longer than training (epochs = {epochs})")
        if self.schedule is not None and self.ramp:
            raise ValueError("give ramp (epochs) or schedule, not both")
        if self.schedule is not None and self.training is None:
            raise ValueError("schedule needs training: say for how many epochs")
        scheduled = self.masks != "frozen" or self._moves()
        if self.schedule is None and scheduled:
            what = "criterion movement" if self.masks == "frozen" else f"masks: {self.masks}"
            raise ValueError(f"{what} needs a schedule, such as {{kind: polynomial, end: 0.5}}")
        if self._moves() and self.schedule.begin == 0 and self.schedule.kind != "iterative":
            raise ValueError("criterion movement looks back at training: let schedule.begin be > 0")
        distill_trains(self.training, self.distill)
        return self

    def _moves(self) -> bool:
        return any(resolve(rule.criterion).needs == "movement" for rule in self.rules)

    def check(self, job: Job) -> None:
        from gluonzip.gluon import select

        if self.training is not None:
            need_train_data(self, job)
        for rule in self.rules:
            select(job.net, rule.layers)
            rule.target(job, movement={})
        if self.schedule is not None:
            batches_of(job)

    def run(self, job: Job) -> None:
        if self.training is None:
            apply_rules(job, self.rules, 1.0)
        elif self.schedule is None:
            run_fit(job, self.training, self.distill, "prune", lambda e: self._on_epoch(job, e))
        else:
            self._run_scheduled(job)

    def _on_epoch(self, job: Job, epoch: int) -> None:
        if epoch == 0 or epoch < self.ramp:
            apply_rules(job, self.rules, ramp_share(epoch, self.ramp))

    def _run_scheduled(self, job: Job) -> None:
        from gluonzip.gluon import Movement, Pruner

        steps = self.training.epochs * batches_of(job)
        highest = max((rule.sparsity or 0.5 for rule in self.rules), default=0.5)
        schedule, every = self.schedule.schedule(steps, highest)
        rewind = self.schedule.rewind
        movement = Movement(job.net) if self._moves() else None
        pruner = Pruner(
            job.net,
            targets=[rule.target(job, movement) for rule in self.rules],
            schedule=schedule,
            every=every,
            masks=self.masks,
            rewind=None if rewind is None else int(rewind * steps),
        )
        job.records["prune"] = pruner.records
        run_fit(job, self.training, self.distill, "prune", handlers=[pruner])
        job.records["prune"] = pruner.finish() or job.records["prune"]


def apply_rules(job: Job, rules: Iterable[Rule], share: float) -> None:
    """Prune the job's network to ``share`` of the rules' sparsities, and note it."""
    from gluonzip.gluon.pruning import apply, plan, records

    merged: dict[str, Any] = {}
    for rule in rules:
        made = plan(job.net, rule.target(job).scaled(share))
        apply(job.net, made)
        found = records(job.net, made)
        merged |= {n: r for n, r in found.items() if r.compressed or n not in merged}
    job.records["prune"] = merged


def ramp_share(epoch: int, ramp: int) -> float:
    """Share of the target sparsity in force during ``epoch`` (from 0): 1 - (1 - t)^3.

    >>> [round(ramp_share(e, 4), 3) for e in range(4)], ramp_share(0, 0)
    ([0.578, 0.875, 0.984, 1.0], 1.0)
    """
    return 1.0 - (1.0 - (epoch + 1) / ramp) ** 3 if epoch < ramp else 1.0
