"""Zeros of pruned weights: ``weight * mask`` leaves -0.0 where a negative weight was.

-0.0 is not the zero that positions leave out, and half of all zeros would be stored as values: four
bytes each. A weight's zero contributes nothing to a sum whatever its sign, so weights are stored
without it. Other constants keep it: they may be divided by.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gluonzip.graph.ir import Constant, Graph
from gluonzip.graph.ops import OPS


def stored_constants(graph: Graph) -> dict[str, Constant]:
    """The graph's constants by name, -0.0 as 0.0 in those that are only weights of layers."""
    weights = only_weights(graph)
    return {
        name: unsigned_zeros(constant) if name in weights else constant
        for name, constant in graph.constants.items()
    }


def only_weights(graph: Graph) -> set[str]:
    """Names of constants that nothing reads but convolutions and dense layers, as their weight."""
    weights: set[str] = set()
    others = set(graph.outputs)
    for node in graph.nodes:
        spec = OPS.get(node.op)
        for i, name in enumerate(node.inputs):
            is_weight = i == 1 and spec is not None and spec.weight_axis is not None
            (weights if is_weight else others).add(name)
    return weights - others


def unsigned_zeros(constant: Constant) -> Constant:
    data = np.asarray(constant.data)
    if data.dtype.kind != "f" or not np.any(np.signbit(data) & (data == 0)):
        return constant
    return replace(constant, data=data + data.dtype.type(0))
