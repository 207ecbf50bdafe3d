"""Emitters register here: one function an operator, from a view of its node to TFLite tensors.

Tensors of four axes are stored channels last (N, H, W, C), all others as in the graph.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from gluonzip.errors import UnsupportedError
from gluonzip.graph import OPS, Constant, Graph, Node, TensorType
from gluonzip.passes.quantize.kinds import Codes
from gluonzip.tflite.flat import UNSIGNED_ZERO, Model, Operator, Tensor

EMITTERS: dict[str, Callable[[View], Tensor | Sequence[Tensor]]] = {}
TO_LAST, TO_FIRST = [0, 2, 3, 1], [0, 3, 1, 2]

NOT_EMITTED = {
    "opaque": "an operator that the op table lacks has no meaning here",
    "conv_transpose2d": "TFLite's has other padding; use ONNX for decoders",
    "batch_norm": "its parameters are computed",
    "erf": "TFLite has no error function",
    "peak": "it is for calibration",
    "fake_quantize_dynamic": "scales of the batch at hand: quantize with static ones",
}
"""Operators that cannot be exported, and why."""


def emitter(*ops: str) -> Callable:
    """Register a function from :class:`View` to the node's tensor (or tensors) for ``ops``."""

    def register(function: Callable) -> Callable:
        for op in ops:
            EMITTERS[op] = function
        return function

    return register


def stored(shape: Sequence[int]) -> tuple[int, ...]:
    """A shape of the graph as it is stored."""
    return tuple(shape[axis] for axis in TO_LAST) if len(shape) == 4 else tuple(shape)


def last(data: np.ndarray) -> np.ndarray:
    """An array of the graph as it is stored."""
    return np.ascontiguousarray(data.transpose(TO_LAST)) if data.ndim == 4 else data


def stored_axis(axis: int, rank: int) -> int:
    axis %= rank
    return TO_LAST.index(axis) if rank == 4 else axis


def codes_of(t: TensorType) -> Codes | None:
    """What a tensor of the graph holds; None for float32."""
    return Codes(t.scale, t.dtype == "uint8") if t.holds_codes else None


class State:
    """What is known while a graph is walked: the TFLite tensor of each tensor."""

    def __init__(self, graph: Graph, types: dict[str, TensorType], model: Model) -> None:
        self.graph, self.types, self.model = graph, types, model
        self.tensors: dict[str, Tensor] = {}
        self.converted: dict[tuple[int, str], Tensor] = {}
        self.constants: dict[tuple, Tensor] = {}

    def op(
        self,
        code: str,
        inputs: Sequence[Tensor | None],
        shape: Sequence[int],
        stem: str,
        codes: Codes | None = None,
        dtype: str = "float32",
        options: tuple[str, dict[str, Any]] | None = None,
    ) -> Tensor:
        """Append an operator of one output, which holds ``codes`` if they are given."""
        made = Tensor(f"{stem}/{code.lower()}", tuple(shape), "int8" if codes else dtype)
        if codes is not None:
            made.scale, made.zero = np.float32(codes.scale), UNSIGNED_ZERO * codes.unsigned
        self.model.tensor(made)
        self.model.operators.append(Operator(code, list(inputs), [made], options))
        return made

    def constant(self, data: np.ndarray, stem: str, **quantization: Any) -> Tensor:
        """A constant as it is given; small equal ones are stored once."""
        data = np.asarray(data)
        key = (data.dtype.str, data.shape, data.tobytes()) if data.size < 64 else (stem,)
        if quantization or key not in self.constants:
            t = Tensor(stem, data.shape, data.dtype.name, data=data, **quantization)
            self.constants[key] = self.model.tensor(t)
        return self.constants[key]

    def get(self, name: str) -> Tensor:
        """The tensor of an input or of a constant that is no weight."""
        if name not in self.tensors:
            data = self.graph.constants[name].dense().astype(np.float32)
            self.tensors[name] = self.constant(last(data), name)
        return self.tensors[name]

    def real(self, t: Tensor) -> Tensor:
        """``t`` in float32."""
        if t.dtype != "int8":
            return t
        key = (t.index, "real")
        if key not in self.converted:
            self.converted[key] = self.op("DEQUANTIZE", [t], t.shape, t.name)
        return self.converted[key]

    def codes(self, t: Tensor, codes: Codes) -> Tensor:
        """``t`` as such codes."""
        if t.codes == codes:
            return t
        key = (t.index, str(codes))
        if key not in self.converted:
            self.converted[key] = self.op("QUANTIZE", [t], t.shape, t.name, codes)
        return self.converted[key]


class View:
    """A node under emission."""

    def __init__(self, state: State, node: Node) -> None:
        self.state, self.node = state, node
        self.a: SimpleNamespace = OPS[node.op].fill(node.attrs, len(node.outputs))
        self.type = state.types[node.outputs[0]]

    # ------------------------------------------------------------ inputs
    def has(self, index: int) -> bool:
        return index < len(self.node.inputs) and bool(self.node.inputs[index])

    def tensor(self, index: int = 0) -> Tensor:
        return self.state.get(self.node.inputs[index])

    def real(self, index: int = 0) -> Tensor:
        return self.state.real(self.tensor(index))

    def constant(self, index: int) -> Constant | None:
        return self.state.graph.constants.get(self.node.inputs[index])

    def required(self, index: int) -> np.ndarray:
        constant = self.constant(index)
        if constant is None:
            raise self.decline(f"input {self.node.inputs[index]!r} is computed, not a constant")
        return constant.dense().astype(np.float32)

    def shape(self, index: int = 0) -> tuple[int, ...]:
        """In the graph's order."""
        return self.state.types[self.node.inputs[index]].shape

    @property
    def rank(self) -> int:
        return len(self.shape())

    @property
    def out_shape(self) -> tuple[int, ...]:
        """As stored."""
        return stored(self.type.shape)

    @property
    def out_codes(self) -> Codes | None:
        return codes_of(self.type)

    @property
    def integer(self) -> bool:
        """Do the first input and the output hold codes?"""
        return self.tensor().dtype == "int8" and self.out_codes is not None

    # ------------------------------------------------------------ emission
    def op(
        self, code: str, *inputs: Tensor | None, shape: Sequence[int] | None = None,
        codes: Codes | None = None, table: str = "", dtype: str = "float32", **fields: Any,
    ) -> Tensor:  # fmt: skip
        options = (f"{table}Options", fields) if table else None
        shape = self.out_shape if shape is None else shape
        return self.state.op(code, inputs, shape, self.node.name, codes, dtype, options)

    def floats(self, *values: float) -> Tensor:
        data = np.float32(values[0]) if len(values) == 1 else np.asarray(values, np.float32)
        return self.state.constant(data, f"{self.node.name}_value")

    def ints(self, *values: int) -> Tensor:
        return self.state.constant(np.asarray(values, np.int32), f"{self.node.name}_ints")

    def array(self, data: np.ndarray, what: str, **quantization: Any) -> Tensor:
        return self.state.constant(data, f"{self.node.name}_{what}", **quantization)

    def weight(self, data: np.ndarray, what: str, scale: np.ndarray, axis: int) -> Tensor:
        """int8 codes with positive scales."""
        scale = scale if scale.ndim else scale.reshape(1)
        return self.array(data, what, scale=scale, axis=axis if len(scale) > 1 else 0)

    def natural(self, t: Tensor) -> Tensor:
        """A tensor of four axes in the graph's order."""
        return self._permuted(t, TO_FIRST) if len(t.shape) == 4 else t

    def channels_last(self, t: Tensor) -> Tensor:
        return self._permuted(t, TO_LAST) if len(t.shape) == 4 else t

    def _permuted(self, t: Tensor, axes: list[int]) -> Tensor:
        shape = [t.shape[axis] for axis in axes]
        moved = [axis for axis in axes if t.shape[axis] != 1]
        if moved == sorted(moved):
            return self.reshaped(t, shape)
        return self.op("TRANSPOSE", t, self.ints(*axes), shape=shape, codes=t.codes)

    def reshaped(self, t: Tensor, shape: Sequence[int]) -> Tensor:
        return self.op("RESHAPE", t, self.ints(*shape), shape=shape, codes=t.codes)

    def decline(self, reason: str) -> UnsupportedError:
        return UnsupportedError(f"node {self.node.name!r} ({self.node.op}): {reason}")
