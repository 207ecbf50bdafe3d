"""What lies behind each layer: which layers make the network's outputs, which batch norms follow.

Read off the network's symbol, so no input shape is needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gluonzip.errors import GluonzipError
from gluonzip.gluon.structure import Block
from gluonzip.gluon.symbol_graph import SymbolGraph
from gluonzip.gluon.symbolize import symbolize

MOST_INPUTS = 4


@dataclass(frozen=True)
class Neighbours:
    """``outputs``: MXNet names of the weights whose channels are the network's outputs.

    ``norms``: weight -> the scale (gamma) of the first batch norm behind it.
    """

    outputs: frozenset[str]
    norms: Mapping[str, str]


def neighbours(net: Block, weights: set[str]) -> Neighbours:
    """The neighbours of ``weights`` (MXNet's parameter names) in ``net``.

    Raises TraceError naming the child that cannot be traced, and DataError for an uncalibrated one.
    """
    graph = SymbolGraph(_symbol(net))
    parameters = {p.name for p in net.collect_params().values()}
    near: list[set[str]] = []  # weights whose output reaches a node with no other weight between
    fixed: list[set[str] | None] = []  # weights that a node without data is computed from
    norms: dict[str, str] = {}
    for node in graph.nodes:
        if node.is_variable:
            is_parameter = node.name in parameters
            near.append(set())
            fixed.append({node.name} & weights if is_parameter else None)
            continue
        inputs = [index for index, _ in node.inputs]
        own = [fixed[i] for i in inputs]
        used = set().union(*(names for names in own if names is not None))
        if inputs and all(names is not None for names in own):
            near.append(set())
            fixed.append(used)
            continue
        reached = used or set().union(*(near[i] for i in inputs))
        if node.operator == "BatchNorm":
            gamma = graph.nodes[inputs[1]].name
            norms |= {name: gamma for name in reached if name not in norms}
        near.append(reached)
        fixed.append(None)
    return Neighbours(frozenset().union(*(near[i] for i, _ in graph.heads)), norms)


def _symbol(net: Block) -> Any:
    """``net`` as a symbol; the number of its inputs is found by trying."""
    first: GluonzipError | None = None
    for count in range(1, MOST_INPUTS + 1):
        names = ["data"] if count == 1 else [f"data{i}" for i in range(count)]
        try:
            return symbolize(net, names)[0]
        except GluonzipError as error:
            first = first or error
            if "argument" not in str(error):  # not a matter of how many inputs there are
                break
    raise first
