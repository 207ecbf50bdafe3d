"""How good outputs are, given labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gluonzip.errors import ConfigError, DataError

Evaluate = Callable[[Any, np.ndarray], Any]


class Scorer:
    """Top-1 accuracy, or what the user's ``evaluate`` says. ``note``: why there is no score."""

    def __init__(self, evaluate: Evaluate | None) -> None:
        if evaluate is not None and not callable(evaluate):
            raise ConfigError(f"evaluate = {evaluate!r} is not a function of (outputs, labels)")
        self.evaluate = evaluate
        self.note = ""

    def __call__(self, outputs: list[np.ndarray], labels: np.ndarray | None) -> float | None:
        """The mean over the samples; None without labels, or with labels of no known meaning."""
        if labels is None:
            if self.evaluate is not None:
                raise DataError("evaluate needs labels: the data must yield (inputs, labels)")
            self.note = "no labels, so no score"
            return None
        if self.evaluate is not None:
            found = outputs[0] if len(outputs) == 1 else tuple(outputs)
            return float(np.mean(np.asarray(self.evaluate(found, labels), np.float64)))
        if len(outputs) == 1 and outputs[0].ndim == 2 and labels.ndim == 1:
            return float((outputs[0].argmax(axis=1) == labels).mean())
        self.note = (
            f"no accuracy of {len(outputs)} outputs, the first {outputs[0].shape}, with labels "
            f"{labels.shape}; give evaluate="
        )
        return None
