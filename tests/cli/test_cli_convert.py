"""gluonzip export and import."""

import numpy as np
import pytest

from gluonzip import archive
from gluonzip.graph import Constant, Graph, Input, Node, interpret


def saved(tmp_path, name, array):
    np.save(tmp_path / name, array)
    return tmp_path / name


def test_onnx_is_verified_on_random_and_given_inputs(cli, dense_archive, tmp_path):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    path, *_ = dense_archive
    x = saved(tmp_path, "x.npy", np.ones((3, 5), np.float32))
    done = cli("export", path, "--to", "onnx", "--input", x, "--debug")
    assert done.exit_code == 0, done.output
    size = (tmp_path / "tiny.onnx").stat().st_size
    assert f"Written {tmp_path}/tiny.onnx: {size:,} bytes" in done.stdout
    assert "random inputs: onnxruntime: largest difference" in done.stdout
    assert "given inputs: onnxruntime: largest difference" in done.stdout
    done = cli("export", path, "--to", "onnx", "--no-verify", "-o", tmp_path / "b.onnx")
    assert "difference" not in done.stdout
    assert (tmp_path / "b.onnx").read_bytes() == (tmp_path / "tiny.onnx").read_bytes()


def test_there_and_back(cli, dense_archive, tmp_path):
    pytest.importorskip("onnx")
    path, *_ = dense_archive
    assert cli("export", path, "--to", "onnx", "--no-verify").exit_code == 0
    done = cli("import", tmp_path / "tiny.onnx", "-o", tmp_path / "again.glz")
    assert done.exit_code == 0, done.output
    x = np.ones((2, 5), np.float32)
    graph, again = archive.read(path), archive.read(tmp_path / "again.glz")
    assert again.meta["origin"] == {"by": "a test"}
    np.testing.assert_array_equal(interpret(graph, x)[0], interpret(again, x)[0])


def test_mxnet_files(cli, dense_archive, tmp_path):
    pytest.importorskip("mxnet")
    path, *_ = dense_archive
    done = cli("export", path, "--to", "mxnet", "-o", tmp_path / "net", "--debug")
    assert done.exit_code == 0, done.output
    assert "random inputs: mxnet: largest difference" in done.stdout
    assert (tmp_path / "net-0000.params").exists()
    symbol = tmp_path / "net-symbol.json"
    done = cli("export", symbol, "--shape", "1x5", "--to", "mxnet", "-o", tmp_path / "two")
    assert done.exit_code == 0, done.output


def test_pruned_weights_are_mentioned(cli, tmp_path):
    pytest.importorskip("onnx")
    weight = np.zeros((100, 100), np.float32)
    weight[3, ::7] = 1
    graph = Graph([Input("x", (0, 100))], ["y"], [Node("dense", "fc", ["x", "w"], ["y"])], {})
    graph.constants["w"] = Constant(weight)
    archive.write(tmp_path / "p.glz", graph)
    done = cli("export", tmp_path / "p.glz", "--to", "onnx", "--no-verify")
    assert "39,940 bytes of it are pruned weights stored as zeros; --sparse" in done.stdout
    dense = (tmp_path / "p.onnx").stat().st_size
    done = cli("export", tmp_path / "p.glz", "--to", "onnx", "--sparse")
    assert "stored as zeros" not in done.stdout
    assert (tmp_path / "p.onnx").stat().st_size < dense / 10


def opaque(tmp_path):
    node = Node("opaque", "boxes", ["x"], ["y"], {"operator": "box_nms", "attrs": {}})
    archive.write(tmp_path / "o.glz", Graph([Input("x", (0, 4))], ["y"], [node], {}))
    return tmp_path / "o.glz"


@pytest.mark.parametrize("target", ["onnx", "tflite"])
def test_opaque_operators_are_declined_by_name(cli, tmp_path, target):
    pytest.importorskip(target)
    done = cli("export", opaque(tmp_path), "--to", target)
    assert done.exit_code == 1
    assert "nothing was written: - 'boxes' (box_nms): an operator that the op table" in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["o.glz"]


@pytest.mark.parametrize("target", ["onnx", "tflite", "mxnet"])
def test_paths_that_cannot_be_written(cli, dense_archive, tmp_path, target):
    pytest.importorskip(target)
    done = cli("export", dense_archive[0], "--to", target, "-o", tmp_path / "none" / "x")
    assert done.exit_code == 1
    assert "cannot be written: No such file or directory" in done.stderr
    assert done.stderr.count("\n") == 1


def test_wrong_requests(cli, dense_archive, tmp_path):
    path, *_ = dense_archive
    for arguments, message in [
        (["--to", "onnx", "--shape", "1x5"], "go with a -symbol.json"),
        (["--to", "onnx", "--input", saved(tmp_path, "x.npy", np.ones((2, 4), "f4"))], "shape"),
        (["--to", "mxnet", "--int4"], "--int4 is for ONNX, not for MXNet"),
    ]:
        done = cli("export", path, *arguments)
        assert done.exit_code == 1
        assert message in done.stderr
        assert "bug" not in done.stderr
    (tmp_path / "net-symbol.json").write_text("{}")
    done = cli("export", tmp_path / "net-symbol.json", "--to", "onnx")
    assert "--shape data=1x3x224x224" in done.stderr
    done = cli("export", tmp_path / "net-symbol.json", "--to", "onnx", "--shape", "1x5")
    assert "no net-0000.params beside" in done.stderr
    done = cli("import", tmp_path / "x.npy")
    assert "is not an ONNX model" in done.stderr
    done = cli("import", tmp_path / "x.onnx", "--shape", "1xa")
    assert "is not like data=1x3x224x224" in done.stderr
