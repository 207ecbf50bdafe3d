"""Files as other exporters write them."""

import numpy as np
import pytest

from gluonzip.errors import ConfigError, UnsupportedError
from gluonzip.graph import interpret
from gluonzip.passes import optimize, simplify

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")

from onnx import TensorProto as T  # noqa: E402
from onnx import helper, numpy_helper  # noqa: E402

from gluonzip.onnx import read  # noqa: E402

RNG = np.random.default_rng(0)


def save(path, nodes, constants, inputs, outputs=("y",), opset=17, kind=T.FLOAT):
    """``inputs``: name -> shape with strings for free axes."""
    graph = helper.make_graph(
        [helper.make_node(op, i, o, **attrs) for op, i, o, attrs in nodes],
        "g",
        [helper.make_tensor_value_info(n, kind, s) for n, s in inputs.items()],
        [helper.make_tensor_value_info(n, T.FLOAT, None) for n in outputs],
        [numpy_helper.from_array(np.asarray(v), n) for n, v in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.save(model, path)
    return path


def floats(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def check(path, inputs, tolerance=1e-5, **options):
    graph = read(path, **options)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    wanted = ort.InferenceSession(str(path), options).run(None, inputs)
    given = {name: np.asarray(x, np.float32) for name, x in inputs.items()}
    for a, b in zip(wanted, interpret(graph, given), strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(b, a, rtol=0, atol=tolerance * max(1, np.abs(a).max()))
    return graph


def torch_classifier(path, batch="N"):
    """Conv, BatchNormalization, Relu, pooling, flatten by Shape-Gather-Concat, Gemm."""
    nodes = [
        ("Conv", ["input", "conv1.weight"], ["c"], {"pads": [1] * 4, "kernel_shape": [3, 3]}),
        ("BatchNormalization", ["c", "g", "b", "m", "v"], ["n"], {"epsilon": 1e-3}),
        ("Relu", ["n"], ["r"], {}),
        ("MaxPool", ["r"], ["p"], {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}),
        ("Shape", ["p"], ["s"], {}),
        ("Constant", [], ["zero"], {"value": numpy_helper.from_array(np.int64(0))}),
        ("Gather", ["s", "zero"], ["s0"], {"axis": 0}),
        ("Unsqueeze", ["s0", "axes"], ["s1"], {}),
        ("Concat", ["s1", "minus"], ["target"], {"axis": 0}),
        ("Reshape", ["p", "target"], ["f"], {}),
        ("Gemm", ["f", "fc.weight", "fc.bias"], ["y"], {"transB": 1}),
    ]
    constants = {
        "conv1.weight": floats(4, 3, 3, 3), "g": floats(4), "b": floats(4), "m": floats(4),
        "v": np.abs(floats(4)) + 0.5, "fc.weight": floats(5, 64), "fc.bias": floats(5),
        "axes": np.array([0]), "minus": np.array([-1]),
    }  # fmt: skip
    return save(path, nodes, constants, {"input": [batch, 3, 8, 8]})


def test_a_classifier_with_computed_shapes(tmp_path):
    graph = check(torch_classifier(tmp_path / "x.onnx"), {"input": floats(3, 3, 8, 8)})
    assert graph.inputs[0].shape == (0, 3, 8, 8)
    kinds = [n.op for n in simplify(graph).nodes]
    assert kinds == ["conv2d", "max_pool", "dense"]
    assert "conv1.weight" in graph.constants
    fixed = check(torch_classifier(tmp_path / "x.onnx", 2), {"input": floats(2, 3, 8, 8)})
    assert fixed.inputs[0].shape == (2, 3, 8, 8)


def test_a_transformer_block(tmp_path):
    nodes = [
        ("Gather", ["table", "ids"], ["e"], {}),
        ("LayerNormalization", ["e", "g", "b"], ["n"], {"axis": -1}),
        ("MatMul", ["n", "wq"], ["q0"], {}),
        ("Add", ["bq", "q0"], ["q"], {}),
        ("Reshape", ["q", "split"], ["heads"], {}),
        ("Transpose", ["heads"], ["h"], {"perm": [0, 2, 1, 3]}),
        ("Transpose", ["heads"], ["ht"], {"perm": [0, 2, 3, 1]}),
        ("MatMul", ["h", "ht"], ["scores"], {}),
        ("Div", ["scores", "root"], ["scaled"], {}),
        ("Softmax", ["scaled"], ["p"], {"axis": -1}),
        ("MatMul", ["p", "h"], ["o"], {}),
        ("Transpose", ["o"], ["ot"], {"perm": [0, 2, 1, 3]}),
        ("Reshape", ["ot", "merge"], ["y"], {}),
    ]
    constants = {
        "table": floats(11, 8), "g": floats(8), "b": floats(8), "wq": floats(8, 8),
        "bq": floats(8), "split": np.array([0, 0, 2, 4]), "merge": np.array([0, 0, -1]),
        "root": np.float32(2.0),
    }  # fmt: skip
    path = save(tmp_path / "x.onnx", nodes, constants, {"ids": ["N", 5]}, kind=T.INT64)
    graph = check(path, {"ids": RNG.integers(0, 11, (3, 5))})
    (dense,) = (n for n in graph.nodes if n.op == "dense")
    assert len(dense.inputs) == 3  # the bias that was added apart


def test_old_opsets(tmp_path):
    nodes = [
        ("Pad", ["x"], ["a"], {"pads": [0, 0, 1, 1, 0, 0, 1, 1], "mode": "constant"}),
        ("Slice", ["a"], ["s"], {"starts": [1, 0], "ends": [9, 6], "axes": [2, 3]}),
        ("Clip", ["s"], ["c"], {"min": 0.0, "max": 6.0}),
        ("Unsqueeze", ["c"], ["u"], {"axes": [0]}),
        ("Squeeze", ["u"], ["q"], {"axes": [0]}),
        ("Split", ["q"], ["one", "two"], {"axis": 1, "split": [1, 2]}),
        ("ReduceMean", ["two"], ["r"], {"axes": [2, 3], "keepdims": 0}),
        ("Concat", ["r", "r"], ["y"], {"axis": 1}),
    ]
    path = save(tmp_path / "x.onnx", nodes, {}, {"x": ["N", 3, 6, 7]}, opset=9)
    check(path, {"x": floats(2, 3, 6, 7)})


@pytest.mark.parametrize("auto", ["SAME_UPPER", "SAME_LOWER", "VALID"])
def test_automatic_padding(auto, tmp_path):
    nodes = [
        ("Conv", ["x", "w"], ["c"], {"auto_pad": auto, "strides": [2, 2]}),
        ("AveragePool", ["c"], ["y"], {"auto_pad": auto, "kernel_shape": [2, 2]}),
    ]
    path = save(tmp_path / "x.onnx", nodes, {"w": floats(4, 3, 3, 2)}, {"x": ["N", 3, 9, 8]})
    check(path, {"x": floats(2, 3, 9, 8)})


def test_a_one_dimensional_convolution(tmp_path):
    nodes = [("Conv", ["x", "w", "b"], ["y"], {"pads": [2, 1], "strides": [2]})]
    constants = {"w": floats(4, 3, 5), "b": floats(4)}
    path = save(tmp_path / "x.onnx", nodes, constants, {"x": ["N", 3, 20]})
    check(path, {"x": floats(2, 3, 20)})


def test_asymmetric_quantizers_become_symmetric_or_unsigned_ones(tmp_path):
    """As ONNX Runtime's own tool writes them: uint8 activations, ReLUs left to saturation."""
    weight = RNG.integers(-127, 128, (4, 3, 3, 3)).astype(np.int8)
    nodes = [
        ("QuantizeLinear", ["x", "sx", "zx"], ["xq"], {}),
        ("DequantizeLinear", ["xq", "sx", "zx"], ["xd"], {}),
        ("DequantizeLinear", ["w", "sw", "zw"], ["wd"], {"axis": 0}),
        ("DequantizeLinear", ["b", "sb", "zb"], ["bd"], {"axis": 0}),
        ("Conv", ["xd", "wd", "bd"], ["c"], {}),
        ("QuantizeLinear", ["c", "sc", "zc"], ["cq"], {}),
        ("DequantizeLinear", ["cq", "sc", "zc"], ["y"], {}),
    ]
    sw = np.linspace(0.005, 0.01, 4, dtype=np.float32)
    constants = {
        "sx": np.float32(0.03), "zx": np.uint8(120), "w": weight, "sw": sw,
        "zw": np.zeros(4, np.int8), "b": np.arange(4, dtype=np.int32) * 500, "sb": sw * 0.03,
        "zb": np.zeros(4, np.int32), "sc": np.float32(0.05), "zc": np.uint8(0),
    }  # fmt: skip
    constants["sb"] = constants["sb"].astype(np.float32)
    path = save(tmp_path / "x.onnx", nodes, constants, {"x": ["N", 3, 8, 8]})
    graph = check(path, {"x": floats(2, 3, 8, 8)}, tolerance=0.06)
    assert len(graph.meta["onnx"]["notes"]) == 1  # the second's codes are those of uint8
    integer = optimize(graph)
    (conv,) = (n for n in integer.nodes if n.op == "conv2d")
    assert integer.constants[conv.inputs[1]].quantized
    assert conv.attrs["out_scale"] == pytest.approx(0.05)
    assert conv.attrs["unsigned"]


def test_every_unknown_operator_is_named_at_once(tmp_path):
    nodes = [
        ("LRN", ["x"], ["a"], {"size": 3}),
        ("NonZero", ["a"], ["b"], {}),
        ("LRN", ["b"], ["c"], {"size": 3}),
        ("Relu", ["c"], ["y"], {}),
    ]
    path = save(tmp_path / "x.onnx", nodes, {}, {"x": ["N", 3, 6, 7]})
    with pytest.raises(UnsupportedError, match=r"x.onnx: .*op table: LRN \(2\), NonZero \(1\)"):
        read(path)


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (("Resize", ["x", "", "s"], ["y"], {"mode": "cubic"}), "Resize.*mode cubic"),
        (("MaxPool", ["x"], ["y"], {"kernel_shape": [2, 2], "dilations": [2, 2]}), "dilations"),
        (("Round", ["x"], ["y"], {}), "only inside a fake quantizer"),
        (("Cast", ["x"], ["y"], {"to": T.BOOL}), "casts to BOOL"),
        (("Where", ["x", "x", "x"], ["y"], {}), "only where its inputs are constants"),
        (("Slice", ["x", "two", "two", "two", "two"], ["y"], {}), "steps other than 1"),
    ],
)
def test_uses_that_the_op_table_lacks(node, message, tmp_path):
    constants = {"s": np.array([1, 1, 2, 2], np.float32), "two": np.array([2])}
    path = save(tmp_path / "x.onnx", [node], constants, {"x": ["N", 3, 6, 7]})
    with pytest.raises(UnsupportedError, match=message):
        read(path)


def test_free_axes_need_a_shape(tmp_path):
    nodes = [("GlobalAveragePool", ["x"], ["y"], {})]
    path = save(tmp_path / "x.onnx", nodes, {}, {"x": ["N", 3, "h", "w"]})
    with pytest.raises(ConfigError, match="axis 2 of input 'x' has no fixed length"):
        read(path)
    with pytest.raises(ConfigError, match=r"has shape \('any', 3, 'any', 'any'\), not \(1, 4"):
        read(path, {"x": (1, 4, 6, 6)})
    with pytest.raises(ConfigError, match="no input z; the inputs are x"):
        read(path, {"z": (1, 3, 6, 6)})
    assert check(path, {"x": floats(2, 3, 6, 6)}, shapes={"x": (1, 3, 6, 6)}).inputs[0].shape == (
        0, 3, 6, 6,
    )  # fmt: skip
