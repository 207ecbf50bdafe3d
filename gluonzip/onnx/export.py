"""From a graph to an ONNX model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from gluonzip._version import __version__
from gluonzip.errors import UnsupportedError
from gluonzip.graph import Graph, Node, TensorType, validate
from gluonzip.graph.declined import check_operators
from gluonzip.onnx.builder import ONLY_FOR_RUNTIMES, Builder
from gluonzip.onnx.codes import Codes, codes_of
from gluonzip.onnx.emit import EMITTERS, NOT_EMITTED, State, View
from gluonzip.onnx.lengths import Axes
from gluonzip.onnx.package import IR_VERSION, OPSET, onnx
from gluonzip.onnx.storage import Notes, Storage
from gluonzip.passes import optimize
from gluonzip.passes.quantize import expand_groups, separate_epilogues, split_dynamic
from gluonzip.passes.quantize.kinds import moves_codes
from gluonzip.passes.quantize.signs import non_negative

helper, T = onnx.helper, onnx.TensorProto
META = "gluonzip."
"""Prefix of the keys of our facts in a model's metadata."""


@dataclass(frozen=True)
class Exported:
    """A model, the graph it says (its own rounding included), and notes on its weights."""

    model: onnx.ModelProto
    graph: Graph
    notes: Notes


def to_model(
    graph: Graph, storage: Storage | None = None, ranges: Mapping[str, float] | None = None
) -> Exported:
    """``graph`` as an ONNX model, optimized first (batch norms folded, quantizers lowered).

    int8 tensors stand between QuantizeLinear and DequantizeLinear such that runtimes use integer
    kernels; ``ranges`` (max |x| of weighted sums, from ``passes.quantize.sum_ranges``) gives the
    convolutions an int8 output that answer in float32. Weights with a scale per group become
    float32, dynamic layers round their input and multiply in float32. Axis 0 of every input is
    free where the graph allows it. Raises UnsupportedError that names every operator without an
    equivalent.
    """
    optimized = expand_groups(split_dynamic(optimize(graph)))
    prepared = separate_epilogues(optimized, ranges, outputs=("conv2d",))
    prepared.outputs = list(graph.outputs)
    validate(prepared)
    check_operators(prepared, NOT_EMITTED, EMITTERS, "ONNX")
    builder = Builder(prepared, storage or Storage())
    state = State(prepared, builder)
    positive = non_negative(prepared) - set(prepared.outputs)
    original = {name for node in optimized.nodes for name in node.outputs}
    for node in prepared.nodes:
        _emit(state, node, positive, original)
    return Exported(_model(state, builder), prepared, builder.notes)


def _emit(state: State, node: Node, positive: set[str], original: set[str]) -> None:
    builder = state.builder
    codes = _output_codes(state, node, positive)
    since = len(builder.nodes)
    results = EMITTERS[node.op](View(state, node, codes))
    results = [results] if isinstance(results, str) else list(results)
    for result, name in zip(results, node.outputs, strict=True):
        if codes is not None:
            # What only moves codes keeps their scale: not a quantizer of its own.
            own = name in original and (node.op == "relu" or not moves_codes(node))
            doc = _doc(state.axes.type(name), codes) if own else ONLY_FOR_RUNTIMES
            result = state.quantize(result, codes, name, doc)
            state.codes[name] = codes
        builder.rename(result, name, since)


def _doc(t: TensorType, codes: Codes) -> str:
    """What a quantizer of the graph says of itself; uint8 is stored as it is."""
    return "" if t.dtype == "uint8" else f"gluonzip: scale={codes.graph_scale!s}"


def _output_codes(state: State, node: Node, positive: set[str]) -> Codes | None:
    """How the node's outputs are stored, if they are int8."""
    name = node.outputs[0]
    t = state.axes.type(name)
    return codes_of(node, name, t, state.codes, positive) if t.holds_codes else None


# ---------------------------------------------------------------- the model around the nodes
def _model(state: State, builder: Builder) -> onnx.ModelProto:
    graph, axes = state.graph, state.axes
    inputs = [_value(i.name, _names(i.name, i.shape, axes), i.dtype) for i in graph.inputs]
    outputs = [_output(state, name, axes) for name in graph.outputs]
    proto = helper.make_graph(
        builder.nodes, graph.name or "network", inputs, outputs, list(builder.initializers.values())
    )
    model = helper.make_model(
        proto,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="gluonzip",
        producer_version=__version__,
    )
    facts = {META + key: json.dumps(value) for key, value in sorted(graph.meta.items())}
    helper.set_model_props(model, facts)
    return model


def _names(name: str, shape: tuple[int, ...], axes: Axes) -> list[int | str]:
    fixed = axes.type(name).shape
    return [
        (
            ("batch" if axis == 0 else f"{name}_axis{axis}")
            if (name, axis) in axes.free
            else fixed[axis]
        )
        for axis in range(len(shape))
    ]


def _output(state: State, name: str, axes: Axes) -> onnx.ValueInfoProto:
    lengths: list = ["batch" if at == 0 and n is None else n for at, n in enumerate(axes[name])]
    return _value(name, lengths, axes.type(name).dtype)


def _value(name: str, lengths: list, dtype: str) -> onnx.ValueInfoProto:
    kind = {"float32": T.FLOAT, "int8": T.INT8, "uint8": T.UINT8, "int32": T.INT32}.get(dtype)
    if kind is None:
        raise UnsupportedError(f"tensor {name!r} has dtype {dtype}, which exports do not have")
    return helper.make_tensor_value_info(name, kind, lengths)
