"""An archive at work on NumPy arrays, whether the engine runs all of it or MXNet a part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from gluonzip.errors import UnsupportedError
from gluonzip.runtime import Engine, best_isa


def open_archive(path: Path, threads: int) -> Runner:
    """The engine of an archive or, for operators that it lacks, its division with MXNet."""
    return Runner(path, threads)


class Runner:
    """``runner(*arrays)``: the network's outputs, as an :class:`gluonzip.Engine` gives them.
    ``partition``: a line a segment, none if the engine runs the whole network."""

    def __init__(self, path: Path, threads: int) -> None:
        try:
            self._engine: Any = Engine.load(path, threads=threads)
        except UnsupportedError:
            from gluonzip.gluon import CompiledBlock

            self._engine, self._block = None, CompiledBlock(path, threads=threads)

    def __call__(self, *arrays: np.ndarray) -> Any:
        if self._engine is not None:
            return self._engine(*arrays)
        import mxnet as mx

        found = leaves(self._block(*[mx.nd.array(x, dtype=x.dtype) for x in arrays]))
        return found[0].asnumpy() if len(found) == 1 else tuple(x.asnumpy() for x in found)

    @property
    def isa(self) -> str:
        """The instruction set of the engine."""
        if self._engine is not None:
            return self._engine.isa
        return best_isa()

    @property
    def partition(self) -> tuple[str, ...]:
        return () if self._engine is not None else tuple(map(str, self._block.partition))


def leaves(outputs: Any) -> list[Any]:
    """The arrays of a nested structure of outputs, in order."""
    if isinstance(outputs, (list, tuple)):
        return [array for item in outputs for array in leaves(item)]
    return [] if outputs is None else [outputs]
