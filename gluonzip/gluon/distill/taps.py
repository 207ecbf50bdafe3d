"""What inner layers of a network give, without editing the network, hybridized or not.

Forward hooks see nothing under a hybridized parent, whose children run as one graph. So the blocks
on the way to a tapped layer get three methods of their own, in the instance: while such a block
builds its graph, the symbols that tapped layers give are gathered and become further outputs of the
graph; when it runs, they are taken off again. The network's own outputs stay as they are, gradients
flow through the taps, and whatever makes MXNet build graphs anew (pruning, quantizing, casting)
carries the taps along.
"""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from mxnet.gluon.block import _flatten

from gluonzip.errors import ConfigError, PatternError, UnsupportedError
from gluonzip.gluon._mxnet import mx
from gluonzip.gluon.structure import Block, HybridBlock, clear_caches, walk

SymbolBlock = mx.gluon.SymbolBlock

_OWN = ("forward", "_get_graph", "_call_cached_op")


class Taps:
    """The outputs of some layers of ``net``, each time it runs.

        with Taps(net, {"hint": "features.4"}) as taps:
            y = net(x)
            taps["hint"]  # NDArray of that forward, in the graph of autograd

    ``layers``: a name or glob of block paths (``features.*.body``), several of them, or a mapping
    from keys of your own to them; each must match exactly one block. In an imported symbol
    (SymbolBlock) the names are those of its operators. A layer with several outputs gives a list.

    Until :meth:`close` (or the end of ``with``) the taps hold a reference to what they saw last.
    Close them before ``net.export`` of a SymbolBlock, which would save them as outputs. Raises
    PatternError for a name that matches nothing or several (with the candidates), ConfigError when
    the network is tapped already, UnsupportedError when a layer runs twice in one forward.
    """

    def __init__(self, net: Block, layers: str | Sequence[str] | Mapping[str, str]) -> None:
        wanted = _keyed(layers)
        known = candidates(net)
        self.paths: dict[str, str] = {key: find(known, name) for key, name in wanted.items()}
        """Key to the path of the block (or operator)."""
        self._net, self._store = net, _Store()
        self._wires = _wires(net, {key: known[path] for key, path in self.paths.items()})
        taken = [w.block.name for w in self._wires if set(_OWN) & set(vars(w.block))]
        if taken:
            raise ConfigError(f"block {taken[0]!r} is tapped already: close() the other taps first")
        for wire in self._wires:
            wire.attach(self._store)
        clear_caches(net)

    def __getitem__(self, key: str) -> Any:
        """What the layer gave in the last forward of the network."""
        if key not in self.paths:
            raise ConfigError(f"no tap {key!r}; there are: {', '.join(map(repr, self.paths))}")
        if key in self._store.repeated:
            raise UnsupportedError(
                f"layer {self.paths[key]!r} runs more than once in a forward; tap a layer that "
                "runs once, such as the block around one of its uses"
            )
        if key not in self._store.values:
            raise ConfigError(
                f"layer {self.paths[key]!r} has not run: call the network before its taps are read"
            )
        return self._store.values[key]

    def items(self) -> Iterator[tuple[str, Any]]:
        return ((key, self[key]) for key in self.paths)

    def close(self) -> None:
        """Leave the network as it was before."""
        for wire in self._wires:
            wire.detach()
        if self._wires:
            clear_caches(self._net)
        self._wires = []
        self._store.values.clear()

    def __enter__(self) -> Taps:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Taps({self.paths})"


class TappedBlock(HybridBlock):
    """``net`` with its taps as further outputs: ``[output, tap, tap, ...]``, in the taps' order.

    For what works on outputs alone: tracing, export, the engine.
    """

    def __init__(self, net: HybridBlock, taps: Taps, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.net = net
        self._taps = taps

    def hybrid_forward(self, F: Any, x: Any, *args: Any) -> Any:
        store = self._taps._store
        with store.gather() as found:
            output = self.net(x, *args)
        if F is mx.nd or F is mx.ndarray:
            return [output, *(value for _, value in self._taps.items())]
        return [output, *(found[key] for key in self._taps.paths)]


# ---------------------------------------------------------------- names
def candidates(net: Block) -> dict[str, tuple[Block, str]]:
    """Path -> (block, operator's name in it or "") of all that can be tapped."""
    known: dict[str, tuple[Block, str]] = {}
    for path, block in walk(net):
        if path:
            known[path] = (block, "")
        if isinstance(block, SymbolBlock):
            for node in _operators(block):
                known[f"{path}.{node}" if path else node] = (block, node)
    return known


def _operators(block: SymbolBlock) -> list[str]:
    internals = block._cached_graph[1].get_internals()
    variables = set(internals.list_inputs())
    return list(dict.fromkeys(s.name for s in internals if s.name not in variables))


def find(known: Mapping[str, Any], pattern: str) -> str:
    """The one path that ``pattern`` (a path or glob) matches. PatternError otherwise."""
    if pattern in known:
        return pattern
    matches = [path for path in known if fnmatch.fnmatchcase(path, pattern)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise PatternError(
            f"tap {pattern!r} matches {len(matches)} layers, one is needed: {_listed(matches)}"
        )
    text = pattern.translate(str.maketrans("", "", "*?[]"))
    near = difflib.get_close_matches(text, known, n=8, cutoff=0.3) or list(known)
    raise PatternError(
        f"tap {pattern!r} matches none of the {len(known)} layers; candidates: {_listed(near)}"
    )


def _listed(names: Sequence[str], most: int = 12) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _keyed(layers: Any) -> dict[str, str]:
    if isinstance(layers, str):
        layers = {layers: layers}
    elif not isinstance(layers, Mapping):
        layers = {name: name for name in layers}
    wrong = [name for name in layers.values() if not isinstance(name, str)]
    if wrong or not layers:
        raise PatternError(f"taps are named by strings, at least one; got {wrong or layers!r}")
    return dict(layers)


# ---------------------------------------------------------------- wiring
class _Store:
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


class _Wire:
    """The methods that one block has of its own while it is tapped, or holds a tapped one.

    Bound methods are copied along with their objects, so a deep copy of the network is a network
    with taps into itself, not into the original.
    """

    def __init__(self, block: Block) -> None:
        self.block = block
        self.root = False
        self.keys: list[str] = []
        self.store: _Store
        self._clean: Any = None  # the block's own graph that the tapped one was made from
        self._tapped: Any = None
        self._gathered: list[str] = []

    def attach(self, store: _Store) -> None:
        self.store = store
        own = vars(self.block)
        own["forward"] = self.forward
        if isinstance(self.block, HybridBlock) and not isinstance(self.block, SymbolBlock):
            own["_get_graph"], own["_call_cached_op"] = self.get_graph, self.call_cached_op

    def detach(self) -> None:
        for name in _OWN:
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


class _SymbolWire(_Wire):
    """A SymbolBlock, whose graph is given: its operators become further outputs of it."""

    def __init__(self, block: SymbolBlock) -> None:
        super().__init__(block)
        self.operators: dict[str, str] = {}

    def attach(self, store: _Store) -> None:
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


def _wires(net: Block, targets: Mapping[str, tuple[Block, str]]) -> list[_Wire]:
    """One for the network, each tapped block, and each block that holds a tapped one."""
    wires: dict[int, _Wire] = {}
    wanted = {id(block) for block, _ in targets.values()}
    for _, block in walk(net):
        if block is net or any(id(inner) in wanted for _, inner in walk(block)):
            symbolic = isinstance(block, SymbolBlock) and any(
                b is block and name for b, name in targets.values()
            )
            wires[id(block)] = _SymbolWire(block) if symbolic else _Wire(block)
    wires[id(net)].root = True
    for key, (block, operator) in targets.items():
        wire = wires[id(block)]
        if operator:
            wire.operators[key] = operator  # type: ignore[attr-defined]
        else:
            wire.keys.append(key)
    return list(wires.values())
