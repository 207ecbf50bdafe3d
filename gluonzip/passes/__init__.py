"""Passes: pure functions Graph -> Graph, never in place."""

from gluonzip.passes.eliminate import eliminate, eliminate_dead
from gluonzip.passes.fold_batch_norm import fold_batch_norm
from gluonzip.passes.fold_constants import fold_constants
from gluonzip.passes.fuse import fuse
from gluonzip.passes.optimize import optimize, quantize_graph, simplify
from gluonzip.passes.recognize import recognize
from gluonzip.passes.storage import store

__all__ = [
    "eliminate",
    "eliminate_dead",
    "fold_batch_norm",
    "fold_constants",
    "fuse",
    "optimize",
    "quantize_graph",
    "recognize",
    "simplify",
    "store",
]
