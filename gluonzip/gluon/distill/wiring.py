"""Wiring of :class:`gluonzip.gluon.distill.Taps`: how blocks report what their layers give.

Forward hooks see nothing under a hybridized parent, whose children run as one graph. So the blocks
on the way to a tapped layer get three methods of their own, in the instance: while such a block
builds its graph, the symbols that tapped layers give are gathered and become further outputs of the
graph; when it runs, they are taken off again. The network's own outputs stay as they are, gradients
flow through the taps, and whatever makes MXNet build graphs anew (pruning, quantizing, casting)
carries the taps along.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from mxnet.gluon.block import _flatten

from gluonzip.gluon._mxnet import mx
from gluonzip.gluon.structure import Block, HybridBlock, walk

SymbolBlock = mx.gluon.SymbolBlock

OWN = ("forward", "_get_graph", "_call_cached_op")
"""The methods."""


class Store:
    """What the tapped layers gave."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.repeated: set[str] = set()
        self._found: dict[str, Any] | None = None

    @contextmanager
    def gather(self) -> Iterator[dict[str, Any]]:
        """Collect the symbols that tapped layers give while a graph is built."""
        outer, self._found = self._found, {}
        try:
            yield self._found
        finally:
            self._found = outer

    def begin(self, args: Sequence[Any]) -> None:
        if not _symbolic(args):
            self.values.clear()
            self.repeated.clear()

    def note(self, key: str, value: Any) -> None:
        target = self._found if _symbolic(value) else self.values
        if target is None:
            return  # the network is being traced or exported: its taps are not asked for
        if key in target:
            self.repeated.add(key)
        target[key] = value


def _symbolic(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return any(map(_symbolic, value))
    return isinstance(value, mx.sym.Symbol)


class Wire:
    """The methods that one block has of its own while it is tapped, or holds a tapped one.

    Bound methods are copied along with their objects, so a deep copy of the network is a network
    with taps into itself, not into the original.
    """

    def __init__(self, block: Block) -> None:
        self.block = block
        self.root = False
        self.keys: list[str] = []
        self.store: Store
        self._clean: Any = None  # the block's own graph that the tapped one was made from
        self._tapped: Any = None
        self._gathered: list[str] = []

    def attach(self, store: Store) -> None:
        self.store = store
        own = vars(self.block)
        own["forward"] = self.forward
        if isinstance(self.block, HybridBlock) and not isinstance(self.block, SymbolBlock):
            own["_get_graph"], own["_call_cached_op"] = self.get_graph, self.call_cached_op

    def detach(self) -> None:
        for name in OWN:
            vars(self.block).pop(name, None)

    def forward(self, *args: Any) -> Any:
        if self.root:
            self.store.begin(args)
        return self._note(type(self.block).forward(self.block, *args))

    def _note(self, output: Any) -> Any:
        for key in self.keys:
            self.store.note(key, output)
        return output

    # ------------------------------------------------------------ hybridized
    def get_graph(self, *args: Any) -> Any:
        block = self.block
        if self._clean is None or block._cached_graph is not self._clean:
            block._cached_graph = ()
            with self.store.gather() as found:
                self._clean = type(block)._get_graph(block, *args)
            self._tapped = self._with(found)
        return self._tapped

    def _with(self, found: dict[str, Any]) -> Any:
        """The block's graph with what was found as further outputs."""
        inputs, outputs = self._clean
        leaves, structure = _flatten(list(found.values()), "output")
        self._gathered = list(found)
        self.block._out_format = [self.block._out_format, structure]
        return inputs, mx.sym.Group([*outputs, *leaves])

    def call_cached_op(self, *args: Any) -> Any:
        output, taps = type(self.block)._call_cached_op(self.block, *args)
        for key, value in zip(self._gathered, taps, strict=True):
            self.store.note(key, value)
        return output


class SymbolWire(Wire):
    """A SymbolBlock, whose graph is given: its operators become further outputs of it."""

    def __init__(self, block: SymbolBlock) -> None:
        super().__init__(block)
        self.operators: dict[str, str] = {}

    def attach(self, store: Store) -> None:
        super().attach(store)
        block = self.block
        self._clean = (block._cached_graph, block._out_format)
        inputs, outputs = block._cached_graph
        internals = block._cached_graph[1].get_internals()
        first = {s.name: s for s in reversed(list(internals))}  # a node's first output
        leaves = [first[name] for name in self.operators.values()]
        block._cached_graph = inputs, mx.sym.Group([*outputs, *leaves])
        block._out_format = [block._out_format, [0] * len(leaves)]

    def detach(self) -> None:
        super().detach()
        self.block._cached_graph, self.block._out_format = self._clean

    def forward(self, *args: Any) -> Any:
        if self.root:
            self.store.begin(args)
        output, taps = type(self.block).forward(self.block, *args)
        for key, value in zip(self.operators, taps, strict=True):
            self.store.note(key, value)
        return self._note(output)


def wires_of(net: Block, targets: Mapping[str, tuple[Block, str]]) -> list[Wire]:
    """One for the network, each tapped block, and each block that holds a tapped one."""
    wires: dict[int, Wire] = {}
    wanted = {id(block) for block, _ in targets.values()}
    for _, block in walk(net):
        if block is net or any(id(inner) in wanted for _, inner in walk(block)):
            symbolic = isinstance(block, SymbolBlock) and any(
                b is block and name for b, name in targets.values()
            )
            wires[id(block)] = SymbolWire(block) if symbolic else Wire(block)
    wires[id(net)].root = True
    for key, (block, operator) in targets.items():
        wire = wires[id(block)]
        if operator:
            wire.operators[key] = operator  # type: ignore[attr-defined]
        else:
            wire.keys.append(key)
    return list(wires.values())
