"""Files: whole or not at all, every byte accounted for, clear refusals."""

import os
import stat

import numpy as np
import pytest

from gluonzip import archive
from gluonzip.archive import layout
from gluonzip.errors import ArchiveError, GraphError
from gluonzip.graph.ir import Constant, Graph, Input, Node


def small(**changes) -> Graph:
    parts = {
        "inputs": [Input("x", (0, 3))],
        "outputs": ["y"],
        "nodes": [Node("dense", "fc", ["x", "w"], ["y"])],
        "constants": {"w": Constant(np.ones((2, 3), np.float32))},
    }
    return Graph(**(parts | changes))


def lenet() -> Graph:
    """The shape of a compressed LeNet-5, as it is traced and fused (431,080 parameters)."""
    rng = np.random.default_rng(0)
    graph = Graph([Input("data", (0, 1, 28, 28))], [], [], {}, "lenet")
    graph.nodes.append(Node("quantize", "data_q", ["data"], ["data_q"], {"scale": 0.0078125}))

    def weighted(op, name, shape, density, **attrs):
        codes = rng.integers(-15, 16, shape) * (rng.random(shape) < density)
        scale = np.float32(rng.random()).reshape(())
        graph.constants[f"{name}_weight"] = Constant(codes.astype(np.int8), scale, 0, 5)
        graph.constants[f"{name}_bias"] = Constant(rng.random(shape[0]).astype(np.float32))
        add(op, name, [f"{name}_weight", f"{name}_bias"], attrs)

    def add(op, name, constants, attrs):
        before = graph.nodes[-1].output
        graph.nodes.append(Node(op, f"{name}_fwd", [before, *constants], [f"{name}_fwd"], attrs))

    inner = {"act": "relu", "out_scale": 0.1}
    pool = {"kernel": [2, 2], "stride": [2, 2]}
    weighted("conv2d", "lenet0_conv0", (20, 1, 5, 5), 0.5, **inner)
    add("max_pool", "lenet0_pool0", [], pool)
    weighted("conv2d", "lenet0_conv1", (50, 20, 5, 5), 0.1, **inner)
    add("max_pool", "lenet0_pool1", [], pool)
    weighted("dense", "lenet0_dense0", (500, 800), 0.02, **inner)
    weighted("dense", "lenet0_dense1", (10, 500), 0.1)
    graph.outputs = [graph.nodes[-1].output]
    return graph


def test_every_byte_is_counted(tmp_path):
    path = tmp_path / "lenet.glz"
    info = archive.write(path, lenet(), {"note": "x" * 100})
    assert info == archive.inspect(path)
    assert info.bytes == path.stat().st_size
    assert info.bytes == info.header + info.index + info.payload + info.meta
    first = info.sections[0]
    assert (first.name, first.dtype, first.shape) == ("lenet0_conv0_weight", "int8", (20, 1, 5, 5))
    assert (first.elements, first.bits, first.quantized) == (500, 5, True)
    codes = lenet().constants["lenet0_conv0_weight"].data
    assert first.nonzeros == np.count_nonzero(codes)
    assert first.sparsity == 1 - np.count_nonzero(codes) / 500


def test_the_index_of_lenet_is_small():
    info = archive.inspect(archive.to_bytes(lenet()))
    assert info.header + info.index < 500


def test_the_same_graph_gives_the_same_bytes():
    assert archive.to_bytes(lenet()) == archive.to_bytes(lenet())


def test_an_existing_file_is_replaced(tmp_path):
    path = tmp_path / "a.glz"
    path.write_text("old")
    archive.write(path, small())
    assert archive.read(path).constants["w"].data.shape == (2, 3)
    assert os.listdir(tmp_path) == ["a.glz"]
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask


def test_an_error_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.glz"
    path.write_text("old")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ArchiveError, match=r"a\.glz: cannot be written: No space left on device"):
        archive.write(path, small())
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.glz"]


def test_unwritable_path_is_named(tmp_path):
    with pytest.raises(ArchiveError, match=r"gone/a\.glz: cannot be written: No such file"):
        archive.write(tmp_path / "gone" / "a.glz", small())
    (tmp_path / "folder.glz").mkdir()
    with pytest.raises(ArchiveError, match=r"folder\.glz: cannot be written: Is a directory"):
        archive.write(tmp_path / "folder.glz", small())
    assert os.listdir(tmp_path) == ["folder.glz"]


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        (
            {"constants": {"w": Constant(np.ones((2, 3), np.float64))}},
            ArchiveError,
            "tensor 'w': dtype float64 has no place in an archive; cast it to one of float32",
        ),
        (
            {"inputs": [Input("x", (0, 3), "uint8")]},
            ArchiveError,
            "input 'x': dtype uint8 has no place in an archive",
        ),
        (
            {"nodes": [Node("dense", "fc", ["x", "v"], ["y"])]},
            GraphError,
            "node 'fc' reads tensor 'v' which nothing defines",
        ),
        (
            {"constants": {"w": Constant(np.full((2, 3), np.nan, np.float32))}},
            GraphError,
            "'w' holds 6 non-finite values",
        ),
        ({"meta": {"net": object()}}, ArchiveError, "meta cannot be written as JSON: a object"),
        ({"meta": {"loss": float("nan")}}, ArchiveError, "meta cannot be written as JSON"),
        ({"meta": {"a": "x" * (2**26 + 1)}}, ArchiveError, "meta takes 67108873 bytes, the limit"),
        (
            {"name": "n" * 5000},
            ArchiveError,
            "a name of 5000 bytes is longer than the limit",
        ),
    ],
)
def test_what_an_archive_cannot_hold(changes, kind, message):
    with pytest.raises(kind, match=message):
        archive.to_bytes(small(**changes))


def test_an_attribute_that_no_archive_holds():
    node = Node("opaque", "o", ["x"], ["y"], {"operator": "f", "attrs": {"a": 1}})
    with pytest.raises(ArchiveError, match=r"node 'o': attribute 'attrs' is \{'a': 1\}"):
        archive.to_bytes(small(nodes=[node]))


def test_what_readers_would_take_for_a_bomb(monkeypatch):
    monkeypatch.setattr(layout, "max_decoded_bytes", lambda file_bytes: 23)
    with pytest.raises(ArchiveError, match="the tensors would take 24 bytes of memory, the limit"):
        archive.to_bytes(small())
