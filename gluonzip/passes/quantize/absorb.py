"""Quantizers move up and into the nodes that make what they quantize."""

from __future__ import annotations

from gluonzip.graph import Graph, Names, Node
from gluonzip.passes.quantize.kinds import (
    AVERAGES,
    LOOKUPS,
    PAIRS,
    Codes,
    codes_made,
    has_integer_weight,
    moves_codes,
)


def absorb_quantizers(graph: Graph) -> None:
    """Move each ``quantize`` node as far up as no value changes, in place.

    ``quantize`` commutes with nodes that only move values, with max pooling and with relu, and
    distributes over concat. Behind a node that computes it becomes its ``out_scale`` if it is the
    only reader, so that nobody misses the float32 tensor.
    """
    _Absorber(graph).run()


class _Absorber:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.producers = graph.producers()
        self.readers = {name: list(nodes) for name, nodes in graph.consumers().items()}
        self.names = Names(graph)
        self.outputs = frozenset(graph.outputs)
        self.dropped: set[int] = set()
        self.added: dict[int, list[Node]] = {}  # id of a node -> quantizers to put before it

    def run(self) -> None:
        waiting = [node for node in self.graph.nodes if node.op == "quantize"]
        # A quantizer that moves may leave another alone with its tensor: until none moves.
        while any([self._move_up(node) for node in waiting]):
            waiting += [node for nodes in self.added.values() for node in nodes]
            waiting = list({id(n): n for n in waiting if id(n) not in self.dropped}.values())
        nodes: list[Node] = []
        for node in self.graph.nodes:
            nodes += self.added.get(id(node), [])
            nodes.append(node)
        self.graph.nodes = [node for node in nodes if id(node) not in self.dropped]
        self.graph.sort()

    def _move_up(self, quantizer: Node) -> bool:
        """Move one step up; False when the quantizer must stay where it is."""
        source = quantizer.inputs[0]
        maker = self.producers.get(source)
        alone = self.readers.get(source) == [quantizer] and source not in self.outputs
        if maker is None or not alone or maker.attrs.get("out_scale") is not None:
            return False
        if len(maker.outputs) > 1:  # the others might want other scales
            return False
        if moves_codes(maker) or maker.op == "concat":
            self._pass_through(quantizer, maker)
        elif self._computes_codes(maker):
            maker.attrs.update(codes_made(quantizer).attrs())
            self._take_output(quantizer, maker)
        else:
            return False
        return True

    def _computes_codes(self, node: Node) -> bool:
        """Is the node's integer form, with codes as output, defined on codes as inputs?"""
        if has_integer_weight(self.graph, node):
            return bool(node.attrs.get("dynamic")) or self._is_integer(node.inputs[0])
        if node.op in (*PAIRS, *AVERAGES, *LOOKUPS):
            return all(self._is_integer(name) for name in node.inputs)
        return node.op == "scale_shift"

    def _is_integer(self, name: str) -> bool:
        node = self.producers.get(name)
        if node is None:
            return False
        if node.op == "quantize" or node.attrs.get("out_scale") is not None:
            return True
        return moves_codes(node) and self._is_integer(node.inputs[0])

    def _take_output(self, quantizer: Node, maker: Node) -> None:
        """``maker`` makes the codes itself."""
        maker.outputs = list(quantizer.outputs)
        self.producers[quantizer.output] = maker
        self.dropped.add(id(quantizer))

    def _pass_through(self, quantizer: Node, maker: Node) -> None:
        """quantize(maker(x, ...)) = maker(quantize(x), ...)."""
        wanted = codes_made(quantizer)
        self._take_output(quantizer, maker)
        if maker.op == "concat":
            maker.attrs.update(wanted.attrs())
        for at, name in enumerate(maker.inputs):
            # concat requantizes codes itself, and copies them if they are its own.
            if maker.op != "concat" or not self._is_integer(name):
                maker.inputs[at] = self._codes_of(name, wanted, maker)

    def _codes_of(self, name: str, wanted: Codes, reader: Node) -> str:
        """The codes of tensor ``name``, for ``reader`` to read instead: from a quantizer that is
        there, or from a new one."""
        others = [node for node in self.readers[name] if node is not reader]
        self.readers[name] = others
        for node in others:
            if node.op == "quantize" and codes_made(node) == wanted:
                self.readers.setdefault(node.output, []).append(reader)
                return node.output
        codes = self.names.fresh(f"{name}_codes")
        node = Node("quantize", codes, [name], [codes], wanted.attrs("scale"))
        self.added.setdefault(id(reader), []).append(node)
        others.append(node)
        self.producers[codes], self.readers[codes] = node, [reader]
        return codes
