"""Channels of an activation fill its range: one scale per tensor costs small channels no bits.

E. Meller, A. Finkelstein, U. Almog, M. Grobman, "Same, Same But Different: Recovering Neural
Network Quantization Error Through Weight Factorization", ICML 2019, arXiv:1902.01917; with a
``strength`` below 1 the difficulty is shared with the weights, as in G. Xiao et al., "SmoothQuant",
ICML 2023, arXiv:2211.10438. Here also along residual connections, whose tensors share one factor a
channel, and through ReLU6.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from gluonzip.graph import Graph, Node, interpret
from gluonzip.passes.quantize.calibrate import Batch, Run
from gluonzip.passes.quantize.channels import (
    adjustable,
    by_input,
    by_output,
    channels_in,
    channels_out,
    float_copy,
)
from gluonzip.passes.quantize.kinds import WEIGHTED
from gluonzip.passes.quantize.points import activation_points

SMALLEST = 1 / 64
"""Of a channel's factor: beyond, its weights would crowd out those of other channels."""

_POSITIVE = ("none", "relu", "leaky_relu")
"""Activations that a positive factor passes through."""

_PASSING = (
    "relu", "leaky_relu", "identity", "flatten",
    "max_pool", "avg_pool", "global_max_pool", "global_avg_pool", "adaptive_avg_pool",
)  # fmt: skip


def balance(graph: Graph, peaks: Mapping[str, np.ndarray], strength: float = 1.0) -> Graph:
    """``graph``, after ``simplify``, with its channels scaled up to their tensor's range.

    ``peaks``: largest magnitudes by channel of the activations that will be quantized
    (:func:`channel_peaks`). A channel whose peak is p times its tensor's is divided by p **
    ``strength`` where it is made and multiplied by it where it is read; tensors that are added
    share the factors. Outputs stay the same, but for values behind a clip (ReLU6) that exceed what
    the channel reached in the data: those saturate there, as they would in a quantizer. Tensors
    that anything else reads, and layers whose weights are quantized or shared, stay as they are.
    """
    graph = graph.copy()
    for group in _groups(graph).values():
        factors = _factors(group, peaks, strength)
        if factors is None:
            continue
        for node in group.makers:
            _divide_outputs(graph, node, factors)
        for node in group.readers:
            _multiply_inputs(graph, node, factors)
    return graph


def channel_peaks(
    graph: Graph, batches: Iterable[Batch], run: Run = interpret
) -> dict[str, np.ndarray]:
    """Largest magnitude by channel (axis 1) of each activation that will be quantized, and of each
    that a clip made. ``run`` as for ``calibrate``."""
    names = [*activation_points(graph), *(n.output for n in graph.nodes if _bounded(n))]
    found: dict[str, np.ndarray] = {}
    for batch in batches:
        for name, array in run(graph, batch, keep=tuple(dict.fromkeys(names)))[1].items():
            if np.ndim(array) > 1:
                others = tuple(axis for axis in range(array.ndim) if axis != 1)
                peak = np.abs(array).max(axis=others)
                found[name] = np.maximum(found[name], peak) if name in found else peak
    return found


# ---------------------------------------------------------------- groups of tensors
@dataclass
class _Group:
    """Tensors that must share their factors, the layers that make and that read them."""

    tensors: set[str] = field(default_factory=set)
    makers: list[Node] = field(default_factory=list)
    readers: list[Node] = field(default_factory=list)
    channels: set[int] = field(default_factory=set)
    fixed: bool = False


def _groups(graph: Graph) -> dict[str, _Group]:
    """Groups that may be scaled, by leader."""
    scan = _Scan(graph)
    found: dict[str, _Group] = {}
    for name in scan.seen:
        group = found.setdefault(scan.find(name), _Group())
        group.tensors.add(name)
        group.fixed |= name in scan.fixed
    for tensor, node in scan.makers:
        group = found[scan.find(tensor)]
        group.makers.append(node)
        group.channels.add(channels_out(graph, node))
    for tensor, node in scan.readers:
        found[scan.find(tensor)].readers.append(node)
    return {name: group for name, group in found.items() if _usable(graph, group)}


def _usable(graph: Graph, group: _Group) -> bool:
    if group.fixed or len(group.channels) != 1 or not group.readers:
        return False
    (channels,) = group.channels
    return all(channels_in(graph, node) % channels == 0 for node in group.readers)


class _Scan:
    """Joins tensors that a positive factor passes between; fixes those that it cannot enter."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.uses = Counter(name for node in graph.nodes for name in node.present_inputs())
        self.leader: dict[str, str] = {}
        self.seen: dict[str, None] = {}
        self.makers: list[tuple[str, Node]] = []
        self.readers: list[tuple[str, Node]] = []
        self.fixed = {i.name for i in graph.inputs} | set(graph.outputs)
        for node in graph.nodes:
            self._node(node)

    def find(self, name: str) -> str:
        while (up := self.leader.get(name, name)) != name:
            name = up
        return name

    def _node(self, node: Node) -> None:
        tensors = [n for n in node.present_inputs() if n not in self.graph.constants]
        self.seen.update(dict.fromkeys([*tensors, *node.outputs]))
        joined = (tensors[1:] if node.op in WEIGHTED else tensors) + node.outputs
        if node.attrs.get("out_scale") is not None or not _passes_act(node):
            self.fixed.update([*tensors, *node.outputs])
        elif node.op in WEIGHTED and adjustable(self.graph, node, self.uses):
            self._join(joined)
            self.makers.append((node.output, node))
            self.readers.append((node.inputs[0], node))
        elif node.op in _PASSING or _bounded(node) or (node.op == "add" and len(tensors) == 2):
            self._join(joined)
        else:
            self.fixed.update([*tensors, *node.outputs])

    def _join(self, names: list[str]) -> None:
        for name in names[1:]:
            self.leader[self.find(name)] = self.find(names[0])


def _passes_act(node: Node) -> bool:
    return node.attrs.get("act", "none") in _POSITIVE or _bounded(node)


def _bounded(node: Node) -> bool:
    """Does the node end in a clip from 0 up? Factors of at most 1 leave it as good as it was."""
    if node.op == "clip":
        return node.attrs["min"] == 0 and node.attrs.get("out_scale") is None
    return node.attrs.get("act") == "clip" and node.attrs.get("act_min", 0.0) == 0


# ---------------------------------------------------------------- factors
def _factors(group: _Group, peaks: Mapping[str, np.ndarray], strength: float) -> np.ndarray | None:
    """At most 1: what a channel reaches of its tensor's range, in the tensor where that is most."""
    (channels,) = group.channels
    found = np.zeros(channels)
    for name in group.tensors:
        if name in peaks and peaks[name].size % channels == 0:
            by_channel = peaks[name].reshape(channels, -1).max(axis=1)
            found = np.maximum(found, by_channel / (by_channel.max() or 1.0))
    if not found.any():
        return None
    factors = np.where(found > 0, np.maximum(found, SMALLEST) ** strength, 1.0)
    return factors.astype(np.float32)


def _divide_outputs(graph: Graph, node: Node, factors: np.ndarray) -> None:
    rows = by_output(float_copy(graph, node.inputs[1]), node)
    rows /= factors.reshape(-1, *[1] * (rows.ndim - 1))
    if len(node.inputs) > 2 and node.inputs[2]:
        bias = float_copy(graph, node.inputs[2])
        bias /= factors


def _multiply_inputs(graph: Graph, node: Node, factors: np.ndarray) -> None:
    blocks = by_input(float_copy(graph, node.inputs[1]), node)
    groups, _, inputs, _ = blocks.shape
    repeated = np.repeat(factors, groups * inputs // factors.size)  # a flatten lies between
    blocks *= repeated.reshape(groups, 1, inputs, 1)
