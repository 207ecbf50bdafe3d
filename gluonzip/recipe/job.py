"""What a method works on while a recipe runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gluonzip.spec import FloatStorage
from gluonzip.training import Checkpoints, Progress, Silent


@dataclass
class Job:
    """A network on its way through the stages of a recipe.

    ``net`` is changed in place. ``teacher``: any callable on a batch, for stages that distil.
    ``checkpoints``: a folder for those of each training run, in which a killed job goes on;
    ``every`` so many steps.
    ``records``: what each method did to each layer (``gluonzip.gluon.LayerRecord`` by layer name).
    """

    net: Any
    train_data: Iterable[Any] | None = None
    calibration_data: Iterable[Any] | None = None
    teacher: Any = None
    progress: Progress = field(default_factory=Silent)
    records: dict[str, dict[str, Any]] = field(default_factory=dict)
    checkpoints: Path | None = None
    every: int | None = None
    storage: tuple[FloatStorage, tuple[str, ...]] | None = None
    """How the floats of which layers are to be stored."""
    _runs: int = 0

    def next_checkpoints(self, label: str) -> Checkpoints | None:
        """Those of the next training run: ``folder/0-train``, ``folder/1-prune``, ..."""
        if self.checkpoints is None:
            return None
        self._runs += 1
        folder = self.checkpoints / f"{self._runs - 1}-{label}"
        return Checkpoints(folder, every=self.every)
