"""Archives made by hand, and the two readers side by side."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest

from gluonzip import _core, archive
from gluonzip.archive.layout import MAGIC
from gluonzip.archive.msgpack import pack
from gluonzip.errors import ArchiveError
from gluonzip.graph.ir import Graph


class Forge:
    """An archive as editable parts; ``bytes()`` seals it with correct sizes and checksums."""

    def __init__(self) -> None:
        self.version, self.flags = 1, 0
        self.strings: list = []
        self.inputs = [["x", [0, 2], "f32"]]
        self.outputs = ["y"]
        self.nodes = [["dense", "fc", ["x", "w"], ["y"], {"flatten": False}]]
        self.sections = [struct.pack("<4f", 1, 0, 0, 2)]
        self.tensors = [["w", [2, 2], "f32", 16, None, "raw"]]
        self.meta: list | None = None
        self.members: list | None = None
        self.after_index = self.after_file = b""

    def tensor(self, shape, kind, section: bytes, *encoding) -> None:
        """Replace the only tensor."""
        self.tensors = [["w", shape, kind, len(section), None, *encoding]]
        self.sections = [section]

    def with_meta(self, text: bytes, size: int | None = None) -> None:
        deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
        section = deflate.compress(text) + deflate.flush()
        size = len(text) if size is None else size
        self.meta = [len(section), size, zlib.crc32(section)]
        self.sections.append(section)

    def index(self) -> bytes:
        for entry, section in zip(self.tensors, self.sections, strict=False):
            if len(entry) > 4 and entry[4] is None:
                entry[4] = zlib.crc32(section)
        graph = ["g", self.inputs, self.outputs, self.nodes]
        items = [self.strings, graph, self.tensors, self.meta]
        if self.members is not None:
            items[1] = [graph] * len(self.members)
            items.append(self.members)
        return pack(items) + self.after_index

    def bytes(self) -> bytes:
        return self.seal(self.index())

    def seal(self, index: bytes) -> bytes:
        head = struct.pack(
            "<8sIIQI", MAGIC, self.version, self.flags, len(index), zlib.crc32(index)
        )
        head += struct.pack("<I", zlib.crc32(head))
        return b"".join([head, index, *self.sections, self.after_file])


@pytest.fixture
def forge() -> Forge:
    return Forge()


@pytest.fixture(scope="session")
def refused():
    """Both readers refuse the bytes with the same message, which is returned."""

    def check(data: bytes, member: str | None = None, error: type = ArchiveError) -> str:
        with pytest.raises(error) as python:
            archive.read(data, member)
        with pytest.raises(error) as core:
            _core.read_archive(data, member=member)
        assert str(python.value) == str(core.value)
        return str(python.value)

    return check


def assert_same(graph: Graph, model: dict) -> None:
    """The Python reader's graph and the C++ reader's model hold the same."""
    assert model["name"] == graph.name
    assert model["outputs"] == graph.outputs
    assert model["inputs"] == [
        {"name": i.name, "shape": i.shape, "dtype": i.dtype} for i in graph.inputs
    ]
    assert model["nodes"] == [
        {"op": n.op, "name": n.name, "inputs": n.inputs, "outputs": n.outputs, "attrs": n.attrs}
        for n in graph.nodes
    ]
    assert set(model["tensors"]) == set(graph.constants)
    for name, constant in graph.constants.items():
        assert_same_tensor(constant, model["tensors"][name])


def assert_same_tensor(constant, tensor: dict) -> None:
    data = constant.data
    if data.dtype == np.float16:
        data = data.astype(np.float32)
    assert tensor["data"].dtype == data.dtype
    assert tensor["data"].shape == data.shape
    assert tensor["data"].tobytes() == data.tobytes()
    scale = [] if constant.scale is None else constant.scale.ravel().tolist()
    assert tensor["scale"] == scale
    if constant.quantized:
        assert (tensor["axis"], tensor["bits"]) == (constant.axis, constant.bits)


@pytest.fixture(scope="session")
def read_both():
    """Reads bytes with both readers, asserts that they agree, returns the graph."""

    def read(data: bytes, member: str | None = None) -> Graph:
        graph = archive.read(data, member)
        assert_same(graph, _core.read_archive(data, member=member))
        return graph

    return read
