"""Tensors and operators of a TFLite model, and their bytes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gluonzip.passes.quantize.kinds import Codes
from gluonzip.tflite.package import flatbuffers, tflite

SCHEMA_VERSION = 3
ALIGNMENT = 16
UNSIGNED_ZERO = -128
"""Zero point of uint8 codes, which TFLite stores as int8: code - 128."""
_TYPES = {"float32": "FLOAT32", "int8": "INT8", "int32": "INT32"}


@dataclass(eq=False)
class Tensor:
    """``shape`` as stored; ``scale``: None, or of the codes: () or one for each index of ``axis``
    (``zero``: their zero point). ``data``: of a constant."""

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    scale: np.ndarray | None = None
    axis: int = 0
    data: np.ndarray | None = None
    zero: int = 0
    index: int = -1

    @property
    def codes(self) -> Codes | None:
        """What an activation holds; int8 - 128 stands for uint8."""
        return None if self.scale is None else Codes(float(self.scale), self.zero != 0)


@dataclass(eq=False)
class Operator:
    """``code``: a name of BuiltinOperator; ``options``: (table, fields), if it has any."""

    code: str
    inputs: list[Tensor | None]
    outputs: list[Tensor]
    options: tuple[str, dict[str, Any]] | None = None


@dataclass
class Model:
    """What a file holds; ``facts``: metadata, by name."""

    name: str
    description: str
    inputs: list[Tensor] = field(default_factory=list)
    outputs: list[Tensor] = field(default_factory=list)
    tensors: list[Tensor] = field(default_factory=list)
    operators: list[Operator] = field(default_factory=list)
    facts: dict[str, bytes] = field(default_factory=dict)

    def tensor(self, tensor: Tensor) -> Tensor:
        tensor.index = len(self.tensors)
        self.tensors.append(tensor)
        return tensor

    def serialize(self) -> bytes:
        """The file's bytes."""
        return _Serializer(self).run()


class _Serializer:
    """FlatBuffers are written from the leaves to the root."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.b = flatbuffers.Builder(1024)
        self.buffers: list[bytes] = [b""]

    def run(self) -> bytes:
        b, model = self.b, self.model
        codes = sorted({op.code for op in model.operators})
        graph = self._graph(codes)
        metadata = self._tables([self._metadata(k, v) for k, v in model.facts.items()])
        buffers = self._tables([self._buffer(data) for data in self.buffers])
        opcodes = self._tables([self._opcode(code) for code in codes])
        root = self._table(
            "Model",
            Version=SCHEMA_VERSION,
            OperatorCodes=opcodes,
            Subgraphs=self._tables([graph]),
            Description=b.CreateString(model.description),
            Buffers=buffers,
            Metadata=metadata,
        )
        b.Finish(root, b"TFL3")
        return bytes(b.Output())

    # ------------------------------------------------------------ tables
    def _table(self, name: str, **fields: Any) -> int:
        start = getattr(tflite, f"{name}Start")
        start(self.b)
        for key, value in fields.items():
            if value is not None:
                getattr(tflite, f"{name}Add{key}")(self.b, value)
        return getattr(tflite, f"{name}End")(self.b)

    def _tables(self, offsets: list[int]) -> int:
        self.b.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            self.b.PrependUOffsetTRelative(offset)
        return self.b.EndVector()

    def _numbers(self, values: Any, dtype: str) -> int:
        return self.b.CreateNumpyVector(np.asarray(values, dtype))

    def _buffer(self, data: bytes) -> int:
        if not data:
            return self._table("Buffer")
        b = self.b
        b.StartVector(1, len(data), ALIGNMENT)
        b.head = b.head - len(data)
        b.Bytes[b.head : b.head + len(data)] = data
        return self._table("Buffer", Data=b.EndVector())

    def _opcode(self, code: str) -> int:
        number = getattr(tflite.BuiltinOperator, code)
        old = min(number, tflite.BuiltinOperator.PLACEHOLDER_FOR_GREATER_OP_CODES)
        return self._table("OperatorCode", DeprecatedBuiltinCode=old, BuiltinCode=number, Version=1)

    def _metadata(self, key: str, value: bytes) -> int:
        name = self.b.CreateString(key)
        self.buffers.append(value)
        return self._table("Metadata", Name=name, Buffer=len(self.buffers) - 1)

    # ------------------------------------------------------------ the graph
    def _graph(self, codes: list[str]) -> int:
        model = self.model
        tensors = self._tables([self._tensor(t) for t in model.tensors])
        operators = self._tables([self._operator(op, codes) for op in model.operators])
        return self._table(
            "SubGraph",
            Tensors=tensors,
            Inputs=self._numbers([t.index for t in model.inputs], "int32"),
            Outputs=self._numbers([t.index for t in model.outputs], "int32"),
            Operators=operators,
            Name=self.b.CreateString(model.name),
        )

    def _tensor(self, t: Tensor) -> int:
        buffer = 0
        if t.data is not None:
            self.buffers.append(np.ascontiguousarray(t.data).tobytes())
            buffer = len(self.buffers) - 1
        quantization = self._quantization(t) if t.scale is not None else None
        shape = self._numbers(t.shape, "int32")
        name = self.b.CreateString(t.name)
        kind = getattr(tflite.TensorType, _TYPES[t.dtype])
        return self._table(
            "Tensor", Shape=shape, Type=kind, Buffer=buffer, Name=name, Quantization=quantization
        )

    def _quantization(self, t: Tensor) -> int:
        scale = np.atleast_1d(np.asarray(t.scale, np.float32))
        scales = self._numbers(scale, "float32")
        zeros = self._numbers(np.full(len(scale), t.zero), "int64")
        return self._table(
            "QuantizationParameters", Scale=scales, ZeroPoint=zeros, QuantizedDimension=t.axis
        )

    def _operator(self, op: Operator, codes: list[str]) -> int:
        inputs = self._numbers([-1 if t is None else t.index for t in op.inputs], "int32")
        outputs = self._numbers([t.index for t in op.outputs], "int32")
        options = kind = None
        if op.options is not None:
            table, fields = op.options
            vectors = {
                k: self._numbers(v, "int32") if isinstance(v, list) else v
                for k, v in fields.items()
            }
            options = self._table(table, **vectors)
            kind = getattr(tflite.BuiltinOptions, table)
        return self._table(
            "Operator",
            OpcodeIndex=codes.index(op.code),
            Inputs=inputs,
            Outputs=outputs,
            BuiltinOptionsType=kind,
            BuiltinOptions=options,
        )
