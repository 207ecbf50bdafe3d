"""From MXNet operators to rows of the op table: one small function an operator, no MXNet import."""

from gluonzip.gluon.convert import elementwise, frames, pooling, reduction, shape, weighted
from gluonzip.gluon.convert.registry import CONVERTERS, Emitter, MxNode, Unconvertible

__all__ = [
    "CONVERTERS",
    "Emitter",
    "MxNode",
    "Unconvertible",
    "elementwise",
    "frames",
    "pooling",
    "reduction",
    "shape",
    "weighted",
]
