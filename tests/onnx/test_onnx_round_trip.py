"""Graph -> ONNX -> Graph: the reverse of every emitter."""

import numpy as np
import pytest
from op_cases import CASES, IDS, build
from prune_graphs import TOPOLOGIES

from gluonzip.graph import infer_types, interpret
from gluonzip.passes import optimize, quantize_graph, simplify
from gluonzip.spec import PerChannel, WeightQuantization

pytest.importorskip("onnx")

from gluonzip.onnx import Storage, read, write


def assert_equal(a, b, inputs, rtol=2e-5):
    assert [i.name for i in a.inputs] == [i.name for i in b.inputs]
    assert a.outputs == b.outputs
    for x, y in zip(interpret(a, inputs), interpret(b, inputs), strict=True):
        assert x.shape == y.shape
        np.testing.assert_allclose(y, x, rtol=rtol, atol=rtol * max(np.abs(x).max(), 1e-3))


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_every_operator(case, tmp_path):
    graph, arrays = build(case)
    write(tmp_path / "x.onnx", graph)
    again = read(tmp_path / "x.onnx")
    assert_equal(graph, again, arrays)
    more = {name: np.concatenate([a, a[:1]]) for name, a in arrays.items()}
    assert_equal(graph, again, more)


def inputs_of(graph, make):
    rng = np.random.default_rng(0)
    shape = graph.inputs[0].shape
    x = rng.integers(0, 9, shape) if make.__name__ == "sequence" else rng.normal(size=shape)
    return x.astype(np.float32)


@pytest.mark.parametrize("make", TOPOLOGIES, ids=lambda f: f.__name__)
def test_networks(make, tmp_path):
    graph = make()
    write(tmp_path / "x.onnx", graph)
    assert_equal(simplify(graph), read(tmp_path / "x.onnx"), inputs_of(graph, make))


@pytest.mark.parametrize("granularity", ["per_tensor", "per_channel"])
@pytest.mark.parametrize("make", TOPOLOGIES, ids=lambda f: f.__name__)
def test_integers_come_back(make, granularity, tmp_path):
    graph = make()
    x = inputs_of(graph, make)
    config = WeightQuantization(8, PerChannel()) if granularity == "per_channel" else None
    graph = quantize_graph(graph, [x], config)
    graph.meta["origin"] = {"recipe": "a test"}
    write(tmp_path / "x.onnx", graph)
    again = read(tmp_path / "x.onnx")
    assert again.meta["origin"] == {"recipe": "a test"}
    assert again.meta["onnx"]["notes"] == []
    again = optimize(again)
    for a, b in zip(interpret(graph, x), interpret(again, x), strict=True):
        assert np.abs(a - b).max() <= 0.03 * np.abs(a).max()
    counts = [sum(t.holds_codes for t in infer_types(g).values()) for g in (graph, again)]
    assert counts[1] >= 0.8 * counts[0]
    weights = [
        sorted(c.dense().tobytes() for c in g.constants.values() if c.quantized and c.bits == 8)
        for g in (graph, again)
    ]
    if make.__name__ != "quantized":
        assert len(weights[0]) == len(weights[1])


@pytest.mark.parametrize(
    "storage", [Storage(float16=True), Storage(sparse=True), Storage(int4=True)]
)
def test_storage(storage, tmp_path):
    graph = TOPOLOGIES[0]()
    for constant in graph.constants.values():
        if constant.data.ndim > 1:
            constant.data[np.random.default_rng(0).random(constant.data.shape) < 0.9] = 0
    graph = simplify(graph)
    if storage.int4:
        x = inputs_of(graph, TOPOLOGIES[0])
        graph = quantize_graph(graph, [x], WeightQuantization(4, PerChannel()))
    plain = write(tmp_path / "plain.onnx", graph).nbytes
    packed = write(tmp_path / "packed.onnx", graph, storage)
    assert packed.nbytes < plain
    again = read(tmp_path / "packed.onnx")
    x = inputs_of(graph, TOPOLOGIES[0])
    if storage.int4:
        assert {c.bits for c in again.constants.values() if c.quantized} == {4}
    tolerance = 1e-3 if storage.float16 else 0.03 if storage.int4 else 1e-6
    assert_equal(graph, again, x, tolerance)
