"""Any graph that can be written reads back the same, in Python and in C++."""

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gluonzip import archive
from gluonzip.graph.ir import Constant, Graph, Input, Node

SEEDS = st.integers(0, 2**32 - 1)
SETTINGS = settings(derandomize=True, deadline=None, max_examples=120)


def with_node(node: Node, **constants: Constant) -> Graph:
    return Graph([Input("x", (0, 2))], ["y"], [node], constants)


def assert_back(graph: Graph, read_both) -> None:
    """The tensor ``w`` comes back bit by bit."""
    wanted = graph.constants["w"]
    back = read_both(archive.to_bytes(graph)).constants["w"]
    assert back.data.dtype == wanted.data.dtype
    assert back.data.shape == wanted.data.shape
    assert back.data.tobytes() == wanted.data.tobytes()
    assert back.quantized == wanted.quantized
    if wanted.quantized:
        assert back.scale.dtype == np.float32
        assert back.scale.shape == wanted.scale.shape
        assert back.scale.tobytes() == wanted.scale.tobytes()
        assert (back.axis, back.bits) == (wanted.axis, wanted.bits)


@given(
    st.sampled_from(["float32", "float16", "int8", "int32"]),
    st.lists(st.integers(0, 12), max_size=4),
    st.sampled_from([0.0, 0.02, 0.3, 0.9, 1.0]),
    st.sampled_from([1, 7, 100, 127]),
    SEEDS,
)
@SETTINGS
def test_plain_tensors(read_both, dtype, shape, density, largest, seed):
    rng = np.random.default_rng(seed)
    values = rng.integers(-largest - 1, largest + 1, shape)
    if dtype.startswith("float"):
        values = rng.standard_normal(shape)
    data = np.asarray(values * (rng.random(shape) < density)).astype(dtype)
    node = Node("opaque", "o", ["x", "w"], ["y"], {"operator": "any", "attrs": {}})
    assert_back(with_node(node, w=Constant(data)), read_both)


@given(
    st.sampled_from([("dense", 0), ("conv_transpose2d", 1)]),
    st.integers(2, 8),
    st.lists(st.integers(1, 9), min_size=2, max_size=4),
    st.sampled_from([0.0, 0.02, 0.3, 1.0]),
    st.booleans(),
    SEEDS,
)
@SETTINGS
def test_quantized_tensors(read_both, op_and_axis, bits, shape, density, per_channel, seed):
    op, axis = op_and_axis
    rng = np.random.default_rng(seed)
    limit = 2 ** (bits - 1) - 1
    codes = rng.integers(-limit, limit + 1, shape) * (rng.random(shape) < density)
    scale = rng.standard_normal(shape[axis] if per_channel else ()).astype(np.float32)
    weight = Constant(codes.astype(np.int8), np.asarray(scale), axis, bits)
    assert_back(with_node(Node(op, "n", ["x", "w"], ["y"]), w=weight), read_both)


@given(
    st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=4),
    st.text(min_size=1, max_size=30),
    st.text(min_size=1, max_size=30),
    st.lists(st.integers(0, 2**31), max_size=5),
)
@SETTINGS
def test_names_shapes_and_maps(read_both, attrs, name, stem, shape):
    node = Node("opaque", name, [stem + "0", "", stem + "1"], [stem + "2"])
    node.attrs = {"operator": name, "attrs": attrs}
    inputs = [Input(stem + "0", tuple(shape), "int32"), Input(stem + "1", (), "float16")]
    graph = Graph(inputs, [stem + "2"], [node], {}, name=stem)
    back = read_both(archive.to_bytes(graph))
    assert back.inputs == inputs
    assert back.outputs == graph.outputs
    assert back.name == stem
    assert vars(back.nodes[0]) == vars(node) | {"attrs": {"operator": name} | without({}, attrs)}


def without(default: dict, attrs: dict) -> dict:
    """The attribute ``attrs`` of an opaque node, left out when it is the default."""
    return {} if attrs == default else {"attrs": attrs}


def test_every_kind_of_attribute(read_both):
    attrs = {
        "stride": [2, 1],
        "pad": (0, 1, 2, 3),
        "groups": np.int64(3),
        "act": "clip",
        "act_min": -0.5,
        "act_max": 1e-300,
        "out_scale": 0.1,
    }
    node = Node("conv2d", "n", ["x", "w"], ["y"], attrs | {"pad": [0, 1, 2, 3], "groups": 3})
    weight = Constant(np.ones((1, 1, 1, 1), np.float32))
    back = read_both(archive.to_bytes(with_node(node, w=weight))).nodes[0].attrs
    assert back == attrs | {
        "pad": [0, 1, 2, 3],
        "groups": 3,
        "out_scale": float(np.float32(0.1)),  # scales are float32 numbers
    }


def test_defaults_are_left_out(read_both):
    full = {"stride": [1, 1], "pad": [0] * 4, "groups": 1, "act": "none", "out_scale": None}
    node = Node("conv2d", "n", ["x", "w"], ["y"], full)
    weight = Constant(np.ones((1, 1, 1, 1), np.float32))
    assert read_both(archive.to_bytes(with_node(node, w=weight))).nodes[0].attrs == {}


def test_false_is_not_the_default_zero(read_both):
    node = Node("avg_pool", "n", ["x"], ["y"], {"kernel": [2, 2], "count_pad": False})
    back = read_both(archive.to_bytes(with_node(node))).nodes[0].attrs
    assert back == {"kernel": [2, 2], "count_pad": False}


def test_meta_comes_back():
    graph = with_node(Node("relu", "r", ["x"], ["y"]))
    graph.meta = {"recipe": {"bits": 8, "layers": ["a", "b"]}, "origin": "é"}
    data = archive.to_bytes(graph, {"report": np.float32(0.5), "origin": "b"})
    meta = archive.read(data).meta
    assert meta == {"recipe": {"bits": 8, "layers": ["a", "b"]}, "origin": "b", "report": 0.5}


def test_what_was_read_writes_the_same_bytes():
    rng = np.random.default_rng(0)
    weight = Constant((rng.integers(-7, 8, (30, 40)) * (rng.random((30, 40)) < 0.1)).astype("i1"),
                      np.float32(0.5).reshape(()), 0, 4)  # fmt: skip
    graph = with_node(Node("dense", "fc", ["x", "w"], ["y"], {"act": "relu"}), w=weight)
    graph.meta = {"a": [1, 2.5, None]}
    data = archive.to_bytes(graph)
    assert archive.to_bytes(graph) == data
    assert archive.to_bytes(archive.read(data)) == data


def test_big_endian_and_strided_arrays_are_written_by_value(read_both):
    data = np.arange(24, dtype=">f4").reshape(4, 6).T[::2]
    node = Node("dense", "fc", ["x", "w"], ["y"])
    back = read_both(archive.to_bytes(with_node(node, w=Constant(data)))).constants["w"].data
    assert np.array_equal(back, data)


def test_denormal_halves_are_widened_exactly(read_both):
    every = np.arange(2**16, dtype=np.uint16).view(np.float16)
    finite = every[np.isfinite(every)]
    node = Node("add", "a", ["x", "w"], ["y"])
    read_both(archive.to_bytes(with_node(node, w=Constant(finite))))  # compares with NumPy
    assert math.isclose(float(finite[1]), 2**-24)
