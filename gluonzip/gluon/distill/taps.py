"""What inner layers of a network give, without editing the network, hybridized or not."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gluonzip.errors import ConfigError, PatternError, UnsupportedError
from gluonzip.gluon._mxnet import mx
from gluonzip.gluon.distill.wiring import OWN, Store, wires_of
from gluonzip.gluon.structure import Block, HybridBlock, clear_caches, walk

SymbolBlock = mx.gluon.SymbolBlock


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
        self._net, self._store = net, Store()
        self._wires = wires_of(net, {key: known[path] for key, path in self.paths.items()})
        taken = [w.block.name for w in self._wires if set(OWN) & set(vars(w.block))]
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
