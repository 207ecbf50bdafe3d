"""What a method works on while a recipe runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from gluonzip.training import Progress, Silent


@dataclass
class Job:
    """A network on its way through the stages of a recipe.

    ``net`` is changed in place. ``teacher``: any callable on a batch, for stages that distil.
    ``records``: what each method did to each layer (``gluonzip.gluon.LayerRecord`` by layer name).
    """

    net: Any
    train_data: Iterable[Any] | None = None
    calibration_data: Iterable[Any] | None = None
    teacher: Any = None
    progress: Progress = field(default_factory=Silent)
    records: dict[str, dict[str, Any]] = field(default_factory=dict)
