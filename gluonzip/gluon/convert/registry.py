"""The registry of operator converters, and what a converter sees of an MXNet node."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from gluonzip.graph.ir import Node

CONVERTERS: dict[str, Callable[[MxNode], str | Sequence[str]]] = {}


def converter(*operators: str) -> Callable:
    """Register a function from :class:`MxNode` to its output tensor (or tensors) for ``operators``.

    A converter calls :meth:`MxNode.emit`; it raises :class:`Unconvertible` for a use that the op
    table cannot express, and the node becomes opaque.
    """

    def register(function: Callable) -> Callable:
        for operator in operators:
            assert operator not in CONVERTERS, operator
            CONVERTERS[operator] = function
        return function

    return register


class Unconvertible(Exception):  # noqa: N818 - a signal, not a failure
    """This use of an operator has no row in the op table; the message says what about it."""


def require(condition: bool, why: str = "") -> None:
    """Raise Unconvertible, saying ``why``, unless ``condition`` holds."""
    if not condition:
        raise Unconvertible(why)


class Attributes:
    """Typed reading of a node's attributes, which MXNet stores as strings."""

    def __init__(self, raw: Mapping[str, str]) -> None:
        self.raw = raw

    def value(self, key: str, default: Any = None) -> Any:
        """The attribute as a Python literal (never evaluated), a string when it is not one."""
        text = self.raw.get(key)
        if text is None:
            return default
        try:
            value = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            return text
        return default if value is None else value

    def text(self, key: str, default: str = "") -> str:
        return self.raw.get(key, default)

    def integer(self, key: str, default: int = 0) -> int:
        return int(self.value(key, default))

    def number(self, key: str, default: float = 0.0) -> float:
        return float(self.value(key, default))

    def flag(self, key: str, default: bool = False) -> bool:
        return bool(self.value(key, default))

    def integers(self, key: str, default: Sequence[int] = ()) -> list[int]:
        """A tuple attribute; a single number is a tuple of one."""
        value = self.value(key, default)
        return [int(v) for v in (value if isinstance(value, (tuple, list)) else (value,))]


class Emitter(Protocol):
    """What the tracer offers to converters. ``frames``: clip (N, C, T, H, W) -> its frames
    (N T, C, H, W)."""

    frames: dict[str, str]

    def add(self, op: str, inputs: list[str], name: str, outputs: int, attrs: dict) -> list[str]:
        """Append a node; the names of its outputs."""

    def constant(self, stem: str, data: np.ndarray) -> str:
        """A new constant's tensor name."""

    def value(self, tensor: str) -> np.ndarray | None:
        """A constant's value; None for other tensors."""

    def producer(self, tensor: str) -> Node | None:
        """The node that makes a tensor; None for constants and inputs."""

    def note(self, kind: str, tensor: str, value: Any) -> None:
        """A fact about a tensor that inference does not need, for ``graph.meta[kind][tensor]``."""


class MxNode:
    """An MXNet node under conversion: its inputs are tensors of the graph being built."""

    def __init__(
        self,
        emitter: Emitter,
        operator: str,
        name: str,
        inputs: list[str],
        attrs: Mapping[str, str],
        input_shapes: list[tuple[int, ...] | None],
        output_shape: tuple[int, ...] | None,
        outputs: int,
    ) -> None:
        self.emitter = emitter
        self.operator = operator
        self.name = name
        self.inputs = inputs
        self.attrs = Attributes(attrs)
        self.input_shapes = input_shapes
        self.output_shape = output_shape
        self.outputs = outputs

    @property
    def x(self) -> str:
        """The first input."""
        return self.inputs[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """The first input's shape for the traced input shapes; Unconvertible if unknown."""
        return self.shape_of(0)

    @property
    def rank(self) -> int:
        return len(self.shape)

    def shape_of(self, index: int) -> tuple[int, ...]:
        shape = self.input_shapes[index]
        require(shape is not None, "a shape that it depends on is unknown")
        return shape

    def emit(self, op: str, *inputs: str, suffix: str = "", **attrs: Any) -> str:
        """Append a node of one output; its tensor. ``suffix`` tells helper nodes apart."""
        return self.emit_many(op, 1, *inputs, suffix=suffix, **attrs)[0]

    def emit_many(
        self, op: str, outputs: int, *inputs: str, suffix: str = "", **attrs: Any
    ) -> list[str]:
        name = f"{self.name}.{suffix}" if suffix else self.name
        return self.emitter.add(op, list(inputs), name, outputs, attrs)

    def axis(self, key: str, default: int) -> int:
        """A single axis attribute."""
        return self.attrs.integer(key, default)

    def axes(self, key: str = "axis") -> list[int]:
        """The axes that a reduction runs over; [] means all. ``exclude`` is resolved."""
        axes = self.attrs.integers(key)
        if not self.attrs.flag("exclude"):
            return axes
        kept = {axis % self.rank for axis in axes}
        return [axis for axis in range(self.rank) if axis not in kept]
