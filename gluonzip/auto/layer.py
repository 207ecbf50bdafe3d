"""Layers that two networks share, and one of them as a network of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

import numpy as np

from gluonzip.auto.source import Source, engine_of
from gluonzip.errors import GluonzipError, PatternError
from gluonzip.graph import OPS, Constant, Graph, Input, Node, interpret
from gluonzip.graph.ir import TensorType
from gluonzip.passes.quantize.kinds import activation_codes, moves_codes
from gluonzip.spec import code_range


@dataclass(frozen=True)
class Quantizer:
    """Codes of ``bits`` times ``scale``, on an activation."""

    scale: float
    bits: int
    unsigned: bool = False

    @property
    def limits(self) -> tuple[int, int]:
        """Lowest and highest code."""
        return code_range(self.bits, self.unsigned)


@dataclass(eq=False)
class Pair:
    """A layer of both networks. ``alone``: why it cannot run alone, "" if it can."""

    name: str
    dense: Node
    compressed: Node
    quantizer: Quantizer | None = None
    alone: str = ""
    operands: dict[int, str] = field(default_factory=dict)
    """Position among the node's inputs -> the dense network's tensor: what it computes from."""


def layers_of(source: Source) -> dict[str, Node]:
    """Nodes with weights by name, in order; those without a row in the op table, too."""
    fixed = set(source.graph.constants)  # tensors that do not depend on the data
    found = {}
    for node in source.graph.nodes:
        given = [name in fixed for name in node.present_inputs()]
        if all(given):
            fixed.update(node.outputs)
        elif node.op == "opaque":
            if any(given):
                found[node.name] = node
        elif node.op in OPS and OPS[node.op].weight_axis is not None:
            found[node.name] = node
    return found


def chosen_names(patterns: str | Sequence[str] | None, names: Sequence[str]) -> list[str]:
    """Those of ``names`` that a name or glob of ``patterns`` matches (None: all), in order.

    PatternError for a pattern that matches none.
    """
    if patterns is None:
        return list(names)
    patterns = [patterns] if isinstance(patterns, str) else list(patterns)
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise PatternError(
                f"layer pattern {pattern!r} matches nothing; layers: {', '.join(names)}"
            )
    return [name for name in names if any(fnmatchcase(name, p) for p in patterns)]


def match(dense: Source, compressed: Source) -> tuple[list[Pair], dict[str, str]]:
    """The layers of equal names, and name -> reason for those that cannot be compared."""
    first, second = layers_of(dense), layers_of(compressed)
    pairs, skipped = [], {}
    for name in dict.fromkeys([*first, *second]):
        if name not in second:
            skipped[name] = "the compressed network has no layer of this name"
        elif name not in first:
            skipped[name] = "the dense network has no layer of this name"
        elif reason := _difference(dense, compressed, first[name], second[name]):
            skipped[name] = reason
        else:
            pairs.append(_pair(dense, compressed, first[name], second[name]))
    return pairs, skipped


def _difference(dense: Source, compressed: Source, first: Node, second: Node) -> str:
    """Why two nodes do not compute the same thing; "" if they do."""
    if first.op != second.op:
        return f"it is {first.op} in the dense network, {second.op} in the compressed one"
    if first.op == "opaque":
        same = first.attrs.get("operator") == second.attrs.get("operator")
        return "" if same else "its operators differ"
    shapes = _shape(dense, first.output), _shape(compressed, second.output)
    if shapes[0] != shapes[1]:
        return f"its output is {shapes[0]} in the dense network, {shapes[1]} in the compressed one"
    if _epilogue(first) != _epilogue(second):
        return (
            "activation or residual sum belong to it in one network and follow it in the other "
            f"({_epilogue(first)}, {_epilogue(second)})"
        )
    return ""


def _epilogue(node: Node) -> tuple:
    residual = len(node.inputs) > 3 and bool(node.inputs[3])
    return (node.attrs.get("act", "none"), "with residual" if residual else "no residual")


def _pair(dense: Source, compressed: Source, first: Node, second: Node) -> Pair:
    pair = Pair(first.name, first, second)
    if first.op == "opaque":
        pair.alone = f"operator {first.attrs.get('operator')!r} is not in the op table"
        return pair
    pair.quantizer = quantizer_of(compressed, second.inputs[0])
    constants = compressed.graph.constants
    if second.inputs[1] not in constants:
        pair.alone = "its weight is computed from the data"
    pair.operands = {
        at: first.inputs[at]
        for at, name in enumerate(second.inputs)
        if name and name not in constants
    }
    for at, name in pair.operands.items():
        shapes = _shape(dense, name), _shape(compressed, second.inputs[at])
        if shapes[0] != shapes[1]:
            pair.alone = f"its input is {shapes[0]} in the dense network, {shapes[1]} in this one"
    return pair


def _shape(source: Source, tensor: str) -> tuple[int, ...] | None:
    return source.types[tensor].shape if tensor in source.types else None


def quantizer_of(source: Source, name: str) -> Quantizer | None:
    """What has quantized an activation; None for float32 values."""
    while True:
        found = source.types.get(name)
        if found is not None and found.holds_codes and found.scale is not None:
            return Quantizer(float(found.scale), 8, found.dtype == "uint8")
        node = source.producers.get(name)
        if node is None:
            return None
        if node.op == "fake_quantize":
            return _simulated(source.graph, node)
        if not moves_codes(node):
            return None
        name = node.inputs[0]


def _simulated(graph: Graph, node: Node) -> Quantizer | None:
    bits = node.attrs.get("bits", 8)
    codes = activation_codes(graph, Node("fake_quantize", "", node.inputs, [], {}))
    unsigned = node.attrs.get("unsigned", False)
    return None if codes is None else Quantizer(codes.scale, bits, unsigned)


# ---------------------------------------------------------------- alone
class Alone:
    """The compressed layer as a network whose inputs are the dense network's activations.

    Each input goes through the quantizer that it has in the compressed network; the output is not
    quantized (that error belongs to the layers that read it). Raises what building a graph raises.
    """

    def __init__(
        self, source: Source, pair: Pair, types: Mapping[str, TensorType], threads: int | None
    ) -> None:
        self.operands = pair.operands
        self.graph = _isolated(source, pair, types)
        # One thread unless told otherwise: a network's layers would have a pool of threads each.
        self.engine = engine_of(self.graph, threads=threads or 1)

    def __call__(self, dense: Mapping[str, np.ndarray]) -> np.ndarray:
        """The layer's output from values of the dense network's tensors."""
        inputs = [np.ascontiguousarray(dense[name]) for name in self.operands.values()]
        if self.engine is None:
            return interpret(self.graph, inputs)[0]
        return self.engine(*inputs)


def _isolated(source: Source, pair: Pair, types: Mapping[str, TensorType]) -> Graph:
    node = pair.compressed
    attrs = {k: v for k, v in node.attrs.items() if k not in ("out_scale", "unsigned")}
    names = list(node.inputs)
    inputs, nodes = [], []
    constants = {n: source.graph.constants[n] for n in names if n in source.graph.constants}
    for at, tensor in pair.operands.items():
        name = names[at] = f"input{at}"
        inputs.append(Input(name, (0,) * len(types[tensor].shape), types[tensor].dtype))
        quantizer = quantizer_of(source, node.inputs[at])
        if quantizer is not None:
            constants[f"scale{at}"] = Constant(np.array(quantizer.scale, np.float32))
            names[at] = f"quantized{at}"
            attributes = {"bits": quantizer.bits, "unsigned": quantizer.unsigned}
            nodes.append(
                Node("fake_quantize", names[at], [name, f"scale{at}"], [names[at]], attributes)
            )
    nodes.append(Node(node.op, pair.name, names, ["output"], attrs))
    return Graph(inputs, ["output"], nodes, constants, pair.name)


def isolate(
    source: Source, pair: Pair, types: Mapping[str, TensorType], threads: int | None = None
) -> Alone | None:
    """The layer alone; None, with the reason in ``pair.alone``, when that cannot be."""
    if pair.alone:
        return None
    missing = [tensor for tensor in pair.operands.values() if tensor not in types]
    if missing:
        pair.alone = f"the shape of its input {missing[0]!r} is not known"
        return None
    try:
        return Alone(source, pair, types, threads)
    except GluonzipError as error:
        pair.alone = " ".join(str(error).split())
        return None
