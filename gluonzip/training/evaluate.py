"""What a network answers, and how often it is right."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from gluonzip.training.batches import pairs


def predict(net: Any, data: Iterable[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Outputs (N, classes) float32 and labels (N,) of ``net`` over one pass of ``data``."""
    outputs, labels = [], []
    for images, answers in pairs(data):
        outputs.append(net(images).asnumpy())
        labels.append(answers.asnumpy())
    return np.concatenate(outputs), np.concatenate(labels)


def accuracy(net: Any, data: Iterable[Any]) -> float:
    """Share of samples, 0 to 1, whose largest output is at their label."""
    outputs, labels = predict(net, data)
    return float((outputs.argmax(axis=1) == labels).mean())
