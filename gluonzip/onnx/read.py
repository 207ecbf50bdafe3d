"""From an ONNX file to a graph."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gluonzip.errors import ConfigError, DataError, GluonzipError, UnsupportedError
from gluonzip.graph import Constant, Graph, Input, Node, TensorType, validate
from gluonzip.graph.types import node_types
from gluonzip.onnx.export import META
from gluonzip.onnx.folding import FOLDERS, fold
from gluonzip.onnx.load import Loaded, load
from gluonzip.onnx.package import onnx
from gluonzip.onnx.parse import READERS, OnnxNode
from gluonzip.onnx.parse.integer import dequantized_constant
from gluonzip.onnx.proto import BATCH, attribute, constant_value, fits, lengths

T = onnx.TensorProto


def read(path: str | os.PathLike, shapes: Mapping[str, Sequence[int]] | None = None) -> Graph:
    """The graph of an ONNX file, as traced: batch norms apart, quantizers as ``fake_quantize``.

    Inputs become float32; a first axis without a fixed length is free. ``shapes``: of inputs whose
    other axes have none. What depends on constants and shapes alone is computed. A file of this
    package gives back the graph it came from, its facts included; ``graph.meta["onnx"]`` has the
    producer, the opset and notes on what is not the same as in the file.

    Raises DataError (missing, malformed or oversized file, data outside its folder), ConfigError
    (shapes), UnsupportedError (lists every operator that has no row in the op table).
    """
    loaded = load(path)
    try:
        graph = _Reader(loaded, dict(shapes or {})).run()
        validate(graph)
    except UnsupportedError as error:
        raise UnsupportedError(f"{path}: {error}") from None
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    except GluonzipError as error:
        raise DataError(f"{path}: {error}") from None
    except (TypeError, AttributeError, UnicodeError) as error:  # names that are no text, say
        raise DataError(f"{path} is malformed: {error}") from None
    return graph


class _Reader:
    """Builds the graph; readers of operators see it as their ``Target``."""

    batch = BATCH

    def __init__(self, loaded: Loaded, shapes: dict[str, Sequence[int]]) -> None:
        self.loaded = loaded
        self.opset = loaded.opset
        self.proto = loaded.model.graph
        self.graph = Graph([], [], [], {}, name=self.proto.name or "network")
        self.types: dict[str, TensorType] = {}
        self.tensors: dict[str, str] = {}  # ONNX value -> tensor of the graph
        self.constants: dict[str, np.ndarray | Constant] = dict(loaded.constants)
        self.placed: dict[str, str] = {}  # ONNX constant -> constant of the graph
        self.weights: dict[tuple, str] = {}  # several nodes may read one
        self.steps: dict[str, Any] = {}  # ONNX value -> scale of the codes it holds
        self.notes: list[str] = []
        self.reads = Counter(name for node in self.proto.node for name in node.input)
        self.reads.update(value.name for value in self.proto.output)
        self.int4 = {t.name for t in self.proto.initializer if t.data_type in (T.INT4, T.UINT4)}
        self.taken: set[str] = set()
        self._inputs(shapes)

    # ------------------------------------------------------------ inputs
    def _inputs(self, shapes: dict[str, Sequence[int]]) -> None:
        values = [v for v in self.proto.input if v.name not in self.constants]
        unknown = sorted(set(shapes) - {v.name for v in values})
        if unknown:
            raise ConfigError(
                f"there is no input {', '.join(unknown)}; the inputs are "
                f"{', '.join(v.name for v in values)}"
            )
        traced = []
        for value in values:
            shape = lengths(value, shapes.get(value.name))
            self.graph.inputs.append(Input(value.name, shape))
            nominal = tuple(n or BATCH for n in shape)
            traced.append([n or 1 for n in shape])
            self.types[value.name] = TensorType(nominal)
            self.tensors[value.name] = value.name
            self.taken.add(value.name)
        self.graph.meta["input_shapes"] = traced

    # ------------------------------------------------------------ the walk
    def run(self) -> Graph:
        self._check_operators()
        for proto in self.proto.node:
            self._node(proto)
        self.graph.outputs = [self._output(value.name) for value in self.proto.output]
        self.graph.prune()
        self._meta()
        return self.graph

    def _check_operators(self) -> None:
        """Every operator that cannot be read, named at once."""
        bad: Counter[str] = Counter()
        for node in self.proto.node:
            known = node.op_type in READERS or node.op_type in FOLDERS
            known = known or node.op_type in ("Constant", "Shape", "Size")
            if node.domain not in ("", "ai.onnx"):
                bad[f"{node.domain}.{node.op_type}"] += 1
            elif not known:
                bad[node.op_type] += 1
        if bad:
            listed = ", ".join(f"{op} ({count})" for op, count in sorted(bad.items()))
            raise UnsupportedError(f"operators without a row in the op table: {listed}")

    def _node(self, proto: onnx.NodeProto) -> None:
        attrs = {a.name: attribute(a, self.loaded) for a in proto.attribute}
        n = OnnxNode(self, proto, attrs)
        for name in n.inputs:
            if name and name not in self.tensors and name not in self.constants:
                raise DataError(f"node {n.name!r} reads {name!r}, which nothing before it makes")
        if self._constant_node(n):
            return
        if n.op not in READERS:
            raise n.decline("it is read only where its inputs are constants")
        try:
            outputs = READERS[n.op](n)
        except (KeyError, IndexError, ValueError, TypeError, OverflowError) as error:
            if isinstance(error, GluonzipError):
                raise
            raise DataError(f"node {n.name!r} ({n.op}) is malformed: {error!r}") from None
        outputs = [outputs] if isinstance(outputs, str) else list(outputs)
        for name, tensor in zip(n.outputs, outputs, strict=False):
            self._define(name)
            self.tensors[name] = tensor

    def _define(self, name: str) -> None:
        if name in self.tensors or name in self.constants:
            raise DataError(f"value {name!r} is made twice")

    def _constant_node(self, n: OnnxNode) -> bool:
        """Nodes whose value is known: constants, shapes, and what depends on these alone."""
        if n.op == "Constant":
            results = [constant_value(n)]
        elif n.op in ("Shape", "Size"):
            shape = np.array(n.shape() if n.inputs[0] in self.tensors else n.constant(0).shape)
            part = shape[n.attrs.get("start", 0) : n.attrs.get("end")]
            results = [part.astype(np.int64) if n.op == "Shape" else np.array(shape.prod())]
        elif not n.inputs or any(name in self.tensors for name in n.inputs if name):
            return False
        elif n.op == "DequantizeLinear":
            codes = self.constants[n.inputs[0]]
            results = [dequantized_constant(n, codes)]
        elif n.op in FOLDERS:
            given = [n.constant(at) for at in range(len(n.inputs))]
            what = f"node {n.name!r} ({n.op})"
            results = fold(n.op, n.attrs, given, self.loaded.budget, what)
            self._keep_int4(n)
        else:
            return False
        for name, value in zip(n.outputs, results, strict=False):
            self._define(name)
            self.constants[name] = value
        return True

    def _keep_int4(self, n: OnnxNode) -> None:
        if n.op in ("Cast", "Reshape", "Transpose") and n.inputs[0] in self.int4:
            self.int4.update(n.outputs)

    def _output(self, name: str) -> str:
        if name not in self.tensors and name not in self.constants:
            raise DataError(f"output {name!r} is made by nothing")
        tensor = self.tensor(name)
        return self._renamed(tensor, name)

    def _renamed(self, tensor: str, name: str) -> str:
        """The output under its own name, where that is free."""
        node = self.producer(tensor)
        if tensor == name or name in self.taken:
            return tensor
        if node is None or tensor in self.graph.outputs or self._is_other_output(tensor, name):
            return self.add("identity", [tensor], name, 1, {})[0]
        self.graph.redirect(tensor, name)
        node.outputs = [name if out == tensor else out for out in node.outputs]
        self.types[name] = self.types[tensor]
        self.taken.add(name)
        self.tensors = {k: name if v == tensor else v for k, v in self.tensors.items()}
        return name

    def _is_other_output(self, tensor: str, name: str) -> bool:
        names = [v.name for v in self.proto.output if v.name != name]
        return any(self.tensors.get(other) == tensor for other in names)

    def _meta(self) -> None:
        facts = {p.key: p.value for p in self.loaded.model.metadata_props}
        for key, text in facts.items():
            if key.startswith(META):
                try:
                    self.graph.meta[key.removeprefix(META)] = json.loads(text)
                except ValueError:
                    self.note(f"metadata {key} is not JSON")
        count = len(self.graph.outputs)
        if not fits(self.graph.meta.get("outputs"), count):
            self.graph.meta["outputs"] = 0 if count == 1 else list(range(count))
        model = self.loaded.model
        producer = " ".join(filter(None, (model.producer_name, model.producer_version)))
        origin = {"producer": producer, "opset": self.opset, "notes": self.notes}
        self.graph.meta["onnx"] = origin

    # ------------------------------------------------------------ what readers call
    def add(self, op: str, inputs: list[str], name: str, outputs: int, attrs: dict) -> list[str]:
        name = self._fresh(name.replace("/", ".").strip("."))
        names = [name] if outputs == 1 else [self._fresh(f"{name}:{i}") for i in range(outputs)]
        node = Node(op, name, inputs, names, attrs)
        self.types.update(zip(names, node_types(node, self.types), strict=True))
        self.graph.nodes.append(node)
        return names

    def tensor(self, name: str) -> str:
        if name in self.tensors:
            return self.tensors[name]
        if name not in self.placed:
            value = self.constants[name]
            value = value.dense() if isinstance(value, Constant) else value
            self.placed[name] = self.new_constant(name, value)
        return self.placed[name]

    def constant(self, name: str) -> np.ndarray | Constant | None:
        return self.constants.get(name)

    def new_constant(self, stem: str, value: np.ndarray | Constant) -> str:
        if not isinstance(value, Constant):
            value = Constant(np.asarray(value, np.float32, order="C"))
        name = self._fresh(stem)
        self.graph.constants[name] = value
        self.types[name] = TensorType(value.data.shape, value.data.dtype.name)
        return name

    def shared(self, key: tuple, stem: str, value: Constant) -> str:
        if key not in self.weights:
            self.weights[key] = self.new_constant(stem, value)
        return self.weights[key]

    def shape(self, tensor: str) -> tuple[int, ...]:
        return self.types[tensor].shape

    def producer(self, tensor: str) -> Node | None:
        return next((n for n in reversed(self.graph.nodes) if tensor in n.outputs), None)

    def read_once(self, name: str) -> bool:
        return self.reads[name] == 1

    def is_int4(self, name: str) -> bool:
        return name in self.int4

    def note(self, text: str) -> None:
        self.notes.append(text)

    def _fresh(self, stem: str) -> str:
        name, count = stem, 0
        while name in self.taken:
            count += 1
            name = f"{stem}_{count}"
        self.taken.add(name)
        return name
