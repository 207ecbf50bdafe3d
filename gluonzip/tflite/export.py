"""From a graph to a TFLite file."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from gluonzip._version import __version__
from gluonzip.errors import DataError
from gluonzip.files import check_writable, replace_file
from gluonzip.graph import Graph, Node, infer_types, validate
from gluonzip.graph.declined import check_operators
from gluonzip.passes import optimize
from gluonzip.passes.quantize import expand_groups, separate_epilogues, split_dynamic
from gluonzip.tflite.emit import EMITTERS, NOT_EMITTED, State, View
from gluonzip.tflite.emit.registry import codes_of, stored
from gluonzip.tflite.flat import Model, Tensor

LIMIT = 2**31 - 2**16
"""FlatBuffers address 2 GB."""


def write(
    path: str | os.PathLike, graph: Graph, ranges: Mapping[str, float] | None = None
) -> Graph:
    """Write ``graph`` to ``path`` as TFLite; complete, or not at all. Returns the graph that the
    file says: optimized, with the rounding that TFLite's kernels do.

    Images are channels last, inputs and outputs included; batches are of one. int8 graphs run in
    integers (weights per tensor or per channel, zero points 0) up to layers that answer in float32:
    ``ranges`` (``passes.quantize.sum_ranges``) gives them an int8 output, too. Raises
    UnsupportedError that names every operator without an equivalent, DataError for a path that
    cannot be written, both before anything is written.
    """
    path = Path(path)
    check_writable(path)
    optimized = expand_groups(split_dynamic(optimize(graph)))
    prepared = separate_epilogues(optimized, ranges)
    data = to_bytes(prepared)
    replace_file(path, data)
    return prepared


def to_bytes(graph: Graph) -> bytes:
    """The file of a graph as it is, which must hold no epilogues that TFLite lacks."""
    validate(graph)
    check_operators(graph, NOT_EMITTED, EMITTERS, "TFLite")
    shapes = {i.name: _nominal(graph, at) for at, i in enumerate(graph.inputs)}
    types = infer_types(graph, shapes)
    size = sum(c.data.nbytes for c in graph.constants.values())
    if size >= LIMIT:
        raise DataError(f"weights of {size:,} bytes do not fit a TFLite file (2 GB); use ONNX")
    model = Model(graph.name, f"gluonzip {__version__}")
    state = State(graph, types, model)
    for i in graph.inputs:
        state.tensors[i.name] = model.tensor(Tensor(i.name, stored(types[i.name].shape), i.dtype))
        model.inputs.append(state.tensors[i.name])
    for node in graph.nodes:
        _emit(state, node)
    for name in graph.outputs:
        model.outputs.append(state.get(name))
    model.facts = {"gluonzip": json.dumps(graph.meta).encode()}
    return model.serialize()


def _nominal(graph: Graph, at: int) -> tuple[int, ...]:
    """An input's shape for one sample."""
    shape, traced = graph.inputs[at].shape, graph.meta.get("input_shapes", [])
    sizes = traced[at] if at < len(traced) and len(traced[at]) == len(shape) else shape
    return tuple(n or (1 if axis == 0 else sizes[axis] or 1) for axis, n in enumerate(shape))


def _emit(state: State, node: Node) -> None:
    view = View(state, node)
    results = EMITTERS[node.op](view)
    results = [results] if isinstance(results, Tensor) else list(results)
    for result, name in zip(results, node.outputs, strict=True):
        wanted = codes_of(state.types[name])
        kept = state.codes(result, wanted) if wanted else state.real(result)
        made_here = kept.data is None and kept not in state.tensors.values()
        if made_here:
            kept.name = name
        elif name in state.graph.outputs:
            kept = view.reshaped(kept, kept.shape)
            kept.name = name
        state.tensors[name] = kept
