"""Pruning while a network trains: gradually, with rewinding, with masks that may open again."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from mxnet.gluon.contrib.estimator import event_handler as events

from gluonzip.errors import ConfigError, DataError
from gluonzip.gluon._mxnet import mx  # noqa: F401 - its error is clear
from gluonzip.gluon.criteria import Movement, PruningTarget, plan
from gluonzip.gluon.handlers import Scheduled
from gluonzip.gluon.pruning import apply, records, zero
from gluonzip.gluon.pruning_schedules import one_shot
from gluonzip.gluon.record import LayerRecord
from gluonzip.gluon.rewinding import forget, load_masks, masks_of, set_values, values_of
from gluonzip.gluon.structure import Block
from gluonzip.schedule import Schedule

MODES = ("frozen", "recomputed", "soft")


class Pruner(Scheduled, events.TrainEnd):
    """Prunes ``net`` as a schedule says, while the user's own loop trains it.

    ::

        pruner = Pruner(net, sparsity=0.9, schedule=polynomial(0, 1000), every=50)
        for epoch in range(epochs):
            pruner.epoch()
            for x, y in data:
                pruner.step()
                ...  # record, backward, trainer.step as ever
        pruner.finish()

    Or ``estimator.fit(data, epochs=..., event_handlers=[pruner])``.

    What is pruned: ``targets`` (:class:`gluonzip.gluon.PruningTarget`), or the arguments of
    :func:`gluonzip.gluon.prune` for a single one. ``schedule``: time -> share of the sparsity in
    force, 0 to 1: :func:`one_shot` (default), :func:`linear`, :func:`polynomial`,
    :func:`iterative`, or any of :mod:`gluonzip.schedule`. (A threshold and N:M are in force as soon
    as the share is above 0.) ``unit``, ``every``: see
    :class:`Scheduled`.

    ``masks``: ``"frozen"``: what is pruned stays pruned. ``"recomputed"``: weights keep their
    values behind the masks, and the masks are chosen anew every time: a weight comes back when
    others have become smaller. ``"soft"``: no masks; what scores lowest is set to zero and trains
    on, so it may come back until the end (soft filter pruning, He et al., IJCAI 2018: with
    ``pattern="filters"``, ``criterion="l2"``, ``unit="epoch"``). In the last two, :meth:`finish`
    (called by the Estimator) makes the zeros final.

    ``rewind``: the time whose parameters come back after every pruning (lottery tickets);
    ``trainer``: its momentum is forgotten then (the Estimator's is known by itself).

    Criterion ``movement`` is accumulated here (a :class:`Movement` that a target brings is taken
    over): then ``step()`` must be called for every batch.
    Gradient criteria take the gradients of ``data``, or those of the last ``backward()``.

    Raises ConfigError for bad arguments, and what ``prune`` raises.
    """

    def __init__(
        self,
        net: Block,
        sparsity: float | None = None,
        *,
        targets: Sequence[PruningTarget] = (),
        schedule: float | Schedule | None = None,
        unit: Literal["step", "epoch"] = "step",
        every: int = 1,
        masks: Literal["frozen", "recomputed", "soft"] = "frozen",
        rewind: int | None = None,
        trainer: Any = None,
        **target: Any,
    ) -> None:
        if masks not in MODES:
            raise ConfigError(f"masks = {masks!r} is unknown; use one of {', '.join(MODES)}")
        if rewind is not None and (not isinstance(rewind, int) or rewind < 0):
            raise ConfigError(f"rewind = {rewind!r} is not a time (a whole number >= 0)")
        schedule = one_shot() if schedule is None else schedule
        super().__init__(schedule, self._prune, unit=unit, every=every)
        self.net, self.masks, self.rewind, self.trainer = net, masks, rewind, trainer
        self.movement: Movement | None = None
        self.targets = self._targets(sparsity, targets, target)
        self.finished = False
        self.records: dict[str, LayerRecord] = {}
        self._early: dict[str, np.ndarray] | None = None

    def _targets(
        self, sparsity: float | None, targets: Sequence[PruningTarget], single: dict[str, Any]
    ) -> list[PruningTarget]:
        if targets and (single or sparsity is not None):
            raise ConfigError("give targets, or sparsity and its like, but not both")
        if not targets and single.get("criterion") == "movement" and "movement" not in single:
            single["movement"] = Movement(self.net, single.get("layers"))
        found = list(targets) or [PruningTarget(sparsity, **single)]
        moves = {id(t.movement): t.movement for t in found if isinstance(t.movement, Movement)}
        if len(moves) > 1:
            raise ConfigError("the targets have several Movements; give them the same one")
        self.movement = next(iter(moves.values()), None)
        return found

    # ------------------------------------------------------------ time
    def _tick(self, unit: str) -> float | None:
        time = self._next[unit]
        self._next[unit] += 1
        if unit == "step" and self.movement is not None:
            self.movement.step()
        if unit != self.unit or self.finished:
            return self.value
        if time == self.rewind:
            self._early = values_of(self.net)
        if time % self.every == 0:
            self._look(time)
        return self.value

    def _look(self, time: int) -> None:
        share = float(self.schedule(time))
        if math.isnan(share) or not 0 <= share <= 1:
            raise ConfigError(
                f"the schedule {self.schedule!r} gives {share} at {self.unit} {time}; it must give "
                "the share of the sparsity in force, 0 to 1"
            )
        changed = share != (self.value or 0.0)
        again = share > 0 and self.masks != "frozen" and self.rewind is None
        if changed or again:
            self._prune(share)
        self.value = share

    def _prune(self, share: float) -> None:
        self._once(share)
        if self.rewind is not None:
            if self._early is None:
                raise ConfigError(
                    f"the schedule prunes before {self.unit} {self.rewind}, whose parameters were "
                    "to come back; let it begin later, or rewind to an earlier time"
                )
            set_values(self.net, self._early)
            forget(self.trainer)
        if self.movement is not None:
            self.movement.remember()

    def _once(self, share: float, final: bool = False) -> None:
        revive = self.masks != "frozen" and not final
        found: dict[str, LayerRecord] = {}
        for target in self.targets:
            made = plan(self.net, target.scaled(share), revive)
            if self.masks == "soft" and not final:
                zero(made)
            else:
                apply(self.net, made, revive)
            for name, record in records(self.net, made).items():
                if record.compressed or name not in found:
                    found[name] = record
        self.records.clear()
        self.records.update(found)

    def finish(self) -> dict[str, LayerRecord]:
        """Training is over: what is zero stays zero from now on. Returns each layer's record.

        Only needed with masks that are recomputed or soft; does nothing a second time.
        """
        if self.masks != "frozen" and not self.finished and self.value:
            self._once(self.value, final=True)
            self.finished = True
        return self.records

    # ------------------------------------------------------------ the Estimator
    def train_begin(self, estimator: Any, *args: Any, **kwargs: Any) -> None:
        self.trainer = self.trainer or estimator.trainer

    def train_end(self, estimator: Any, *args: Any, **kwargs: Any) -> None:
        self.finish()

    # ------------------------------------------------------------ checkpoints
    def state(self) -> dict[str, Any]:
        """Everything that a resumed run needs beside the network and its trainer.

        Take it between two steps. NumPy arrays and JSON values.
        """
        return {
            **super().state(),
            "finished": self.finished,
            "masks": masks_of(self.net),
            "early": self._early,
            "movement": None if self.movement is None else self.movement.state(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state`; layers get the masks they had, so do this before
        ``load_parameters``. DataError when it belongs to another network."""
        super().load_state(state)
        self.finished, self._early = state["finished"], state["early"]
        load_masks(self.net, state["masks"])
        if (self.movement is None) != (state["movement"] is None):
            raise DataError("the saved state is of a Pruner with another criterion")
        if self.movement is not None:
            self.movement.load_state(state["movement"])

    def save(self, path: str | Path) -> None:
        """Write :meth:`state` to a file (``.npz``, no pickles)."""
        arrays, facts = {}, {}
        for key, value in self.state().items():
            if isinstance(value, dict):
                facts[key] = {}
                arrays |= {f"{key}/{name}": array for name, array in value.items()}
            else:
                facts[key] = value
        arrays["facts"] = np.frombuffer(json.dumps(facts).encode(), np.uint8)
        with open(path, "wb") as file:
            np.savez(file, **arrays)

    def load(self, path: str | Path) -> None:
        """:meth:`load_state` from a file of :meth:`save`."""
        try:
            with np.load(path, allow_pickle=False) as stored:
                arrays = dict(stored)
            state = json.loads(arrays.pop("facts").tobytes())
        except (OSError, ValueError, KeyError) as error:
            raise DataError(f"{path} is not a file that Pruner.save wrote: {error}") from None
        for key, array in arrays.items():
            part, _, name = key.partition("/")
            state[part][name] = array
        self.load_state(state)

    def __repr__(self) -> str:
        return f"Pruner({self.schedule!r}, unit={self.unit!r}, masks={self.masks!r})"
