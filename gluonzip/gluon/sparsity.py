"""How many weights are zero, counted in the values that the layers use."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gluonzip.gluon.arrays import view
from gluonzip.gluon.layers import Layer, layers
from gluonzip.gluon.structure import Block
from gluonzip.gluon.wrapper import Compressed


class Sparsity(dict):
    """Fraction of zeros of each weighted layer by name; ``total`` over all their weights."""

    def __init__(self, zeros: Mapping[str, int], sizes: Mapping[str, int]) -> None:
        super().__init__({name: zeros[name] / max(size, 1) for name, size in sizes.items()})
        self.total = sum(zeros.values()) / max(sum(sizes.values()), 1)


def sparsity(net: Block) -> Sparsity:
    """How many weights are exactly zero, counted in the values that the layers use.

    A network without MXNet masks counts as well. Raises DataError as ``prune``.
    """
    known = layers(net)
    zeros = {name: count_zeros(layer) for name, layer in known.items()}
    return Sparsity(zeros, {name: layer.size for name, layer in known.items()})


def count_zeros(layer: Layer) -> int:
    """Zeros in the weights of ``layer`` as it uses them (masked, fake-quantized)."""
    count = 0
    for attribute in layer.weights:
        value = layer.data(attribute)
        if isinstance(layer.block, Compressed):
            value = layer.block.effective_weight(attribute)
        count += value.size - int(np.count_nonzero(view(value)))
    return count
