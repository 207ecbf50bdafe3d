"""Readers register here: one function an ONNX operator, from a view of its node to a tensor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from gluonzip.errors import UnsupportedError
from gluonzip.graph import Constant, Graph, Node
from gluonzip.onnx.package import onnx

READERS: dict[str, Callable[[OnnxNode], str | Sequence[str]]] = {}


def reader(*ops: str) -> Callable:
    """Register a function from :class:`OnnxNode` to its output tensor (or tensors) for ``ops``."""

    def register(function: Callable) -> Callable:
        for op in ops:
            assert op not in READERS, op
            READERS[op] = function
        return function

    return register


class Target(Protocol):
    """The graph under construction, as readers see it."""

    def add(self, op: str, inputs: list[str], name: str, outputs: int, attrs: dict) -> list[str]:
        """Append a node; the names of its outputs."""

    def tensor(self, name: str) -> str:
        """The graph's tensor for an ONNX value."""

    def constant(self, name: str) -> np.ndarray | Constant | None:
        """The value of an ONNX constant; None for other values."""

    def shape(self, tensor: str) -> tuple[int, ...]:
        """Of a tensor of the graph; the free batch is ``batch``."""

    def new_constant(self, stem: str, value: np.ndarray | Constant) -> str:
        """A constant of the graph; the name of its tensor."""

    def shared(self, key: tuple, stem: str, value: Constant) -> str:
        """As ``new_constant``, once for each key."""

    def producer(self, tensor: str) -> Node | None:
        """The node of the graph that makes a tensor."""

    def read_once(self, name: str) -> bool:
        """Is an ONNX value read by one node and no output?"""

    def note(self, text: str) -> None:
        """Something that is not the same as in the file, for the user."""

    opset: int
    batch: int
    steps: dict[str, Any]
    graph: Graph

    def is_int4(self, name: str) -> bool:
        """Does an ONNX constant hold 4-bit integers?"""


class OnnxNode:
    """An ONNX node under conversion."""

    def __init__(self, target: Target, proto: onnx.NodeProto, attrs: dict[str, Any]) -> None:
        self.target = target
        self.op = proto.op_type
        self.inputs = list(proto.input)
        self.outputs = list(proto.output)
        self.doc = proto.doc_string
        self.attrs = attrs
        self.name = proto.name or (self.outputs[0] if self.outputs else self.op)

    # ------------------------------------------------------------ inputs
    def has(self, index: int) -> bool:
        return index < len(self.inputs) and bool(self.inputs[index])

    @property
    def x(self) -> str:
        return self.tensor(0)

    def tensor(self, index: int) -> str:
        """The graph's tensor of an input."""
        return self.target.tensor(self.inputs[index])

    def constant(self, index: int) -> np.ndarray | None:
        """Real values of a constant input; None for another or an absent one."""
        if not self.has(index):
            return None
        value = self.target.constant(self.inputs[index])
        return value.dense() if isinstance(value, Constant) else value

    def weight(self, index: int) -> Constant | None:
        """A constant input as a constant of the graph, quantized ones included."""
        value = self.target.constant(self.inputs[index]) if self.has(index) else None
        if value is None or isinstance(value, Constant):
            return value
        return Constant(value.astype(np.float32))

    def required(self, index: int, what: str) -> np.ndarray:
        value = self.constant(index)
        if value is None:
            raise self.decline(f"its {what} is computed; only constants are read")
        return value

    def integers(self, index: int, key: str, default: Any = None) -> list[int] | Any:
        """A list that newer opsets take as an input and older ones as an attribute."""
        if self.has(index):
            return [int(n) for n in self.required(index, key).reshape(-1)]
        return self.attrs.get(key, default)

    def shape(self, index: int = 0) -> tuple[int, ...]:
        value = self.target.constant(self.inputs[index])
        if value is None:
            return self.target.shape(self.tensor(index))
        return (value.data if isinstance(value, Constant) else value).shape

    @property
    def rank(self) -> int:
        return len(self.shape())

    def axis(self, default: int) -> int:
        return int(self.attrs.get("axis", default)) % max(self.rank, 1)

    # ------------------------------------------------------------ results
    def emit(self, op: str, *inputs: str, suffix: str = "", **attrs: Any) -> str:
        return self.emit_many(op, 1, *inputs, suffix=suffix, **attrs)[0]

    def emit_many(
        self, op: str, outputs: int, *inputs: str, suffix: str = "", **attrs: Any
    ) -> list[str]:
        name = f"{self.name}.{suffix}" if suffix else self.name
        return self.target.add(op, list(inputs), name, outputs, attrs)

    def new(self, what: str, value: np.ndarray | Constant) -> str:
        return self.target.new_constant(f"{self.name}.{what}", value)

    def decline(self, reason: str) -> UnsupportedError:
        return UnsupportedError(f"node {self.name!r} ({self.op}): {reason}")
