"""All passes, in the right order."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from gluonzip.graph import Graph, interpret
from gluonzip.passes.eliminate import eliminate
from gluonzip.passes.fold_batch_norm import fold_batch_norm
from gluonzip.passes.fold_constants import fold_constants
from gluonzip.passes.fuse import fuse
from gluonzip.passes.quantize import (
    calibrate,
    dynamic,
    fake_quantize_weights,
    insert_fake_quantize,
    lower,
)
from gluonzip.passes.quantize.calibrate import Batch, Run
from gluonzip.passes.recognize import recognize
from gluonzip.spec import ActivationQuantization, WeightQuantization


def simplify(graph: Graph) -> Graph:
    """``graph`` with constants folded, idle nodes gone, activations named, batch norms and
    epilogues in their layers.

    Constants come first, so that fake-quantized weights are integers before a batch norm changes
    their scale. Fake quantizers of activations stay.
    """
    for step in (fold_constants, eliminate, recognize, fold_batch_norm, fuse):
        graph = step(graph)
    return graph


def optimize(graph: Graph) -> Graph:
    """``graph`` as the engine likes it: :func:`simplify`, then integers for fake quantizers.

    To quantize a float32 graph, or what a wrapped network left in float32 (residual connections),
    ``simplify`` it, then ``calibrate``, ``insert_fake_quantize`` and ``optimize``.
    """
    graph = simplify(graph)
    if any(node.op in ("fake_quantize", dynamic.OP) for node in graph.nodes):
        # A quantizer may have stood between a flatten and the dense layer that makes it idle.
        graph = eliminate(lower(graph))
    return graph


def quantize_graph(
    graph: Graph,
    batches: Iterable[Batch],
    weights: WeightQuantization | None = None,
    activations: ActivationQuantization | None = None,
    skip: Collection[str] = (),
    run: Run = interpret,
) -> Graph:
    """Post-training quantization in one call: ``graph``, as traced, in int8 from end to end.

    Weights are quantized before batch norms fold, as they were trained; ``batches``, ``skip`` and
    ``run`` are as in ``calibrate``. What a wrapped network has quantized already stays as it is.
    """
    graph = fake_quantize_weights(fold_constants(graph), weights, skip)
    graph = simplify(graph)
    ranges = calibrate(graph, batches, run, skip, activations)
    return optimize(insert_fake_quantize(graph, ranges, weights, activations, skip))
