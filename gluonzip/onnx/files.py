"""Models to files that are there whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from gluonzip.errors import DataError
from gluonzip.files import replace_file, temporary
from gluonzip.onnx.package import onnx

LIMIT = 2**31 - 2**20
"""Bytes beyond which a protobuf cannot be written: the weights then go to a file beside it."""
SMALL = 1024
"""Tensors of fewer bytes stay in the model, whatever its size."""


def save(model: onnx.ModelProto, path: str | os.PathLike, limit: int = LIMIT) -> list[Path]:
    """Write ``model`` to ``path``; weights go to ``path + ".data"`` if the file would exceed
    ``limit`` bytes. Returns the files written. DataError names a path that cannot be written."""
    path = Path(path)
    written = [path]
    try:
        if sum(len(t.raw_data) for t in model.graph.initializer) >= limit:
            data = path.with_name(path.name + ".data")
            model = _external(model, data)
            written.append(data)
        replace_file(path, model.SerializeToString())
    except OSError as error:
        raise DataError(f"{str(path)!r} cannot be written: {error.strerror}") from error
    return written


def _external(model: onnx.ModelProto, data: Path) -> onnx.ModelProto:
    """A copy of ``model`` that refers to ``data``, which is written."""
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    with temporary(data) as file:
        for tensor in copied.graph.initializer:
            raw = tensor.raw_data
            if len(raw) < SMALL:
                continue
            offset = file.tell()
            file.write(raw)
            tensor.ClearField("raw_data")
            tensor.data_location = onnx.TensorProto.EXTERNAL
            for key, value in (("location", data.name), ("offset", offset), ("length", len(raw))):
                tensor.external_data.add(key=key, value=str(value))
    return copied
