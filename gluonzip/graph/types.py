"""Shapes, dtypes and scales of every tensor, by the op table's rules."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from types import SimpleNamespace

import numpy as np

from gluonzip.errors import GluonzipError, GraphError, ShapeError, UnsupportedError
from gluonzip.graph.ir import Constant, Graph, Input, Node, TensorType
from gluonzip.graph.ops import OPS, OpSpec


def infer_types(
    graph: Graph, shapes: Mapping[str, tuple[int, ...]] | None = None
) -> dict[str, TensorType]:
    """Type of every input, constant and node output, by name.

    ``shapes`` gives the actual shapes of graph inputs. Inputs that it leaves out have their nominal
    shape, in which an axis of 0 (any length) counts as 1. Raises ShapeError, which names the node,
    when shapes or dtypes do not fit, UnsupportedError for an opaque node.
    """
    types = _given_types(graph, shapes)
    for node in graph.nodes:
        types.update(zip(node.outputs, node_types(node, types), strict=True))
    return types


def known_types(graph: Graph) -> dict[str, TensorType]:
    """Like :func:`infer_types` with nominal shapes, but leaves out what cannot be told instead of
    raising: outputs of opaque nodes, of misfits and of everything behind them."""
    types = _given_types(graph)
    for node in graph.nodes:
        with suppress(GluonzipError):
            types.update(zip(node.outputs, node_types(node, types), strict=True))
    return types


def _given_types(
    graph: Graph, shapes: Mapping[str, tuple[int, ...]] | None = None
) -> dict[str, TensorType]:
    """Types of graph inputs and constants."""
    shapes = dict(shapes or {})
    unknown = set(shapes) - {i.name for i in graph.inputs}
    if unknown:
        raise ShapeError(f"graph {graph.name!r} has no input named {', '.join(sorted(unknown))}")
    types: dict[str, TensorType] = {}
    for i in graph.inputs:
        nominal = tuple(n or 1 for n in i.shape)
        types[i.name] = TensorType(check_shape(i, shapes.get(i.name, nominal)), i.dtype)
    types.update({name: _constant_type(c) for name, c in graph.constants.items()})
    return types


def check_shape(expected: Input, shape: tuple[int, ...]) -> tuple[int, ...]:
    """``shape`` as integers if it suits the graph input; ShapeError otherwise."""
    shape = tuple(int(n) for n in shape)
    fits = len(shape) == len(expected.shape) and all(
        want in (0, n) for n, want in zip(shape, expected.shape, strict=True)
    )
    if not fits or 0 in shape:
        wanted = ", ".join(str(n) if n else "any" for n in expected.shape)
        raise ShapeError(f"input {expected.name!r} has shape {shape}; the graph needs ({wanted})")
    return shape


def _constant_type(constant: Constant) -> TensorType:
    """A quantized constant counts as int8; scales per channel do not fit a TensorType."""
    per_tensor = constant.quantized and constant.scale.ndim == 0
    scale = float(constant.scale) if per_tensor else None
    return TensorType(constant.data.shape, constant.data.dtype.name, scale)


def node_types(node: Node, types: Mapping[str, TensorType]) -> list[TensorType]:
    """Types of a node's outputs from those of its inputs."""
    spec = OPS.get(node.op)
    if spec is None:
        raise GraphError(f"node {node.name!r}: {node.op!r} is not in the op table")
    try:
        inputs = [types[name] if name else None for name in node.inputs]
        a = spec.fill(node.attrs, len(node.outputs))
        shapes = spec.shape(a, *(t.shape if t else None for t in inputs))
        dtype, scale = _dtype(spec, a, inputs)
    except KeyError as error:
        raise GraphError(f"node {node.name!r} reads undefined tensor {error}") from error
    except (ShapeError, UnsupportedError) as error:
        raise type(error)(f"node {node.name!r} ({node.op}): {error}") from error
    except (TypeError, AttributeError, ValueError) as error:
        message = f"node {node.name!r} ({node.op}) has wrong inputs or attributes: {error}"
        raise GraphError(message) from error
    shapes = shapes if isinstance(shapes, list) else [shapes]
    return [TensorType(tuple(shape), dtype, scale) for shape in shapes]


def _dtype(
    spec: OpSpec, a: SimpleNamespace, inputs: list[TensorType | None]
) -> tuple[str, float | None]:
    """dtype and scale of the outputs: the header of ops.py in five lines."""
    x = inputs[0] if inputs else None
    out_scale = a.scale if spec.name == "quantize" else getattr(a, "out_scale", None)
    if out_scale is not None:
        return "uint8" if a.unsigned else "int8", float(np.float32(out_scale))
    if spec.on_codes and x is not None and x.holds_codes:
        if spec.name == "pad" and a.value != 0:
            raise ShapeError(f"pads {x.dtype} codes with {a.value}; only 0 keeps their scale")
        return x.dtype, x.scale
    if spec.name == "concat" and any(t is not None and t.holds_codes for t in inputs):
        raise ShapeError("concatenates tensors of codes without an out_scale")
    return "float32", None
