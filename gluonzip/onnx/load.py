"""ONNX files from anyone: parsed and checked before anything of their size is allocated."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

import numpy as np

from gluonzip.errors import DataError, UnsupportedError
from gluonzip.onnx.package import onnx

T = onnx.TensorProto
LARGEST_FILE = 2**31 - 1
OPSETS = range(7, 25)
"""Opsets whose operators the readers know."""
_FLAT = {
    T.FLOAT: "float_data", T.DOUBLE: "double_data", T.INT64: "int64_data", T.INT32: "int32_data",
    T.INT8: "int32_data", T.UINT8: "int32_data", T.INT16: "int32_data", T.UINT16: "int32_data",
    T.BOOL: "int32_data", T.FLOAT16: "int32_data", T.UINT32: "uint64_data", T.UINT64: "uint64_data",
}  # fmt: skip
_HALF_BYTES = (T.INT4, T.UINT4)


@dataclass
class Budget:
    """Bytes that constants of a file may take in memory: a fixed allowance and a multiple of what
    the file itself holds, so that a small file cannot ask for much."""

    left: int

    @classmethod
    def of_file(cls, size: int) -> Budget:
        return cls(2**26 + 64 * size)

    def take(self, nbytes: int, what: str) -> None:
        self.left -= nbytes
        if self.left < 0:
            raise DataError(f"{what} needs more memory than a file of this size may ask for")


@dataclass
class Loaded:
    """A parsed model, its constants by name, and the budget that is left for folding."""

    model: onnx.ModelProto
    path: Path
    budget: Budget
    opset: int = 0
    constants: dict[str, np.ndarray] = field(default_factory=dict)

    def array(self, tensor: onnx.TensorProto, what: str) -> np.ndarray:
        return _array(tensor, what, self.path.parent, self.budget)


def load(path: str | os.PathLike) -> Loaded:
    """The model at ``path`` with its initializers as arrays. DataError for a file that is missing,
    oversized, malformed or refers to data outside its folder; UnsupportedError for an opset that
    is too old or too new."""
    path = Path(path)
    model, size = _parse(path)
    loaded = Loaded(model, path, Budget.of_file(size))
    loaded.opset = _opset(model, path)
    try:
        for tensor in model.graph.initializer:
            loaded.constants[tensor.name] = loaded.array(tensor, f"initializer {tensor.name!r}")
        for sparse in model.graph.sparse_initializer:
            name = sparse.values.name
            loaded.constants[name] = _dense(sparse, loaded, f"sparse initializer {name!r}")
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    return loaded


def _parse(path: Path) -> tuple[onnx.ModelProto, int]:
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise DataError(f"{path} is not a file")
        if size > LARGEST_FILE:
            raise DataError(f"{path} has {size:,} bytes; an ONNX file has at most {LARGEST_FILE:,}")
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except Exception as error:  # protobuf's own classes differ from version to version
        raise DataError(f"{path} is not an ONNX model: {error}") from None
    if not model.graph.node and not model.graph.output:
        raise DataError(f"{path} is not an ONNX model: it has no graph")
    # External data that exists counts as the file's own size.
    outside = {_location(t) for t in model.graph.initializer if t.data_location == T.EXTERNAL}
    for location in outside - {None}:
        beside = path.parent / location
        size += beside.stat().st_size if beside.is_file() else 0
    return model, size


def _location(tensor: onnx.TensorProto) -> str | None:
    return next((entry.value for entry in tensor.external_data if entry.key == "location"), None)


def _opset(model: onnx.ModelProto, path: Path) -> int:
    versions = {entry.domain: entry.version for entry in model.opset_import}
    opset = versions.get("", versions.get("ai.onnx", 0))
    if opset not in OPSETS:
        raise UnsupportedError(
            f"{path} uses opset {opset}; this reader knows {OPSETS[0]} to {OPSETS[-1]} (convert it "
            "with onnx.version_converter)"
        )
    return opset


# ---------------------------------------------------------------- tensors
def _array(tensor: onnx.TensorProto, what: str, folder: Path, budget: Budget) -> np.ndarray:
    shape = tuple(tensor.dims)
    if any(n < 0 for n in shape) or len(shape) > 32:
        raise DataError(f"{what} has the impossible shape {shape}")
    kind = tensor.data_type
    if kind not in _FLAT and kind not in (*_HALF_BYTES, T.BFLOAT16):
        raise DataError(f"{what} is of type {_type_name(kind)}, which no operator here takes")
    count = prod(shape)
    nbytes = -(-count // 2) if kind in _HALF_BYTES else count * _itemsize(kind)
    budget.take(count if kind in _HALF_BYTES else nbytes, f"{what} of shape {shape}")
    raw = _external(tensor, what, folder, nbytes) or tensor.raw_data
    if raw or (not count and not tensor.HasField("raw_data")):
        if len(raw) != nbytes:
            raise DataError(f"{what} of shape {shape} has {len(raw)} bytes instead of {nbytes}")
        return _from_raw(raw, kind, shape)
    if kind not in _FLAT:
        raise DataError(f"{what} has no raw data")
    values = getattr(tensor, _FLAT[kind])
    if len(values) != count:
        raise DataError(f"{what} of shape {shape} has {len(values)} values instead of {count}")
    if kind == T.FLOAT16:
        return np.array(values, np.uint16).view(np.float16).reshape(shape)
    return np.array(values).astype(_numpy(kind)).reshape(shape)


def _type_name(kind: int) -> str:
    return T.DataType.Name(kind) if kind in T.DataType.values() else f"number {kind}"


def _numpy(kind: int) -> np.dtype:
    return np.dtype(onnx.helper.tensor_dtype_to_np_dtype(kind))


def _itemsize(kind: int) -> int:
    return 2 if kind == T.BFLOAT16 else _numpy(kind).itemsize


def _from_raw(raw: bytes, kind: int, shape: tuple[int, ...]) -> np.ndarray:
    if kind == T.BFLOAT16:
        high = np.frombuffer(raw, "<u2").astype(np.uint32) << 16
        return high.view(np.float32).reshape(shape)
    if kind in _HALF_BYTES:
        packed = np.frombuffer(raw, np.uint8)
        codes = np.stack([packed & 15, packed >> 4], axis=-1).reshape(-1)[: prod(shape)]
        if kind == T.INT4:
            codes = codes.astype(np.int8)
            codes[codes > 7] -= 16
        return codes.reshape(shape)
    return np.frombuffer(raw, _numpy(kind).newbyteorder("<")).astype(_numpy(kind)).reshape(shape)


def _external(tensor: onnx.TensorProto, what: str, folder: Path, nbytes: int) -> bytes:
    """Bytes of a tensor in another file, which must lie in the model's own folder."""
    if tensor.data_location != T.EXTERNAL:
        return b""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    path = folder / location
    inside = path.resolve().parent.is_relative_to(folder.resolve())
    if not location or os.path.isabs(location) or ".." in Path(location).parts or not inside:
        raise DataError(f"{what} refers to {location!r}, which is outside the model's folder")
    try:
        offset, length = int(entries.get("offset", 0)), int(entries.get("length", nbytes))
    except ValueError:
        raise DataError(f"{what} has an external offset or length that is no number") from None
    if not path.is_file() or path.is_symlink():
        raise DataError(f"{what} refers to {location!r}, which is not a file")
    size = path.stat().st_size
    if offset < 0 or length != nbytes or offset + length > size:
        raise DataError(
            f"{what} wants bytes {offset} to {offset + length} of {location!r}, which has {size}; "
            f"its shape needs {nbytes}"
        )
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(length)


def _dense(sparse: onnx.SparseTensorProto, loaded: Loaded, what: str) -> np.ndarray:
    shape = tuple(sparse.dims)
    if any(n <= 0 for n in shape):
        raise DataError(f"{what} has the impossible shape {shape}")
    values = loaded.array(sparse.values, what).reshape(-1)
    places = loaded.array(sparse.indices, f"the indices of {what}")
    loaded.budget.take(prod(shape) * values.dtype.itemsize, f"{what} of shape {shape}")
    good = places.dtype == np.int64 and places.ndim in (1, 2) and len(places) == len(values)
    if good and places.ndim == 2:
        good = places.shape[1] == len(shape) and (places >= 0).all() and (places < shape).all()
        places = np.ravel_multi_index(tuple(places.T), shape) if good else places
    if not good or (len(places) and not (places.min() >= 0 and places.max() < prod(shape))):
        raise DataError(f"{what} of shape {shape} has indices outside it")
    data = np.zeros(prod(shape), values.dtype)
    data[places] = values
    return data.reshape(shape)
