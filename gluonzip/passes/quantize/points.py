"""Which activations are quantized, so that a whole network runs in int8."""

from __future__ import annotations

from collections.abc import Collection

from gluonzip.errors import PatternError
from gluonzip.graph import Graph, Node
from gluonzip.passes.quantize import dynamic
from gluonzip.passes.quantize.kinds import AVERAGES, LOOKUPS, PAIRS, WEIGHTED, moves_codes


def activation_points(graph: Graph, skip: Collection[str] = ()) -> dict[str, str]:
    """Tensors that get a quantizer, in the order they are made: name -> leader of its group.

    The members of a group share one scale (all that goes into one concat); most tensors lead a
    group of their own. Wanted are: inputs and residuals of weighted layers; and, if the output of
    such a node is wanted, operands of add and mul, inputs of concat, averages and element-wise
    functions. A node that only moves values passes the wish on to its input. Nobody wants the input
    of the layers named in ``skip``, nor of those whose weights have a scale per group, which
    multiply real values. What has a quantizer already (a graph traced from a wrapped network) gets
    none. Meant for graphs after ``simplify``: what is fused needs no quantizer of its
    own. Raises PatternError when ``skip`` names no node.
    """
    check_names(graph, skip)
    return _Search(graph, skip).points()


def check_names(graph: Graph, skip: Collection[str]) -> None:
    """PatternError when ``skip`` holds what is no node's name."""
    unknown = sorted(set(skip) - {node.name for node in graph.nodes})
    if unknown:
        raise PatternError(f"skip names no node of graph {graph.name!r}: {', '.join(unknown)}")


class _Search:
    """Wishes travel from the outputs to the inputs; groups are a union-find over tensor names."""

    def __init__(self, graph: Graph, skip: Collection[str]) -> None:
        self.graph = graph
        self.skip = frozenset(skip)
        self.producers = graph.producers()
        self.graph_inputs = {i.name for i in graph.inputs if i.dtype == "float32"}
        self.wanted: set[str] = set()
        self.covered: set[str] = set()  # read by quantizers that are there already
        self.leader: dict[str, str] = {}

    def points(self) -> dict[str, str]:
        for node in reversed(self.graph.nodes):
            if node.op in WEIGHTED:
                self._weighted(node)
            elif node.op == "fake_quantize":
                self.covered.add(node.inputs[0])
            elif any(name in self.wanted or name in self.covered for name in node.outputs):
                self._behind(node)
        made = [i.name for i in self.graph.inputs]
        made += [name for node in self.graph.nodes for name in node.outputs]
        chosen = [name for name in made if name in self.wanted and self._holds_values(name)]
        first: dict[str, str] = {}
        return {name: first.setdefault(self._find(name), name) for name in chosen}

    def _weighted(self, node: Node) -> None:
        if node.name not in self.skip and self._multiplies_codes(node.inputs[1]):
            self._want(node.inputs[0])
            if len(node.inputs) > 3:
                self._want(node.inputs[3])

    def _multiplies_codes(self, weight: str) -> bool:
        """A constant, or the fake quantizer of one, with one scale an output at most."""
        node, constants = self.producers.get(weight), self.graph.constants
        if node is not None and node.op == "fake_quantize":
            scale = constants.get(node.inputs[1])
            return node.inputs[0] in constants and scale is not None and scale.data.ndim < 2
        return weight in constants and not constants[weight].per_group

    def _behind(self, node: Node) -> None:
        """``node``'s output is wanted: what of its inputs?"""
        if node.op == "relu":
            return  # its output is where the quantizer stands: half the range of its input
        computed = not any(name in self.graph.constants for name in node.inputs)
        pair = node.op in PAIRS and computed
        if moves_codes(node) or pair or node.op in ("concat", *AVERAGES, *LOOKUPS):
            for name in node.inputs:
                self._want(name)
        if node.op == "scale_shift" and node.inputs[0] not in self.graph_inputs:
            self._want(node.inputs[0])
        if node.op == "concat" or self._passes(node):
            for name in node.inputs:
                for output in node.outputs:
                    self._join(name, output)

    def _want(self, name: str) -> None:
        producer = self.producers.get(name)
        quantized = producer is not None and producer.op in ("fake_quantize", dynamic.OP)
        if name and name not in self.graph.constants and not quantized:
            self.wanted.add(name)

    def _passes(self, node: Node) -> bool:
        return moves_codes(node) and node.op != "relu"

    def _holds_values(self, name: str) -> bool:
        """Not the output of a node that only moves or joins: its inputs are quantized already."""
        node = self.producers.get(name)
        if node is None:
            return name in self.graph_inputs
        moved = node.op == "concat" or self._passes(node)
        return not (moved and all(n in self.wanted for n in node.inputs))

    def _find(self, name: str) -> str:
        while (up := self.leader.get(name, name)) != name:
            name = up
        return name

    def _join(self, first: str, second: str) -> None:
        self.leader[self._find(second)] = self._find(first)
