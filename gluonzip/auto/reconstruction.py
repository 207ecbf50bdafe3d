"""Layer after layer of a network is quantized and fitted to make up for the ones before it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from gluonzip.auto.segments import Cuts, Values
from gluonzip.graph import Constant, Graph, Names, Node
from gluonzip.passes.quantize import insert_fake_quantize
from gluonzip.passes.quantize.kinds import has_quantized_weight
from gluonzip.passes.quantize.reconstruct import LayerFit

MEMORY = 512 * 2**20
"""Bytes of activations to keep: of more data the first rows are used."""

ROWS = 64
"""Rows whose patches are looked at together."""


def reconstruct(
    dense: Graph,
    quantized: Graph,
    ranges: Mapping[str, float],
    batches: Sequence[tuple[np.ndarray, ...]],
    skip: Collection[str] = (),
    threads: int | None = None,
) -> Graph:
    """``quantized`` with the weights and biases of its layers fitted, in order, to ``dense``.

    ``dense``: after ``simplify``. ``quantized``: the same nodes with integer weights
    (``quantize_weights``). ``ranges``: of its activations, as for ``insert_fake_quantize``, which
    follows. Both networks run on ``batches`` once, cut in front of every layer. Layers whose
    weight others share, and transposed convolutions, stay as they are.
    """
    graph, names = _with_biases(quantized)
    simulated = _in_floats(insert_fake_quantize(graph, ranges, skip=skip))
    walk = _Walk(dense, simulated, names, threads)
    values = _joined(dense, batches, walk.most_rows)
    graph.constants.update(walk.run(graph, values))
    return graph


class _Walk:
    """Both networks, from cut to cut."""

    def __init__(self, dense: Graph, simulated: Graph, names: list[str], threads: int | None):
        self.graphs = dense, simulated
        self.names = [n for n in (node.name for node in dense.nodes) if n in set(names)]
        self.places = [_places(graph, self.names) for graph in self.graphs]
        self.cuts = [
            Cuts(graph, places.values(), threads)
            for graph, places in zip(self.graphs, self.places, strict=True)
        ]

    @property
    def most_rows(self) -> int:
        return max(1, MEMORY // max(1, sum(cuts.bytes_per_row() for cuts in self.cuts)))

    def run(self, quantized: Graph, inputs: Values) -> dict[str, Constant]:
        """The constants of ``quantized`` that change, by name."""
        dense = simulated = inputs
        at, real, found = (0, 0), {}, {}
        for name in self.names:
            there = self.places[0][name], self.places[1][name]
            dense = self.cuts[0].run(at[0], there[0], dense) if there[0] > at[0] else dense
            if there[1] > at[1]:
                simulated = self.cuts[1].run(at[1], there[1], simulated, real)
            at, node = there, quantized.node(name)
            weight, bias = self._fit(node, quantized, dense, simulated)
            found.update({node.inputs[1]: weight, node.inputs[2]: bias})
            real.update({node.inputs[1]: Constant(weight.dense()), node.inputs[2]: bias})
        return found

    def _fit(
        self, node: Node, quantized: Graph, dense: Values, simulated: Values
    ) -> tuple[Constant, Constant]:
        first, second = (graph.node(node.name) for graph in self.graphs)
        weight = self.graphs[0].constants[first.inputs[1]].dense().astype(np.float32)
        fit = LayerFit(node, weight, _bias(self.graphs[0], first, len(weight)))
        arrays = [dense[first.inputs[0]], simulated[second.inputs[0]]]
        if len(first.inputs) > 3 and first.inputs[3]:
            arrays += [dense[first.inputs[3]], simulated[second.inputs[3]]]
        for start in range(0, len(arrays[0]), ROWS):
            fit.feed(*(array[start : start + ROWS] for array in arrays))
        constant, bias = fit.solve(quantized.constants[node.inputs[1]])
        return constant, Constant(bias)


def _places(graph: Graph, names: Collection[str]) -> dict[str, int]:
    return {node.name: at for at, node in enumerate(graph.nodes) if node.name in names}


def _joined(graph: Graph, batches: Sequence[tuple[np.ndarray, ...]], most: int) -> Values:
    """The inputs of all batches of the first one's size, at most ``most`` rows."""
    sizes = [array.shape[1:] for array in batches[0]]
    alike = [batch for batch in batches if [array.shape[1:] for array in batch] == sizes]
    joined = (np.concatenate(arrays)[:most] for arrays in zip(*alike, strict=True))
    return {i.name: array for i, array in zip(graph.inputs, joined, strict=True)}


def _bias(graph: Graph, node: Node, channels: int) -> np.ndarray:
    name = node.inputs[2] if len(node.inputs) > 2 else ""
    return graph.constants[name].dense() if name else np.zeros(channels, np.float32)


def _with_biases(graph: Graph) -> tuple[Graph, list[str]]:
    """A bias of its own for each layer that can be fitted; and these layers' names."""
    graph, names, found = graph.copy(), Names(graph), []
    readers = graph.consumers()
    for node in graph.nodes:
        if node.op not in ("conv2d", "dense") or not has_quantized_weight(graph, node):
            continue
        if len(readers[node.inputs[1]]) > 1:
            continue
        bias = _bias(graph, node, graph.constants[node.inputs[1]].data.shape[0])
        node.inputs = [*node.inputs, ""][: max(3, len(node.inputs))]
        node.inputs[2] = names.fresh(f"{node.name}.fitted_bias")
        graph.constants[node.inputs[2]] = Constant(bias)
        found.append(node.name)
    graph.prune()
    return graph, found


def _in_floats(graph: Graph) -> Graph:
    """Integer constants as their real values."""
    graph = graph.copy()
    for name, constant in graph.constants.items():
        if constant.quantized:
            graph.constants[name] = Constant(constant.dense())
    return graph
