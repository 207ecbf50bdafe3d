"""One module a family of operators: from ONNX nodes to nodes of the op table."""

from gluonzip.onnx.parse import (  # noqa: F401  each registers its readers
    elementwise,
    integer,
    normalization,
    pooling,
    reduction,
    shaping,
    weighted,
)
from gluonzip.onnx.parse.registry import READERS, OnnxNode

__all__ = ["READERS", "OnnxNode"]
