"""Bias correction: the mean error that rounded weights bring goes into the bias.

M. Nagel et al., arXiv:1906.04721, section 4.2: E[W' x] - E[W x] = (W' - W) E[x].
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gluonzip.graph import Constant, Graph, Names
from gluonzip.passes.quantize.kinds import has_quantized_weight
from gluonzip.passes.quantize.layer_inputs import Moments


def correct_bias(graph: Graph, dense: Graph, moments: Mapping[str, Moments]) -> Graph:
    """``graph``, with integer weights, such that rounding them moves no channel's mean.

    ``dense``: the same layers (by name) with the weights as they were. ``moments``: of the layers'
    inputs (:func:`layer_moments`); layers without stay as they are.
    """
    graph = graph.copy()
    before = {node.name: node for node in dense.nodes}
    names = Names(graph)
    for node in graph.nodes:
        found = moments.get(node.name)
        if found is None or not has_quantized_weight(graph, node) or node.name not in before:
            continue
        weight = graph.constants[node.inputs[1]].dense()
        original = dense.constants[before[node.name].inputs[1]].dense()
        shift = _mean_of_sums(weight - original, found.mean)
        inputs = [*node.inputs, "", ""][: max(3, len(node.inputs))]
        bias = graph.constants[inputs[2]].dense() if inputs[2] else 0.0
        inputs[2] = names.fresh(f"{node.name}.corrected_bias")
        graph.constants[inputs[2]] = Constant((bias - shift).astype(np.float32))
        node.inputs = inputs
    graph.prune()
    return graph


def _mean_of_sums(weight: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Expected output of each channel; ``mean``: (groups, K)."""
    rows = weight.astype(np.float64).reshape(mean.shape[0], -1, mean.shape[1])
    return np.einsum("gok,gk->go", rows, mean).ravel()
