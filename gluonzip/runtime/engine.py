"""The engine: a whole network from an archive, in C++. Needs NumPy only."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gluonzip import _core, archive
from gluonzip.errors import ConfigError
from gluonzip.runtime import sparse_costs
from gluonzip.runtime.limits import hold_against, machine_limits
from gluonzip.runtime.streams import Inputs, Streams
from gluonzip.runtime.tuning import ChoiceCache

if TYPE_CHECKING:
    from gluonzip.graph import Graph


def _threads(threads: int | None) -> int:
    """``threads``, or else GLUONZIP_THREADS, or else 0: every core this process may run on."""
    if threads is not None:
        if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
            raise ConfigError(f"threads = {threads!r} must be a positive integer, or None for all")
        return threads
    text = os.environ.get("GLUONZIP_THREADS", "")
    if text and not (text.isdecimal() and int(text) > 0):
        raise ConfigError(
            f"environment variable GLUONZIP_THREADS = {text!r} is not a number of threads"
        )
    return int(text or 0)


class Engine:
    """Runs one network on float32 arrays; made by :meth:`load` or :meth:`from_graph`.

    Calls are safe from several threads at once, and release the GIL while they compute. Plans for
    the last eight sets of input shapes are kept, so a call of a known shape allocates nothing but
    its outputs.

    >>> from gluonzip.graph import Constant, Graph, Input, Node
    >>> dense = Node("dense", "fc", ["x", "w"], ["y"])
    >>> weights = {"w": Constant(np.eye(2, dtype="float32"))}
    >>> graph = Graph([Input("x", (0, 2))], ["y"], [dense], weights)
    >>> Engine.from_graph(graph)(np.array([[3, 4]], "float32"))
    array([[3., 4.]], dtype=float32)
    """

    def __init__(self, core: _core.Engine) -> None:
        self._core = core

    @classmethod
    def load(
        cls,
        path: str | os.PathLike,
        threads: int | None = None,
        isa: str | None = None,
        tune: bool = False,
        member: str | None = None,
    ) -> Engine:
        """The engine of a ``.glz`` archive; ``member`` says which network of a family.

        ``threads``: how many to use (None: the environment variable GLUONZIP_THREADS, or all
        cores). ``isa``: an instruction set by name (None: the environment variable GLUONZIP_ISA,
        or the best). Convolutions and dense layers with enough zeros run on sparse kernels, by the
        shapes of the first call (:meth:`profile` names them: ``sparse_s8``, ``sparse_f32``); the
        environment variable GLUONZIP_SPARSE, read then, says ``auto``, ``always`` or ``never``;
        anything else raises ConfigError at the first call. ``tune``: measure what is fastest on
        this machine, as :meth:`tune` does for a batch of 1, unless it is known from before.

        Raises ArchiveError for a file that is no sound archive, ConfigError for a member that it
        does not have, UnsupportedError for an operator
        that the engine lacks, IsaError for an ISA that this machine lacks.
        """
        sparse_costs.apply(_core.resolve_isa(isa or ""))
        engine = cls(_core.Engine.load(os.fspath(path), _threads(threads), isa or "", member))
        if tune:
            engine.tune()
        return engine

    @classmethod
    def from_graph(
        cls,
        graph: Graph,
        threads: int | None = None,
        isa: str | None = None,
        raw: bool = False,
    ) -> Engine:
        """The engine of a graph: what :meth:`load` gives after the graph was written to a file.

        ``raw``: no tensor is compressed on the way, which is quicker.
        """
        data = archive.to_bytes(graph, raw=raw)
        sparse_costs.apply(_core.resolve_isa(isa or ""))
        return cls(_core.Engine.from_bytes(data, graph.name, _threads(threads), isa or ""))

    def clone(self, threads: int | None = None) -> Engine:
        """Another engine of the same network, with threads of its own; weights are shared."""
        return Engine(self._core.clone(_threads(threads)))

    def tune(self, *inputs: np.ndarray) -> dict[str, str]:
        """Measure how each layer runs fastest here: how its work is cut into tasks, in which order.

        For the shapes of ``inputs`` (default: the network's own, with a batch of 1). A layer's cut
        changes only if another was clearly faster in two measurements; outputs stay the same to the
        bit. Takes about a hundred calls. What was found is kept on disk
        (:mod:`gluonzip.runtime.tuning`; the environment variable GLUONZIP_CACHE names another
        folder), so that the next engine of such layers measures nothing, and serves this engine's
        later clones too. Returns the choices: signature of a layer's work -> the way chosen.

        Raises ConfigError if the network leaves axes other than the first open and no ``inputs``
        are given, ShapeError as a call.
        """
        cache = ChoiceCache(self.isa, self.threads)
        known = cache.load()
        self._core.set_choices({**known, **self._core.choices()})
        found = self._core.tune(self._shapes(inputs))
        if found.items() - known.items():
            cache.save({**cache.load(), **found})
        return found

    def _shapes(self, inputs: Sequence[np.ndarray]) -> list[tuple[int, ...]]:
        if inputs:
            return [np.shape(array) for array in inputs]
        shapes = [(shape[0] or 1, *shape[1:]) if shape else () for _, shape, _ in self.inputs]
        for (name, shape, _), nominal in zip(self.inputs, shapes, strict=True):
            if 0 in nominal:
                raise ConfigError(
                    f"input {name!r} takes shapes {shape}, where 0 is any length: give tune() "
                    "arrays of the shapes that it is to measure"
                )
        return shapes

    # ------------------------------------------------------------ several at once
    def streams(self, streams: int | None = None) -> Streams:
        """So many independent copies of this engine, which share its weights and divide its threads
        (default: one thread each), for calls from several Python threads at once.

        Raises ConfigError for fewer than 1 or more than :attr:`threads`.
        """
        return Streams(self, self.threads if streams is None else streams)

    def map(self, inputs: Iterable[Inputs], streams: int | None = None) -> Iterator[Any]:
        """The outputs for each of ``inputs`` (an array, or a sequence of arrays), in order, with
        ``streams`` calls under way at once: more of them a second than one after the other, each
        taking longer. See :meth:`gluonzip.runtime.streams.Streams.map`."""
        return self.streams(streams).map(inputs)

    # ------------------------------------------------------------ running
    def __call__(self, *inputs: np.ndarray) -> np.ndarray | tuple[np.ndarray, ...]:
        """The network's output, or the tuple of its outputs.

        ``inputs``: float32 arrays (images as N, C, H, W) in the order of :attr:`inputs`. An axis
        of 0 in the network's shapes takes any length. An int8 output comes as codes. Raises
        ShapeError, naming the input, for a wrong shape or dtype.
        """
        outputs = self._core.run(list(inputs))
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    def taps(self, names: Iterable[str], *inputs: np.ndarray) -> dict[str, np.ndarray]:
        """Intermediate tensors by name, for diagnosis (int8 tensors as codes).

        Plans anew at each call, so it is slower than a call of the engine. Raises ConfigError for
        a name that no tensor has.
        """
        names = list(names)
        arrays = self._core.run(list(inputs), names)
        return dict(zip(names, arrays[len(self.outputs) :], strict=True))

    def limits(self) -> dict[str, float]:
        """This machine's limits for the engine's instruction set and threads, measured when first
        asked for: see :func:`gluonzip.runtime.limits.machine_limits`."""
        return dict(machine_limits(self.isa, self.threads))

    def profile(
        self, *inputs: np.ndarray, repeat: int = 10, limits: bool = True
    ) -> list[dict[str, Any]]:
        """What each node costs, in the order in which they run.

        One dict a node that takes time: name, op, kernel, note (why a layer with constant weights
        runs dense or sparse, else empty), milliseconds (median of ``repeat`` runs), macs
        (multiply-accumulates), bytes (read and written, each tensor once a chunk), chunks (how
        many parts of the batch it ran for, one after another), share (of the total time),
        macs_per_second, bytes_per_second; with ``limits`` also limit (what binds it: ``s8``,
        ``f32`` or ``memory``) and share_of_limit (how much of it is reached), against
        :meth:`limits`. Nodes that were fused into others or only alias memory are absent.
        """
        rows: dict[str, dict[str, Any]] = {}
        for step in self._core.profile(list(inputs), repeat):
            row = rows.setdefault(
                step["name"],
                {"name": step["name"], "op": step["op"], "kernel": [], "note": "",
                 "milliseconds": 0.0, "macs": 0, "bytes": 0, "chunks": step["chunks"]},
            )  # fmt: skip
            row["note"] = row["note"] or step["note"]
            row["kernel"].append(step["kernel"])
            row["milliseconds"] = row["milliseconds"] + np.array(step["milliseconds"])
            row["macs"] += step["macs"]
            row["bytes"] += step["bytes"]
        for row in rows.values():
            row["kernel"] = "+".join(dict.fromkeys(row["kernel"]))
            row["milliseconds"] = float(np.median(row["milliseconds"]))
        total = sum(row["milliseconds"] for row in rows.values())
        for row in rows.values():
            row["share"] = row["milliseconds"] / total if total else 0.0
            seconds = max(row["milliseconds"], 1e-9) / 1e3
            row["macs_per_second"] = row["macs"] / seconds
            row["bytes_per_second"] = row["bytes"] / seconds
            if limits:
                hold_against(row, machine_limits(self.isa, self.threads))
        return list(rows.values())

    # ------------------------------------------------------------ facts
    @property
    def name(self) -> str:
        """The network's name."""
        return self._core.name

    @property
    def inputs(self) -> list[tuple[str, tuple[int, ...], str]]:
        """(name, shape, dtype) of each input; an axis of 0 takes any length."""
        return self._core.inputs

    @property
    def outputs(self) -> list[str]:
        """Names of the output tensors."""
        return self._core.outputs

    @property
    def threads(self) -> int:
        """How many threads a call uses, the caller's included."""
        return self._core.threads

    @property
    def isa(self) -> str:
        """The instruction set whose kernels run."""
        return self._core.isa

    def memory(self) -> dict[str, int]:
        """Bytes held: ``weights`` (packed, shared by clones) and ``arena`` (activations of the
        cached plans)."""
        return self._core.memory()

    def __repr__(self) -> str:
        shapes = ", ".join(
            f"{name} ({', '.join(str(n) if n else 'any' for n in shape)})"
            for name, shape, _ in self.inputs
        )
        return (
            f"<Engine {self.name!r}: {shapes} -> {', '.join(self.outputs)}; "
            f"{self.threads} threads, {self.isa}>"
        )
