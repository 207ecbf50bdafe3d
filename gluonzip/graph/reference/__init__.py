"""What each operator computes: a few lines of NumPy each, to read and to check against."""

from gluonzip.graph.reference import (  # noqa: F401  each registers its operators
    elementwise,
    integer,
    normalization,
    pooling,
    reduction,
    shaping,
    weighted,
)
from gluonzip.graph.reference.registry import FUNCTIONS, run
from gluonzip.graph.reference.value import Value

__all__ = ["FUNCTIONS", "Value", "run"]
