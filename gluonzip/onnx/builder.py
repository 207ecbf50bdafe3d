"""Nodes, initializers and names of an ONNX graph under construction."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from gluonzip.graph import Constant, Graph
from gluonzip.onnx.package import onnx
from gluonzip.onnx.storage import Notes, Storage, int4_tensor, without_zeros, worth_it
from gluonzip.passes.quantize.simulate import positive_scales

helper, numpy_helper, T = onnx.helper, onnx.numpy_helper, onnx.TensorProto
SCALE_SHIFT = "gluonzip: scale_shift"
ONLY_FOR_RUNTIMES = "gluonzip: rounding that the kernels of runtimes need"


class Builder:
    """Collects what a GraphProto needs; every name is handed out once."""

    def __init__(self, graph: Graph, storage: Storage) -> None:
        self.storage = storage
        self.notes = Notes()
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, onnx.TensorProto] = {}
        self._taken = {i.name for i in graph.inputs} | set(graph.constants)
        self._taken.update(name for node in graph.nodes for name in node.outputs)
        self._node_names: set[str] = set()
        self._shared: dict[tuple, str] = {}

    # ------------------------------------------------------------ names
    def fresh(self, stem: str) -> str:
        """A value name that nothing uses yet."""
        return _fresh(stem, self._taken)

    def node(
        self,
        op: str,
        inputs: Iterable[str],
        stem: str,
        outputs: int = 1,
        name: str | None = None,
        doc: str = "",
        **attrs: Any,
    ) -> list[str]:
        """Append a node called after ``name`` (default ``stem/op``); its output names."""
        made = [self.fresh(f"{stem}/{op}{f'_{i}' if i else ''}") for i in range(outputs)]
        node_name = _fresh(name or f"{stem}/{op}", self._node_names)
        attrs = {key: value for key, value in attrs.items() if value is not None}
        proto = helper.make_node(op, list(inputs), made, name=node_name, **attrs)
        if doc:
            proto.doc_string = doc
        self.nodes.append(proto)
        return made

    def rename(self, old: str, new: str, since: int) -> None:
        """Call a value ``new`` if a node from the ``since``-th on makes it; else copy it."""
        if not any(old in node.output for node in self.nodes[since:]):
            copied = self.node("Identity", [old], new, name=new)[0]
            return self.rename(copied, new, len(self.nodes) - 1)
        for node in self.nodes[since:]:
            for names in (node.input, node.output):
                for at, name in enumerate(names):
                    if name == old:
                        names[at] = new
        return None

    # ------------------------------------------------------------ constants
    def array(self, data: np.ndarray, stem: str) -> str:
        """A small constant (a scale, a shape); equal ones are stored once."""
        data = np.asarray(data)
        key = (data.dtype.str, data.shape, data.tobytes())
        if key not in self._shared:
            name = self.fresh(stem)
            self.initializers[name] = numpy_helper.from_array(data, name)
            self._shared[key] = name
        return self._shared[key]

    def floats(self, *values: float, stem: str) -> str:
        """A float32 scalar, or a vector of several."""
        data = np.float32(values[0]) if len(values) == 1 else np.asarray(values, np.float32)
        return self.array(data, stem)

    def integers(self, values: Iterable[int], stem: str) -> str:
        return self.array(np.asarray(list(values), np.int64), stem)

    def tensor(self, name: str, data: np.ndarray, bits: int = 32) -> str:
        """A weight or other constant of the graph as the storage options say; its value's name."""
        if name in self.initializers:
            return name
        if (name, "loaded") in self._shared:
            return self._shared[name, "loaded"]
        loaded = self._store(name, np.ascontiguousarray(data), bits)
        self._shared[name, "loaded"] = loaded
        return loaded

    def _store(self, name: str, data: np.ndarray, bits: int) -> str:
        zeros = data.size - int(np.count_nonzero(data)) if data.ndim > 1 else 0
        if self.storage.float16 and data.dtype == np.float32 and data.size > 1:
            with np.errstate(over="ignore"):
                half = data.astype(np.float16)
            if np.isfinite(half).all():
                stored = self._dense_or_sparse(f"{name}_f16", half, zeros)
                return self.node("Cast", [stored], name, to=T.FLOAT)[0]
        if self.storage.int4 and bits <= 4 and data.dtype == np.int8:
            stored = self.fresh(f"{name}_int4")
            self.initializers[stored] = int4_tensor(stored, data)
            self.notes.tensors[name] = "int4"
            return self.node("Cast", [stored], name, to=T.INT8)[0]
        return self._dense_or_sparse(name, data, zeros)

    def _dense_or_sparse(self, name: str, data: np.ndarray, zeros: int) -> str:
        if self.storage.sparse and zeros:
            packed = without_zeros(data)
            if worth_it(data, packed):
                self.notes.tensors[name] = f"sparse, {zeros / data.size:.0%} zeros"
                return self._scattered(name, data, packed)
        if 2 * zeros >= data.size > 1:
            self.notes.dense_zeros += zeros * data.itemsize
        name = name if name not in self.initializers else self.fresh(name)
        self._taken.add(name)
        self.initializers[name] = numpy_helper.from_array(data, name)
        return name

    def _scattered(self, name: str, data: np.ndarray, packed: Any) -> str:
        gaps = self.array(packed.gaps, f"{name}_gaps")
        values = self.array(packed.values, f"{name}_values")
        (steps,) = self.node("Cast", [gaps], name, to=T.INT64)
        axis = self.array(np.int64(0), "axis_0")
        (ends,) = self.node("CumSum", [steps, axis], name)
        (at,) = self.node("Sub", [ends, self.array(np.int64(1), "one")], name)
        kind = helper.np_dtype_to_tensor_dtype(data.dtype)
        empty = helper.make_tensor("zero", kind, [1], [0])
        size = self.integers([data.size], "size")
        (zeros,) = self.node("ConstantOfShape", [size], name, value=empty)
        (flat,) = self.node("ScatterElements", [zeros, at, values], name, axis=0)
        return self.node("Reshape", [flat, self.integers(data.shape, "shape")], name)[0]

    # ------------------------------------------------------------ integers
    def dequantized(self, name: str, constant: Constant, stem: str) -> str:
        """The real values of a quantized constant; its scales are made positive."""
        codes, scale = positive_scales(constant)
        value = self.tensor(name, codes, constant.bits)
        per_channel = scale.ndim > 0
        step = self.array(scale, f"{name}_scale")
        zero = self.array(np.zeros(scale.shape, np.int8), "zero_points" if per_channel else "zero")
        attrs = {"axis": constant.axis} if per_channel else {}
        return self.node("DequantizeLinear", [value, step, zero], stem, **attrs)[0]


def _fresh(stem: str, taken: set[str]) -> str:
    name, count = stem, 0
    while name in taken:
        count += 1
        name = f"{stem}_{count}"
    taken.add(name)
    return name
