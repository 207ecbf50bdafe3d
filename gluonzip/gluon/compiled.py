"""The engine as a Gluon Block: a compressed network among ordinary ones."""

from __future__ import annotations

import functools
import os
from collections import OrderedDict
from typing import Any

import numpy as np

from gluonzip.archive import read
from gluonzip.errors import ConfigError, ShapeError, UnsupportedError
from gluonzip.gluon._mxnet import mx
from gluonzip.gluon.arrays import view, wrap
from gluonzip.gluon.post_training import Quantizer
from gluonzip.gluon.segments import Program
from gluonzip.gluon.structure import Block
from gluonzip.gluon.tracing import trace
from gluonzip.graph.ir import Graph
from gluonzip.passes import optimize
from gluonzip.passes.partition import Segment
from gluonzip.runtime import Engine

SIZES = 8
"""How many input sizes of one network stay compiled."""


class CompiledBlock(Block):
    """Runs a network in the gluonzip engine, on NDArrays in host memory.

    ``source``: the path of an archive, an Engine, a Graph, or a Gluon network with ``shapes`` of
    its inputs (as for :func:`gluonzip.gluon.trace`). ``threads`` and ``isa``: as for
    ``Engine.load``. ``quantizer``: for a network; runs it in int8
    (:class:`gluonzip.gluon.Quantizer`, made of calibration data).

    What the engine does not run (operators that the op table lacks: box decoding, suppression,
    deformable convolution) runs in MXNet, between segments of the engine; :attr:`partition` lists
    them. A network is compiled again for images of another size, as it is then; the last
    SIZES sizes are kept.

    Inputs are read where they lie and outputs handed over as they are, without copies. The outputs
    have the structure of the traced network's (tuples as lists), if the source knows it. There are
    no parameters and no gradients; ``hybridize`` changes nothing; it cannot be a child of a
    HybridBlock. Raises ShapeError (shape, dtype), UnsupportedError (recording gradients, arrays on
    a GPU).
    """

    def __init__(
        self,
        source: str | os.PathLike | Engine | Graph | Block,
        *shapes: tuple[int, ...],
        threads: int | None = None,
        isa: str | None = None,
        quantizer: Quantizer | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._options = {"threads": threads, "isa": isa}
        self._trace, self._quantizer = None, quantizer
        self._sizes: OrderedDict[tuple, _Runner] = OrderedDict()
        if isinstance(source, Block):
            self._trace = functools.partial(trace, source)  # an attribute would become a child
            self._runner = self._compile(shapes)
            return
        if shapes:
            raise ConfigError("shapes are for a Gluon network; this source knows its own")
        if quantizer is not None:
            raise ConfigError("a quantizer is for a Gluon network; this source is as it is")
        self._runner = _open(source, threads, isa)

    def forward(self, *inputs: Any) -> Any:
        _check(inputs, self._runner.inputs)
        if self._trace is not None:
            self._runner = self._compile(tuple(x.shape for x in inputs))
        return _regroup(self._runner(*inputs), self._runner.structure)

    def _compile(self, shapes: tuple[tuple[int, ...], ...]) -> _Runner:
        """The network for inputs of these shapes (of any batch), compiled once."""
        size = tuple(tuple(shape[1:]) for shape in shapes)
        if size not in self._sizes:
            graph = self._trace(*shapes)
            quantized = optimize(graph) if self._quantizer is None else self._quantizer(graph)
            self._sizes[size] = _runner(quantized, **self._options)
            if len(self._sizes) > SIZES:
                self._sizes.popitem(last=False)
        self._sizes.move_to_end(size)
        return self._sizes[size]

    @property
    def engine(self) -> Engine:
        """The engine that runs the whole network; UnsupportedError if it runs only parts."""
        if self._runner.engine is None:
            raise UnsupportedError(
                "the network is divided between the engine and MXNet: see .partition"
            )
        return self._runner.engine

    @property
    def partition(self) -> list[Segment]:
        """Who runs what, in order (for the size that ran last); print them. A network that the
        engine runs whole is one segment."""
        return self._runner.segments

    @property
    def program(self) -> Program | None:
        """What runs the segments; None if the engine runs the whole network."""
        return self._runner.program

    def hybridize(self, active: bool = True, **kwargs: Any) -> None:
        """Nothing to do: the network is compiled already."""

    def __repr__(self) -> str:
        if self._runner.engine is not None:
            return f"CompiledBlock({self._runner.engine!r})"
        lines = "".join(f"\n  {segment}" for segment in self.partition)
        return f"CompiledBlock({lines}\n)"


class _Runner:
    """A network at work: an engine, or a program of segments."""

    def __init__(self, source: Engine | Program, structure: Any, graph: Graph | None) -> None:
        self.engine = source if isinstance(source, Engine) else None
        self.program = source if isinstance(source, Program) else None
        self.structure, self.graph = structure, graph
        self.inputs = source.inputs
        if self.program is not None:
            self.inputs = [(i.name, i.shape, i.dtype) for i in self.program.inputs]

    @property
    def segments(self) -> list[Segment]:
        if self.program is not None:
            return self.program.segments
        return [] if self.graph is None else [Segment(self.graph)]

    def __call__(self, *inputs: Any) -> list[Any]:
        if self.program is not None:
            return self.program(*inputs)
        outputs = self.engine(*map(view, inputs))
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        return [wrap(array, mx.cpu()) for array in outputs]


def _runner(graph: Graph, threads: int | None, isa: str | None) -> _Runner:
    structure = graph.meta.get("outputs", _flat(len(graph.outputs)))
    program = Program(graph, threads, isa)
    if len(program.segments) == 1 and program.segments[0].in_engine:
        try:
            return _Runner(
                Engine.from_graph(graph, threads=threads, isa=isa, raw=True), structure, graph
            )
        except UnsupportedError:
            pass  # the program finds out which node it is
    return _Runner(program, structure, graph)


def _open(source: Any, threads: int | None, isa: str | None) -> _Runner:
    if isinstance(source, Engine):
        if threads is not None or isa is not None:
            raise ConfigError("threads and isa belong to the engine; set them when it is loaded")
        return _Runner(source, _flat(len(source.outputs)), None)
    if isinstance(source, Graph):
        return _runner(source, threads, isa)
    if isinstance(source, (str, os.PathLike)):
        try:
            engine = Engine.load(source, threads=threads, isa=isa)
        except UnsupportedError:
            return _runner(read(source), threads, isa)
        graph = read(source)
        return _Runner(engine, graph.meta.get("outputs", _flat(len(engine.outputs))), graph)
    raise ConfigError(
        f"CompiledBlock needs a path, Engine, Graph or Gluon network, got a {type(source).__name__}"
    )


def _flat(count: int) -> Any:
    return 0 if count == 1 else list(range(count))


def _check(inputs: tuple[Any, ...], expected: list[tuple[str, tuple[int, ...], str]]) -> None:
    """Can the engine take these? ``expected``: name, shape, dtype of each."""
    if mx.autograd.is_recording():
        raise UnsupportedError(
            "a CompiledBlock has no gradients; call it outside autograd.record(), or inside "
            "autograd.pause()"
        )
    if len(inputs) != len(expected):
        names = ", ".join(name for name, _, _ in expected)
        raise ShapeError(f"{len(inputs)} arrays for {len(expected)} inputs ({names})")
    for array, (name, _, dtype) in zip(inputs, expected, strict=True):
        if not isinstance(array, mx.nd.NDArray):
            raise ShapeError(f"input {name!r} is a {type(array).__name__}; give an NDArray")
        if array.context.device_type not in ("cpu", "cpu_pinned", "cpu_shared"):
            raise UnsupportedError(
                f"input {name!r} is on {array.context}; the engine runs on the CPU: "
                "as_in_context(mx.cpu())"
            )
        if np.dtype(array.dtype) != np.dtype(dtype):
            raise ShapeError(
                f"input {name!r} has dtype {np.dtype(array.dtype)}; the engine needs {dtype}: "
                f"astype({dtype!r})"
            )


def _regroup(outputs: list[Any], structure: Any) -> Any:
    if isinstance(structure, list):
        return [_regroup(outputs, item) for item in structure]
    return None if structure is None else outputs[structure]
