"""uint8 codes with zero point 0: out, in ONNX Runtime, and in again."""

from __future__ import annotations

import numpy as np
import pytest

from gluonzip.graph import Constant, Graph, Input, Node, infer_types, interpret
from gluonzip.passes import optimize, quantize_graph
from gluonzip.passes.quantize import insert_fake_quantize
from gluonzip.runtime import Engine
from gluonzip.spec import ActivationQuantization, PerChannel, WeightQuantization

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")

from gluonzip.onnx import read, verify, write  # noqa: E402

X = np.random.default_rng(1).normal(size=(4, 3, 8, 8)).astype(np.float32)


def network(**activation) -> Graph:
    rng = np.random.default_rng(0)
    constants = {
        "w1": rng.normal(size=(8, 3, 3, 3)),
        "w2": rng.normal(size=(8, 8, 1, 1)) * 0.3,
        "w3": rng.normal(size=(5, 8 * 16)) * 0.1,
    }
    nodes = [
        Node("conv2d", "c1", ["x", "w1"], ["a"], {"pad": [1, 1, 1, 1], **activation}),
        Node("conv2d", "c2", ["a", "w2", "", "a"], ["b"], activation),
        Node("max_pool", "pool", ["b"], ["p"], {"kernel": [2, 2], "stride": [2, 2]}),
        Node("dense", "fc", ["p", "w3"], ["y"]),
    ]
    arrays = {k: Constant(v.astype(np.float32)) for k, v in constants.items()}
    return Graph([Input("x", (0, 3, 8, 8))], ["y"], nodes, arrays)


RELU = {"act": "relu"}
RELU6 = {"act": "clip", "act_min": 0.0, "act_max": 6.0}


@pytest.mark.parametrize("activation", [RELU, RELU6], ids=["relu", "relu6"])
def test_out_and_in(activation, tmp_path):
    graph = quantize_graph(network(**activation), [X], WeightQuantization(8, PerChannel()))
    assert sum(t.dtype == "uint8" for t in infer_types(graph).values()) == 3
    write(tmp_path / "x.onnx", graph)
    model = onnx.load(tmp_path / "x.onnx")
    held = {i.name: onnx.numpy_helper.to_array(i) for i in model.graph.initializer}
    zeros = [held[n.input[2]] for n in model.graph.node if n.op_type == "QuantizeLinear"]
    assert {zero.dtype for zero in zeros} == {np.dtype(np.uint8)}
    assert sorted({int(zero) for zero in zeros}) == [0, 128]
    assert "Relu" not in {n.op_type for n in model.graph.node}  # saturation does it
    for agreement in verify(tmp_path / "x.onnx", graph, {"x": X}):
        assert agreement.relative <= 0.02, agreement
        assert agreement.integer == 3, agreement
    again = optimize(read(tmp_path / "x.onnx"))
    assert again.meta["onnx"]["notes"] == []
    codes = [{(t.dtype, t.scale) for t in infer_types(g).values()} for g in (graph, again)]
    assert {c for c in codes[0] if c[0] == "uint8"} <= codes[1]
    want = interpret(graph, X)[0]
    assert np.abs(interpret(again, X)[0] - want).max() <= 0.02 * np.abs(want).max()
    np.testing.assert_array_equal(Engine.from_graph(again)(X), interpret(again, X)[0])


def test_fewer_bits_are_written_out_in_floats(tmp_path):
    """Unsigned 4-bit activations stay simulated: the same clip and rounding, both ways."""
    found = {"x": 3.0, "a": 6.0, "b": 6.0}
    what = ActivationQuantization(bits=4)
    graph = optimize(insert_fake_quantize(network(**RELU), found, activations=what))
    quantizers = [n for n in graph.nodes if n.op == "fake_quantize"]
    assert [n.attrs.get("unsigned", False) for n in quantizers] == [False, True, True]
    write(tmp_path / "x.onnx", graph)
    (agreement, *_) = verify(tmp_path / "x.onnx", graph, {"x": X})
    assert agreement.relative <= 1e-4
    again = read(tmp_path / "x.onnx")
    kept = [n.attrs for n in again.nodes if n.op == "fake_quantize" and n.attrs["bits"] == 4]
    assert [attrs.get("unsigned", False) for attrs in kept] == [False, True, True]


@pytest.mark.parametrize("zero", [np.uint8(0), np.int8(-128)], ids=["uint8", "int8"])
def test_files_of_others_whose_codes_start_at_zero(zero, tmp_path):
    """All 256 codes from zero up, of either type, are uint8 in the graph: nothing is lost."""
    helper, T = onnx.helper, onnx.TensorProto
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], "q"),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], "d"),
    ]
    value = helper.make_tensor_value_info
    constants = {"s": np.float32(0.125), "z": zero}
    proto = helper.make_graph(
        nodes, "codes", [value("x", T.FLOAT, ["N", 3, 8, 8])], [value("y", T.FLOAT, None)],
        [onnx.numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
    )  # fmt: skip
    model = helper.make_model(proto, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "x.onnx")
    graph = read(tmp_path / "x.onnx")
    assert graph.meta["onnx"]["notes"] == []
    x = X * 16
    session = runtime.InferenceSession(str(tmp_path / "x.onnx"))
    np.testing.assert_array_equal(interpret(graph, x)[0], session.run(None, {"x": x})[0])
    assert "uint8" in {t.dtype for t in infer_types(optimize(graph)).values()}
