"""All passes, in the right order."""

from __future__ import annotations

from gluonzip.graph import Graph
from gluonzip.passes.eliminate import eliminate
from gluonzip.passes.fold_batch_norm import fold_batch_norm
from gluonzip.passes.fold_constants import fold_constants
from gluonzip.passes.fuse import fuse
from gluonzip.passes.quantize.lower import lower


def optimize(graph: Graph) -> Graph:
    """``graph`` as the engine likes it, with the same outputs.

    Constants are folded first, so that fake-quantized weights are integers before a batch norm
    changes their scale. If the graph holds fake quantizers they become integers at the end; to
    quantize a float32 graph, optimize it, then calibrate, insert_fake_quantize and optimize again.
    """
    for step in (fold_constants, eliminate, fold_batch_norm, fuse):
        graph = step(graph)
    if any(node.op == "fake_quantize" for node in graph.nodes):
        graph = lower(graph)
    return graph
