"""Things that happen on a schedule while a network trains, whoever runs the loop."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

from mxnet.gluon.contrib.estimator import event_handler as events

from gluonzip.errors import ConfigError
from gluonzip.gluon._mxnet import mx  # noqa: F401 - its error is clear
from gluonzip.schedule import Schedule, as_schedule

EARLY = -2000
"""Priority in the Estimator: before its own handlers, which run the batch."""


class Scheduled(events.TrainBegin, events.EpochBegin, events.BatchBegin):
    """Calls ``apply(value)`` whenever ``schedule`` gives a new value: for pruning, quantization,
    the weights of losses alike.

        sparser = Scheduled(Ramp(0, 0.8, begin=0, end=500, power=3),
                            lambda s: prune(net, sparsity=s), every=50)

    ``schedule``: a number or a function of time (:mod:`gluonzip.schedule`). ``unit``: what time
    counts, ``"step"`` or ``"epoch"``. ``every``: only each so many steps (or epochs) is looked at.

    In a hand-written loop call ``sparser.step()`` before each batch (and ``sparser.epoch()`` before
    each epoch); in the Gluon Estimator pass it among ``event_handlers``; in
    :func:`gluonzip.training.fit` among ``handlers``. ``state`` and ``load_state`` are for
    checkpoints: what was applied before is not applied again.

    Raises ConfigError for bad arguments and for a schedule that gives NaN.
    """

    def __init__(
        self,
        schedule: float | Schedule,
        apply: Callable[[float], Any],
        *,
        unit: Literal["step", "epoch"] = "step",
        every: int = 1,
        priority: int = EARLY,
    ) -> None:
        if unit not in ("step", "epoch"):
            raise ConfigError(f"unit = {unit!r} is unknown; use 'step' or 'epoch'")
        if not isinstance(every, int) or every < 1:
            raise ConfigError(f"every = {every!r} is not usable; it must be a whole number >= 1")
        self.schedule, self.apply = as_schedule(schedule), apply
        self.unit, self.every, self.priority = unit, every, priority
        self.value: float | None = None
        self._next = {"step": 0, "epoch": 0}

    # ------------------------------------------------------------ hand-written loops
    def step(self) -> float | None:
        """A batch begins. Returns the value in force."""
        return self._tick("step")

    def epoch(self) -> float | None:
        """An epoch begins. Returns the value in force."""
        return self._tick("epoch")

    def _tick(self, unit: str) -> float | None:
        time = self._next[unit]
        self._next[unit] += 1
        if unit == self.unit and time % self.every == 0:
            value = float(self.schedule(time))
            if math.isnan(value):
                raise ConfigError(f"the schedule {self.schedule!r} gives NaN at {unit} {time}")
            if value != self.value:
                self.apply(value)
                self.value = value
        return self.value

    # ------------------------------------------------------------ the Estimator
    def train_begin(self, estimator: Any, *args: Any, **kwargs: Any) -> None:
        """Time goes on where an earlier ``fit`` stopped."""

    def epoch_begin(self, estimator: Any, *args: Any, **kwargs: Any) -> None:
        self.epoch()

    def batch_begin(self, estimator: Any, *args: Any, **kwargs: Any) -> None:
        self.step()

    # ------------------------------------------------------------ checkpoints
    def state(self) -> dict[str, Any]:
        """Where the schedule stands: JSON values."""
        return {"value": self.value, **self._next}

    def load_state(self, state: dict[str, Any]) -> None:
        self.value = state["value"]
        self._next = {unit: state[unit] for unit in ("step", "epoch")}

    def __repr__(self) -> str:
        return f"Scheduled({self.schedule!r}, unit={self.unit!r}, every={self.every})"
