"""A graph in segments: what the engine runs, and what another framework has to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from gluonzip.graph import OPS, Graph, Input, Names, Node
from gluonzip.passes.quantize.kinds import Codes
from gluonzip.passes.quantize.lower import integer_codes

SHOWN = 12
"""How many foreign nodes a segment names when it is printed."""
NO_SUCH_OPERATOR = "the op table has no such operator"


@dataclass(frozen=True, eq=False)
class Segment:
    """Nodes that run together. ``graph``: they alone, from and to float tensors under the names of
    the whole graph. ``foreign``: for segments of the other framework, node -> why the engine does
    not run it ("" for what merely stands between such nodes); None for the engine's."""

    graph: Graph
    foreign: Mapping[str, str] | None = None

    @property
    def in_engine(self) -> bool:
        return self.foreign is None

    def __str__(self) -> str:
        nodes = self.graph.nodes
        if self.foreign is None:
            weighted = sum(OPS[node.op].macs is not None for node in nodes)
            return f"engine: {len(nodes)} nodes, {weighted} of them weighted"
        named = [
            f"{operator(n)} {n.name!r} ({why})" for n in nodes if (why := self.foreign[n.name])
        ]
        return f"MXNet: {len(nodes)} nodes for {'; '.join(named)}"


def operator(node: Node) -> str:
    """The node's operator, by its foreign name if the table lacks it."""
    return node.attrs["operator"] if node.op == "opaque" else node.op


def partition(graph: Graph, elsewhere: Mapping[str, str] | None = None) -> list[Segment]:
    """``graph`` as segments in the order in which they run; one segment if the engine runs it all.

    Opaque nodes run elsewhere (``graph.meta["opaque"]`` says why), and so do the nodes named in
    ``elsewhere`` (name -> why) and nodes behind them that are not worth coming back for (no
    weighted layer among them). Nodes of one kind run together as early as their inputs allow, so a
    segment never waits for itself. Integer tensors cross from one segment to another as their real
    values, which changes none of them.
    """
    foreign = _foreign(graph, elsewhere or {})
    if not foreign:
        return [Segment(graph)]
    return _Cutter(graph, foreign, _levels(graph, foreign)).segments()


# ---------------------------------------------------------------- who runs what
def _foreign(graph: Graph, elsewhere: Mapping[str, str]) -> dict[str, str]:
    """Nodes that the engine cannot run, with the reason."""
    reasons: Mapping[str, str] = graph.meta.get("opaque", {})
    found = {}
    for node in graph.nodes:
        if node.op == "opaque":
            found[node.name] = reasons.get(node.name, NO_SUCH_OPERATOR)
        elif node.name in elsewhere:
            found[node.name] = elsewhere[node.name]
    return found


def _levels(graph: Graph, foreign: dict[str, str]) -> dict[str, int]:
    """Node -> number of its segment: even in the engine, odd elsewhere. Adds to ``foreign`` what is
    not worth coming back for."""
    while True:
        levels = _ranked(graph, foreign)
        worth = {levels[n.name] for n in graph.nodes if OPS[n.op].macs is not None}
        idle = [
            n.name
            for n in graph.nodes
            if levels[n.name] % 2 == 0 and levels[n.name] > 0 and levels[n.name] not in worth
        ]
        if not idle:
            return levels
        foreign.update(dict.fromkeys(idle, ""))


def _ranked(graph: Graph, foreign: Mapping[str, str]) -> dict[str, int]:
    made: dict[str, int] = {}
    levels: dict[str, int] = {}
    for node in graph.nodes:
        level = max((made.get(name, 0) for name in node.present_inputs()), default=0)
        level += (level + (node.name in foreign)) % 2
        levels[node.name] = level
        made.update(dict.fromkeys(node.outputs, level))
    return levels


# ---------------------------------------------------------------- cutting
@dataclass
class _Cutter:
    graph: Graph
    foreign: Mapping[str, str]
    levels: Mapping[str, int]
    codes: dict[str, Codes] = field(default_factory=dict)

    def segments(self) -> list[Segment]:
        self.codes = integer_codes(self.graph)
        by_level: dict[int, list[Node]] = {}
        for node in self.graph.nodes:
            by_level.setdefault(self.levels[node.name], []).append(node)
        return [self._segment(level, by_level[level]) for level in sorted(by_level)]

    def _segment(self, level: int, nodes: list[Node]) -> Segment:
        made = {name for node in nodes for name in node.outputs}
        read = dict.fromkeys(name for node in nodes for name in node.present_inputs())
        wanted = set(self.graph.outputs)
        for node in self.graph.nodes:
            if self.levels[node.name] != level:
                wanted.update(node.inputs)
        given = [n for n in read if n not in made and n not in self.graph.constants]
        piece = Graph(
            [self._input(name) for name in given],
            [name for node in nodes for name in node.outputs if name in wanted],
            nodes,
            {n: self.graph.constants[n] for n in read if n in self.graph.constants},
            f"{self.graph.name}.{level}",
        ).copy()
        if level % 2:
            piece.meta["cast"] = dict(self.graph.meta.get("cast", {}))
            return Segment(piece, {node.name: self.foreign[node.name] for node in nodes})
        self._take_real_values(piece, [n for n in given if n in self.codes])
        self._give_real_values(piece, [n for n in piece.outputs if n in self.codes])
        return Segment(piece)

    def _input(self, name: str) -> Input:
        whole = next((i for i in self.graph.inputs if i.name == name), None)
        return whole or Input(name, ())

    def _take_real_values(self, piece: Graph, tensors: Iterable[str]) -> None:
        names = Names(piece)
        quantizers = []
        for name in tensors:
            codes = names.fresh(f"{name}_codes")
            _rename_readers(piece, name, codes)
            quantizers.append(Node("quantize", codes, [name], [codes], self._code(name)))
        piece.nodes = [*quantizers, *piece.nodes]

    def _give_real_values(self, piece: Graph, tensors: Iterable[str]) -> None:
        names = Names(piece)
        for name in list(tensors):
            codes = names.fresh(f"{name}_codes")
            _rename_readers(piece, name, codes)
            for node in piece.nodes:
                node.outputs = [codes if n == name else n for n in node.outputs]
            piece.nodes.append(Node("dequantize", names.fresh(f"{name}_real"), [codes], [name]))

    def _code(self, name: str) -> dict[str, float]:
        return self.codes[name].attrs("scale")


def _rename_readers(graph: Graph, old: str, new: str) -> None:
    for node in graph.nodes:
        node.inputs = [new if n == old else n for n in node.inputs]
