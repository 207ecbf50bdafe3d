"""What to prune, how far and by which criterion: the arguments of ``prune`` as one value."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

from gluonzip.errors import ConfigError
from gluonzip.gluon.layers import Selection
from gluonzip.passes.prune import Criterion, resolve
from gluonzip.passes.prune.scorers import Scorer
from gluonzip.spec import NM, Channels, Filters, SparsityPattern, sparsity_pattern


@dataclass(frozen=True, eq=False)
class PruningTarget:
    """The arguments of :func:`gluonzip.gluon.prune`. ConfigError for those that do not fit."""

    sparsity: float | None = None
    threshold: float | None = None
    layers: Selection = None
    pattern: SparsityPattern | str | None = None
    scope: str = "layer"
    criterion: str | Scorer = "magnitude"
    data: Iterable[Any] | None = None
    loss: Any = None
    gradients: Mapping[str, Any] | None = None
    movement: Mapping[str, Any] | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "pattern", sparsity_pattern(self.pattern))
        object.__setattr__(self, "scorer", resolve(self.criterion, "criterion"))
        if self.scope not in ("layer", "global"):
            raise ConfigError(f"scope = {self.scope!r} is unknown; use 'layer' or 'global'")
        self._check_amount()
        self._check_criterion()

    def _check_amount(self) -> None:
        if isinstance(self.pattern, NM):
            if self.threshold is not None or self.sparsity is not None:
                raise ConfigError(
                    f"{self.pattern} sets the sparsity itself; drop threshold and sparsity"
                )
            return
        if (self.threshold is None) == (self.sparsity is None):
            raise ConfigError("prune needs exactly one of threshold and sparsity")
        if self.sparsity is None:
            if not _is_number(self.threshold) or self.threshold < 0:
                raise ConfigError(
                    f"threshold = {self.threshold!r} is not usable; use a number >= 0"
                )
        elif not _is_number(self.sparsity) or not 0 <= self.sparsity < 1:
            raise ConfigError(
                f"sparsity = {self.sparsity!r} is not usable; use a number from 0 to below 1 (0.9: "
                "nine of ten weights become zero)"
            )

    def _check_criterion(self) -> None:
        criterion = self.registered
        if criterion is None:
            return
        whole = (Filters,) if criterion.of == "norm" else (Filters, Channels)
        if criterion.filters_only and not isinstance(self.pattern, whole):
            raise ConfigError(
                f"criterion {criterion.name!r} compares whole filters; use pattern='filters' (it "
                f"was {self.pattern})"
            )
        if criterion.needs == "movement" and self.movement is None:
            raise ConfigError(
                "criterion 'movement' looks back at training: pass movement=Movement(net), whose "
                "step() ran after each backward(), or train with a Pruner, which keeps one"
            )

    @property
    def registered(self) -> Criterion | None:
        """The criterion, unless it is a function of the user's own."""
        return self.scorer if isinstance(self.scorer, Criterion) else None

    @property
    def needs_gradient(self) -> bool:
        """Are gradients to be found? (For a function of the user's own: when data are given.)"""
        if self.registered is None:
            return self.data is not None or self.gradients is not None
        return self.registered.needs == "gradient"

    def scaled(self, share: float) -> PruningTarget:
        """The target while ``share`` of it is in force. (N:M is in force at once.)

        A threshold is not scaled: it is no amount.
        """
        if self.sparsity is None:
            return self
        return replace(self, sparsity=self.sparsity * share)


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
