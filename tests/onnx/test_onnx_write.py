"""What a written ONNX file holds besides its nodes."""

import json

import numpy as np
import pytest

from gluonzip.errors import DataError, UnsupportedError
from gluonzip.graph import Constant, Graph, Input, Node, interpret

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from gluonzip.onnx import read, verify, write  # noqa: E402
from gluonzip.onnx.package import IR_VERSION, OPSET  # noqa: E402

RNG = np.random.default_rng(0)


def network():
    """Two inputs, two outputs, one of them nested in what the network returns."""
    weight = RNG.normal(size=(30, 20)).astype(np.float32)
    nodes = [
        Node("dense", "layers.fc", ["a", "layers.fc.weight"], ["h"]),
        Node("add", "sum", ["h", "b"], ["s"]),
        Node("softmax", "p", ["s"], ["p"]),
    ]
    graph = Graph([Input("a", (0, 20)), Input("b", (0, 30))], ["p", "h"], nodes, {}, name="two")
    graph.constants["layers.fc.weight"] = Constant(weight)
    graph.meta = {"outputs": [0, [1]], "recipe": {"name": "r"}, "accuracy": 0.98}
    return graph


INPUTS = {n: RNG.normal(size=(3, k)).astype(np.float32) for n, k in (("a", 20), ("b", 30))}


def test_names_facts_versions_and_a_free_batch(tmp_path):
    graph = network()
    write(tmp_path / "x.onnx", graph)
    model = onnx.load(tmp_path / "x.onnx")
    assert [v.name for v in model.graph.input] == ["a", "b"]
    assert [v.name for v in model.graph.output] == ["p", "h"]
    shape = model.graph.input[0].type.tensor_type.shape
    assert (shape.dim[0].dim_param, shape.dim[1].dim_value) == ("batch", 20)
    facts = {p.key: json.loads(p.value) for p in model.metadata_props}
    assert facts["gluonzip.accuracy"] == 0.98
    assert facts["gluonzip.recipe"] == {"name": "r"}
    assert (model.opset_import[0].version, model.ir_version) == (OPSET, IR_VERSION)
    assert {agreement.runtime for agreement in verify(tmp_path / "x.onnx", graph, INPUTS)} >= {
        "onnxruntime"
    }
    assert read(tmp_path / "x.onnx").meta["outputs"] == [0, [1]]


def test_large_weights_go_to_a_file_beside_it(tmp_path):
    graph = network()
    written = write(tmp_path / "x.onnx", graph, limit=1000)
    assert [f.name for f in written.files] == ["x.onnx", "x.onnx.data"]
    assert written.files[1].stat().st_size == 30 * 20 * 4
    (agreement, *_) = verify(tmp_path / "x.onnx", graph, INPUTS)
    assert agreement.relative < 1e-5
    for a, b in zip(
        interpret(graph, INPUTS), interpret(read(written.files[0]), INPUTS), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_the_old_file_stays_when_the_new_one_fails(tmp_path):
    path = tmp_path / "x.onnx"
    write(path, network())
    before = path.read_bytes()
    graph = network()
    graph.nodes[2] = Node("opaque", "nms", ["s"], ["p"], {"operator": "box_nms", "attrs": {}})
    with pytest.raises(UnsupportedError, match=r"1 node\(s\) .* as ONNX.*\n  - 'nms' \(box_nms\)"):
        write(path, graph)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["x.onnx"]
    with pytest.raises(DataError, match="it is a folder"):
        write(tmp_path, network())
