"""One module a family of operators: from nodes of the op table to TFLite operators."""

from gluonzip.tflite.emit import (  # noqa: F401  each registers its emitters
    elementwise,
    integer,
    normalization,
    pooling,
    reduction,
    shaping,
    weighted,
)
from gluonzip.tflite.emit.registry import EMITTERS, NOT_EMITTED, State, View

__all__ = ["EMITTERS", "NOT_EMITTED", "State", "View"]
