"""Compressed networks as MXNet's own files, for processes that have never heard of gluonzip."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from gluonzip.errors import ConfigError, DataError
from gluonzip.gluon._mxnet import mx
from gluonzip.gluon.rebuild import GraphBlock
from gluonzip.gluon.structure import Block
from gluonzip.gluon.tracing import trace
from gluonzip.graph.ir import Graph
from gluonzip.passes.quantize import simulate


def export(
    source: Block | Graph, path: str | os.PathLike, *shapes: Sequence[int], epoch: int = 0
) -> tuple[Path, Path]:
    """Write ``path-symbol.json`` and ``path-EEEE.params``; returns the two.

    ``source``: a network, compressed or not, with the ``shapes`` of its inputs, or a graph (that of
    an archive, say). Integers become their simulation in MXNet's own operators, so plain MXNet runs
    the files (``SymbolBlock.imports``), and :func:`import_symbol` finds masks and scales again.
    Raises as :func:`trace`, DataError when the files cannot be written.
    """
    graph = source if isinstance(source, Graph) else trace(source, *map(tuple, shapes))
    sizes = [tuple(shape) for shape in shapes] or graph.meta.get("input_shapes") or []
    if len(sizes) != len(graph.inputs):
        sizes = [i.shape for i in graph.inputs]
    block = GraphBlock(simulate(graph), prefix="")
    if any(i.dtype != "float32" for i in graph.inputs):
        raise ConfigError(f"graph {graph.name!r} has inputs that are not float32")
    block.hybridize()
    with mx.autograd.pause(train_mode=False):
        block(*[mx.nd.zeros([n or 1 for n in size]) for size in sizes])
    mx.nd.waitall()
    return _write(block, Path(path), epoch, [i.name for i in graph.inputs])


def run_symbol(
    symbol: str | os.PathLike, params: str | os.PathLike, inputs: Mapping[str, np.ndarray]
) -> list[np.ndarray]:
    """What MXNet itself answers from the two files: the outputs of a ``SymbolBlock``."""
    net = mx.gluon.SymbolBlock.imports(str(symbol), list(inputs), str(params))
    outputs = net(*[mx.nd.array(array) for array in inputs.values()])
    outputs = outputs if isinstance(outputs, (list, tuple)) else [outputs]
    return [output.asnumpy() for output in outputs]


def _write(block: GraphBlock, path: Path, epoch: int, names: list[str]) -> tuple[Path, Path]:
    """Both files under other names first: each appears complete or not at all."""
    symbol = block(*[mx.sym.var(name) for name in names])
    symbol = mx.sym.Group(symbol) if isinstance(symbol, (list, tuple)) else symbol
    auxiliary = set(symbol.list_auxiliary_states())
    arrays = {
        f"{'aux' if name in auxiliary else 'arg'}:{name}": p.list_data()[0].as_in_context(mx.cpu())
        for name, p in block.collect_params().items()
        if name in {*symbol.list_inputs()}
    }
    targets = Path(f"{path}-symbol.json"), Path(f"{path}-{epoch:04d}.params")
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as scratch:
            made = Path(scratch) / "symbol.json", Path(scratch) / "params"
            symbol.save(str(made[0]))
            mx.nd.save(str(made[1]), arrays)
            for source, target in zip(made, targets, strict=True):
                os.replace(source, target)
    except OSError as error:
        raise DataError(f"{str(path)!r} cannot be written: {error.strerror}") from error
    return targets
