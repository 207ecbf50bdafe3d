"""Hostile, damaged and oversized ONNX files: a clear error, bounded memory."""

import os
import tracemalloc
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gluonzip.errors import DataError, GluonzipError, UnsupportedError

onnx = pytest.importorskip("onnx")

from onnx import TensorProto as T  # noqa: E402
from onnx import helper, numpy_helper  # noqa: E402

from gluonzip.onnx import read  # noqa: E402


def model(nodes=(), initializers=(), inputs=None, opset=17):
    nodes = nodes or [helper.make_node("Add", ["x", "w"], ["y"])]
    inputs = inputs or [helper.make_tensor_value_info("x", T.FLOAT, ["N", 4])]
    initializers = initializers or [numpy_helper.from_array(np.ones((1, 4), np.float32), "w")]
    out = [helper.make_tensor_value_info("y", T.FLOAT, None)]
    graph = helper.make_graph(list(nodes), "g", inputs, out, list(initializers))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def fails(tmp_path, m, message, error=DataError):
    path = tmp_path / "x.onnx"
    path.write_bytes(m if isinstance(m, bytes) else m.SerializeToString())
    tracemalloc.start()
    try:
        with pytest.raises(error, match=message) as caught:
            read(path)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert str(path) in str(caught.value)
    assert peak < 100 * 2**20
    return caught


def tensor(name="w", shape=(1, 4), **fields):
    return T(name=name, data_type=T.FLOAT, dims=shape, **fields)


def external(location, **entries):
    t = tensor(data_location=T.EXTERNAL)
    for key, value in {"location": location, **entries}.items():
        t.external_data.add(key=key, value=str(value))
    return model(initializers=[t])


def test_no_file(tmp_path):
    with pytest.raises(DataError, match=r"none.onnx cannot be read: No such file"):
        read(tmp_path / "none.onnx")
    with pytest.raises(DataError, match="is not a file|cannot be read"):
        read(tmp_path)


@pytest.mark.parametrize("data", [b"", b"hello there", b"\x00" * 100, os.urandom(300)])
def test_no_model(tmp_path, data):
    fails(tmp_path, data, "is not an ONNX model", GluonzipError)


def test_truncated(tmp_path):
    data = model().SerializeToString()
    for cut in range(1, len(data), 7):
        path = tmp_path / "x.onnx"
        path.write_bytes(data[:cut])
        with pytest.raises(GluonzipError, match="x.onnx"):
            read(path)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (tensor(raw_data=b"\0" * 12), r"'w' of shape \(1, 4\) has 12 bytes instead of 16"),
        (tensor(float_data=[1, 2]), "has 2 values instead of 4"),
        (tensor(shape=(-1, 4), raw_data=b""), "impossible shape"),
        (tensor(shape=(2**40, 2**40)), "more memory than a file of this size"),
        (tensor(shape=(2**31,)), "more memory than a file of this size"),
        (T(name="w", data_type=T.STRING, dims=[4]), "is of type STRING"),
        (T(name="w", data_type=99, dims=[4]), "is of type number 99"),
    ],
)
def test_tensors(tmp_path, bad, message):
    fails(tmp_path, model(initializers=[bad]), message)


@pytest.mark.parametrize(
    "location", ["../secret", "/etc/passwd", "a/../../secret", "", "..", "link/../../x"]
)
def test_external_data_outside_the_folder(tmp_path, location):
    folder = tmp_path / "models"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(b"\0" * 16)
    caught = fails(folder, external(location), "outside the model's folder")
    assert "'w'" in str(caught.value)


def test_external_data_by_symbolic_links(tmp_path):
    folder = tmp_path / "models"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(b"\0" * 16)
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "up").symlink_to(tmp_path)
    fails(folder, external("link"), "outside the model's folder|is not a file")
    fails(folder, external("up/secret"), "outside the model's folder")


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"offset": 8}, "wants bytes 8 to 24 of 'data', which has 16"),
        ({"offset": -4}, "wants bytes -4"),
        ({"length": 12}, "its shape needs 16"),
        ({"offset": "x"}, "is no number"),
    ],
)
def test_external_data_of_the_wrong_size(tmp_path, entries, message):
    (tmp_path / "data").write_bytes(b"\0" * 16)
    fails(tmp_path, external("data", **entries), message)
    fails(tmp_path, external("none"), "which is not a file")


def test_external_data_is_read(tmp_path):
    (tmp_path / "data").write_bytes(b"\0" * 8 + np.arange(4, dtype="f4").tobytes())
    path = tmp_path / "x.onnx"
    path.write_bytes(external("data", offset=8, length=16).SerializeToString())
    np.testing.assert_array_equal(read(path).constants["w"].data, [[0, 1, 2, 3]])


def node(op, inputs, outputs=("w",), **attrs):
    return helper.make_node(op, list(inputs), list(outputs), **attrs)


def constant(name, values):
    return numpy_helper.from_array(np.asarray(values), name)


ADD = helper.make_node("Add", ["x", "w"], ["y"])
BOMBS = {
    "constant": ([node("ConstantOfShape", ["s"])], [constant("s", [2**20, 2**20])]),
    "expand": ([node("Expand", ["o", "s"])], [constant("s", [2**40]), constant("o", [1.0])]),
    "tile": ([node("Tile", ["o", "s"])], [constant("s", [2**40]), constant("o", [1.0])]),
    "range": (
        [node("Range", ["a", "b", "c"])],
        [constant("a", 0.0), constant("b", 1e30), constant("c", 1e-3)],
    ),
    "outer": (
        [node("Mul", ["a", "b"])],
        [constant("a", np.ones((30000, 1))), constant("b", np.ones((1, 30000)))],
    ),
}


@pytest.mark.parametrize("name", BOMBS)
def test_small_files_that_ask_for_much_memory(tmp_path, name):
    nodes, initializers = BOMBS[name]
    m = model([*nodes, ADD], [*initializers, constant("unused", np.ones(1, np.float32))])
    fails(tmp_path, m, "more memory than a file of this size", GluonzipError)


def doubling(count):
    """x, concatenated with itself again and again: nothing that a constant budget sees."""
    nodes = [node("Concat", [f"v{i}"] * 4, [f"v{i + 1}"], axis=1) for i in range(count)]
    nodes[0].input[:] = ["x"] * 4
    return model([*nodes, node("Identity", [f"v{count}"], ["y"])])


def test_shapes_alone_cost_nothing(tmp_path):
    path = tmp_path / "x.onnx"
    path.write_bytes(doubling(10).SerializeToString())
    assert len(read(path).nodes) >= 10


def test_graphs_that_make_no_sense(tmp_path):
    fails(tmp_path, model([node("Add", ["x", "later"], ["y"])]), "reads 'later', which nothing")
    fails(tmp_path, model([ADD, node("Relu", ["y"], ["y"])]), "'y' is made twice")
    fails(tmp_path, model([node("Relu", ["x"], ["z"])]), "output 'y' is made by nothing")
    fails(tmp_path, model([node("Reshape", ["x"], ["y"])]), "malformed|shape")
    fails(tmp_path, model([node("Concat", ["x", "w"], ["y"], axis=7)]), "concat|malformed|axis")
    wrong = [constant("w", np.ones((3, 3, 3), np.float32))]
    fails(tmp_path, model([node("Conv", ["x", "w"], ["y"])], wrong), "Conv", GluonzipError)
    bad = [constant("w", np.array([[np.nan] * 4], np.float32))]
    fails(tmp_path, model(initializers=bad), "non-finite")


def test_opsets(tmp_path):
    fails(tmp_path, model(opset=5), "opset 5; this reader knows 7 to", UnsupportedError)
    fails(tmp_path, model(opset=99), "opset 99", UnsupportedError)
    foreign = helper.make_node("Magic", ["x"], ["y"], domain="com.example")
    fails(tmp_path, model([foreign]), r"com.example.Magic \(1\)", UnsupportedError)


def test_inputs_that_are_no_tensors(tmp_path):
    value = helper.make_tensor_value_info("x", T.STRING, [4])
    fails(tmp_path, model(inputs=[value]), "does not hold numbers", UnsupportedError)
    value = helper.make_tensor_value_info("x", T.FLOAT, None)
    fails(tmp_path, model(inputs=[value]), "not a tensor of known rank", UnsupportedError)
    sequence = helper.make_tensor_sequence_value_info("x", T.FLOAT, [4])
    fails(tmp_path, model(inputs=[sequence]), "not a tensor", UnsupportedError)


GOOD = model(
    [
        node("MatMul", ["x", "a"], ["m"]),
        node("QuantizeLinear", ["m", "s", "z"], ["q"]),
        node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        node("Reshape", ["d", "t"], ["y"]),
    ],
    [
        constant("a", np.ones((4, 6), np.float32)),
        constant("s", np.float32(0.1)),
        constant("z", np.uint8(0)),
        constant("t", np.array([0, 2, -1])),
    ],
).SerializeToString()


@settings(
    max_examples=400,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), min_size=1, max_size=4)
)
def test_flipped_bytes(tmp_path, changes):
    data = bytearray(GOOD)
    for at, value in changes:
        data[at] = value
    path = tmp_path / "x.onnx"
    path.write_bytes(data)
    with suppress(GluonzipError):  # and nothing else
        read(path)


@pytest.mark.parametrize(
    ("peak_of", "after", "message"),
    [
        ("other", None, "its step is computed from another tensor"),
        ("x", "Exp", "its step is computed, and not from the peak of its input"),
    ],
)
def test_a_computed_step_that_is_no_peak(tmp_path, peak_of, after, message):
    """Only the largest magnitude of the same input, over the limit, makes a dynamic quantizer."""
    node = helper.make_node
    nodes = [
        node("Relu", ["x"], ["other"]),
        node("Abs", [peak_of], ["magnitude"]),
        node("ReduceMax", ["magnitude"], ["peak"], keepdims=0),
        node("Div", ["peak", "limit"], ["ratio"]),
        node("Max", ["ratio", "tiny"], ["least" if after else "step"]),
        *([node(after, ["least"], ["step"])] if after else []),
        node("Reciprocal", ["step"], ["inverse"]),
        node("Mul", ["x", "inverse"], ["scaled"]),
        node("Clip", ["scaled", "low", "limit"], ["clipped"]),
        node("Round", ["clipped"], ["codes"], name="rounder"),
        node("Mul", ["codes", "step"], ["y"]),
    ]
    values = {"limit": 127.0, "low": -127.0, "tiny": 1e-38}
    constants = [numpy_helper.from_array(np.float32(v), name) for name, v in values.items()]
    fails(tmp_path, model(nodes, constants), f"rounder.*{message}", UnsupportedError)
