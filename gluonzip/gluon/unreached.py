"""Layers that a network has and does not use: a classifier's head under a decoder, say."""

from __future__ import annotations

from gluonzip.gluon.layers import layers
from gluonzip.gluon.structure import Block
from gluonzip.gluon.symbolize import symbolize

UNREACHED = "no input reaches it at inference"


def unreached(net: Block, inputs: int = 1) -> list[str]:
    """Names of the weighted layers that no output of ``net`` (of so many ``inputs``) depends on.

    Raises TraceError as :func:`gluonzip.gluon.trace`.
    """
    symbol, _ = symbolize(net, [f"data{index}" for index in range(inputs)])
    read = set(symbol.list_inputs())
    return [
        name
        for name, layer in layers(net).items()
        if not any(parameter.name in read for parameter in layer.weights.values())
    ]
