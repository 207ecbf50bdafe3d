"""The engine as a Gluon Block: a compressed network among ordinary ones."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from gluonzip.archive import read
from gluonzip.errors import ConfigError, ShapeError, UnsupportedError
from gluonzip.gluon._mxnet import mx
from gluonzip.gluon.arrays import view, wrap
from gluonzip.gluon.structure import Block
from gluonzip.gluon.tracing import trace
from gluonzip.graph.ir import Graph
from gluonzip.passes import optimize
from gluonzip.runtime import Engine


class CompiledBlock(Block):
    """Runs a network in the gluonzip engine, on NDArrays in host memory.

    ``source``: the path of an archive, an Engine, a Graph, or a Gluon network with ``shapes`` of
    its inputs (as for :func:`gluonzip.gluon.trace`). ``threads`` and ``isa``: as for
    ``Engine.load``.

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
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if isinstance(source, Block):
            source = optimize(trace(source, *shapes))
        elif shapes:
            raise ConfigError("shapes are for a Gluon network; this source knows its own")
        self.engine, self._structure = _open(source, threads, isa)

    def forward(self, *inputs: Any) -> Any:
        context = _check(inputs, self.engine)
        outputs = self.engine(*map(view, inputs))
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        return _regroup([wrap(array, context) for array in outputs], self._structure)

    def hybridize(self, active: bool = True, **kwargs: Any) -> None:
        """Nothing to do: the network is compiled already."""

    def __repr__(self) -> str:
        return f"CompiledBlock({self.engine!r})"


def _open(source: Any, threads: int | None, isa: str | None) -> tuple[Engine, Any]:
    """The engine, and the structure of the network's outputs."""
    if isinstance(source, Engine):
        if threads is not None or isa is not None:
            raise ConfigError("threads and isa belong to the engine; set them when it is loaded")
        return source, _flat(len(source.outputs))
    if isinstance(source, Graph):
        engine = Engine.from_graph(source, threads=threads, isa=isa)
        return engine, source.meta.get("outputs", _flat(len(engine.outputs)))
    if isinstance(source, (str, os.PathLike)):
        engine = Engine.load(source, threads=threads, isa=isa)
        count = len(engine.outputs)
        if count == 1:
            return engine, 0
        return engine, read(source).meta.get("outputs", _flat(count))
    raise ConfigError(
        f"CompiledBlock needs a path, Engine, Graph or Gluon network, got a {type(source).__name__}"
    )


def _flat(count: int) -> Any:
    return 0 if count == 1 else list(range(count))


def _check(inputs: tuple[Any, ...], engine: Engine) -> Any:
    """Can the engine take these? Their context."""
    if mx.autograd.is_recording():
        raise UnsupportedError(
            "a CompiledBlock has no gradients; call it outside autograd.record(), or inside "
            "autograd.pause()"
        )
    if len(inputs) != len(engine.inputs):
        names = ", ".join(name for name, _, _ in engine.inputs)
        raise ShapeError(f"{len(inputs)} arrays for {len(engine.inputs)} inputs ({names})")
    for array, (name, _, dtype) in zip(inputs, engine.inputs, strict=True):
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
    return mx.cpu()


def _regroup(outputs: list[Any], structure: Any) -> Any:
    if isinstance(structure, list):
        return [_regroup(outputs, item) for item in structure]
    return None if structure is None else outputs[structure]
