"""The interpreter: runs any graph with NumPy. The oracle for the engine and for every pass."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from gluonzip.errors import GraphError, ShapeError, UnsupportedError
from gluonzip.graph.ir import Graph, Node
from gluonzip.graph.ops import OPS
from gluonzip.graph.reference import FUNCTIONS, Value, run
from gluonzip.graph.types import check_shape

Arrays = np.ndarray | Sequence[np.ndarray] | Mapping[str, np.ndarray]


def interpret(graph: Graph, inputs: Arrays, keep: Collection[str] = ()):
    """Run ``graph``; returns the list of its outputs.

    ``inputs``: one array (a single input), a sequence in the order of ``graph.inputs``, or a
    mapping by name; shapes and dtypes must be those of the graph (ShapeError otherwise). With
    ``keep``, names of tensors, returns (outputs, {name: array}). int8 tensors come as
    codes. Raises UnsupportedError for an opaque node.
    """
    keep = frozenset(keep)
    values = {name: Value(array) for name, array in bind(graph, inputs).items()}
    values.update({name: Value.of(c) for name, c in graph.constants.items()})
    readers = _read_counts(graph)
    kept = {name: values[name].data for name in keep if name in values}
    for node in graph.nodes:
        with np.errstate(all="ignore"):  # infinities and NaN are values, as in any engine
            results = run_node(node, values)
        for name, value in zip(node.outputs, results, strict=True):
            values[name] = value
            if name in keep:
                kept[name] = value.data
        _forget(node, values, readers)
    missing = [name for name in (*graph.outputs, *keep) if name not in values and name not in kept]
    if missing:
        raise GraphError(f"graph {graph.name!r} has no tensor named {', '.join(sorted(missing))}")
    outputs = [values[name].data for name in graph.outputs]
    return (outputs, kept) if keep else outputs


def bind(graph: Graph, inputs: Arrays) -> dict[str, np.ndarray]:
    """Arrays by the names of the graph's inputs, checked; ShapeError says what does not fit."""
    names = [i.name for i in graph.inputs]
    if isinstance(inputs, Mapping):
        arrays = dict(inputs)
    else:
        given = [inputs] if isinstance(inputs, np.ndarray) else list(inputs)
        if len(given) != len(names):
            raise ShapeError(f"{len(given)} arrays for {len(names)} inputs ({', '.join(names)})")
        arrays = dict(zip(names, given, strict=True))
    if set(arrays) != set(names):
        got = ", ".join(sorted(map(str, arrays)))
        raise ShapeError(f"inputs are named {', '.join(names)}; got {got}")
    for i in graph.inputs:
        array = arrays[i.name] = np.asarray(arrays[i.name])
        if array.dtype != np.dtype(i.dtype):
            raise ShapeError(
                f"input {i.name!r} has dtype {array.dtype}; the graph needs {i.dtype} "
                f"(use .astype({i.dtype!r}))"
            )
        check_shape(i, array.shape)
    return arrays


def run_node(node: Node, values: Mapping[str, Value]) -> list[Value]:
    """The outputs of one node, from the values of its inputs by name."""
    if node.op == "opaque":
        raise UnsupportedError(
            f"node {node.name!r}: operator {node.attrs.get('operator')!r} is not in the op table; "
            "it can be kept in a graph, not run"
        )
    if node.op not in FUNCTIONS:
        raise GraphError(f"node {node.name!r}: {node.op!r} is not in the op table")
    spec = OPS[node.op]
    try:
        a = spec.fill(node.attrs, len(node.outputs))
        inputs = [values[name] if name else None for name in node.inputs]
        spec.shape(a, *(None if v is None else v.data.shape for v in inputs))
        return run(node.op, a, inputs)
    except ShapeError as error:
        raise ShapeError(f"node {node.name!r} ({node.op}): {error}") from error
    except KeyError as error:
        raise GraphError(f"node {node.name!r} reads undefined tensor {error}") from error


def _read_counts(graph: Graph) -> dict[str, int]:
    """How many nodes still read each tensor; the graph's outputs are never forgotten."""
    counts = {name: len(nodes) for name, nodes in graph.consumers().items()}
    for name in graph.outputs:
        counts[name] = counts.get(name, 0) + len(graph.nodes) + 1
    return counts


def _forget(node: Node, values: dict[str, Value], readers: dict[str, int]) -> None:
    """Drop what nobody reads any more, so that a deep network fits in memory."""
    for name in dict.fromkeys(node.present_inputs()):
        readers[name] -= 1
        if readers[name] == 0:
            del values[name]
    for name in node.outputs:
        if readers.get(name, 0) == 0:
            values.pop(name, None)
