"""Emitters register here: one function an operator, from a view of its node to ONNX values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from gluonzip.errors import UnsupportedError
from gluonzip.graph import OPS, Constant, Graph, Node
from gluonzip.onnx.builder import Builder
from gluonzip.onnx.codes import Codes, saturation_is_the_activation
from gluonzip.onnx.lengths import Axes, Lengths

EMITTERS: dict[str, Callable[[View], str | Sequence[str]]] = {}

NOT_EMITTED = {
    "opaque": "an operator that the op table lacks has no meaning here",
    "peak": "it is a measurement of calibration, not part of a network",
}
"""Operators that cannot be exported, and why."""


def emitter(*ops: str) -> Callable:
    """Register a function from :class:`View` to the node's float32 value (or values).

    It works on real values; that an input or output is int8 is the business of the view.
    """

    def register(function: Callable) -> Callable:
        for op in ops:
            EMITTERS[op] = function
        return function

    return register


class State:
    """What is known while a graph is walked: codes of int8 tensors, their dequantized values."""

    def __init__(self, graph: Graph, builder: Builder) -> None:
        self.graph = graph
        self.builder = builder
        self.axes = Axes(graph)
        self.codes: dict[str, Codes] = {}
        self.dequantized: dict[str, str] = {}

    def real(self, name: str) -> str:
        """The ONNX value that holds a tensor's real values."""
        constant = self.graph.constants.get(name)
        if constant is not None and constant.quantized:
            if name not in self.dequantized:
                self.dequantized[name] = self.builder.dequantized(name, constant, name)
            return self.dequantized[name]
        if constant is not None:
            data = constant.data
            data = data.astype(np.float32) if data.dtype == np.float64 else data
            return self.builder.tensor(name, data)
        if name not in self.codes:
            return name
        if name not in self.dequantized:
            self.dequantized[name] = self.dequantize(name, self.codes[name], name)
        return self.dequantized[name]

    def quantize(self, value: str, codes: Codes, stem: str, doc: str = "") -> str:
        pair = self._scale_and_zero(codes, stem)
        return self.builder.node("QuantizeLinear", [value, *pair], stem, doc=doc)[0]

    def dequantize(self, value: str, codes: Codes, stem: str) -> str:
        pair = self._scale_and_zero(codes, stem)
        return self.builder.node("DequantizeLinear", [value, *pair], stem)[0]

    def _scale_and_zero(self, codes: Codes, stem: str) -> tuple[str, str]:
        scale = self.builder.array(codes.scale, f"{stem}_scale")
        return scale, self.builder.array(codes.zero, f"zero_{codes.zero}")


class View:
    """A node under emission. ``codes``: of its output, if that is int8."""

    def __init__(self, state: State, node: Node, codes: Codes | None) -> None:
        self.state = state
        self.builder = state.builder
        self.node = node
        self.codes = codes
        self.a: SimpleNamespace = OPS[node.op].fill(node.attrs, len(node.outputs))

    # ------------------------------------------------------------ inputs
    @property
    def x(self) -> str:
        return self.input(0)

    @property
    def inputs(self) -> list[str]:
        return [self.state.real(name) for name in self.node.inputs]

    def has(self, index: int) -> bool:
        return index < len(self.node.inputs) and bool(self.node.inputs[index])

    def input(self, index: int) -> str:
        """The real values of an input."""
        return self.state.real(self.node.inputs[index])

    def input_codes(self, index: int = 0) -> Codes | None:
        """How an int8 input is stored; None for a float32 one."""
        return self.state.codes.get(self.node.inputs[index])

    def constant(self, index: int) -> Constant | None:
        return self.state.graph.constants.get(self.node.inputs[index])

    def lengths(self, index: int = 0) -> Lengths:
        """Lengths of an input's axes, None for free ones."""
        return self.state.axes[self.node.inputs[index]]

    @property
    def out_lengths(self) -> Lengths:
        return self.state.axes[self.node.outputs[0]]

    def same_first_axis(self) -> bool:
        """Does the output have as many rows as the first input, whatever the batch?"""
        axes, x, y = self.state.axes, self.node.inputs[0], self.node.outputs[0]
        pairs = [(t[x].shape[:1], t[y].shape[:1]) for t in (axes.first, axes.second)]
        return all(before == after for before, after in pairs)

    @property
    def rank(self) -> int:
        return len(self.lengths())

    # ------------------------------------------------------------ emission
    def emit(self, op: str, *inputs: str, **attrs: Any) -> str:
        return self.emit_many(op, 1, *inputs, **attrs)[0]

    def emit_many(self, op: str, outputs: int, *inputs: str, **attrs: Any) -> list[str]:
        name = self.node.name
        return self.builder.node(op, inputs, name, outputs, name=name, **attrs)

    def floats(self, *values: float) -> str:
        return self.builder.floats(*values, stem=f"{self.node.name}_value")

    def array(self, data: np.ndarray, what: str = "constant") -> str:
        return self.builder.array(np.asarray(data), f"{self.node.name}_{what}")

    def integers(self, *values: int) -> str:
        return self.builder.integers(values, f"{self.node.name}_integers")

    def activated(self, y: str) -> str:
        """The epilogue's activation, where quantization does not do it by saturating."""
        a = self.a
        if a.act == "none" or saturation_is_the_activation(self.node, self.codes):
            return y
        if a.act == "relu":
            return self.emit("Relu", y)
        if a.act == "clip":
            return self.emit("Clip", y, self.floats(a.act_min), self.floats(a.act_max))
        return self.emit("LeakyRelu", y, alpha=float(a.act_slope))

    def decline(self, reason: str) -> UnsupportedError:
        return UnsupportedError(f"node {self.node.name!r} ({self.node.op}): {reason}")
