"""Types and costs, and what does not fit."""

from __future__ import annotations

import numpy as np
import pytest

from gluonzip.errors import GraphError, ShapeError, UnsupportedError
from gluonzip.graph import Constant, Graph, Input, Node, TensorType, infer_types, known_types
from gluonzip.graph.statistics import macs, weight_statistics


def constant(*shape: int) -> Constant:
    return Constant(np.zeros(shape, np.float32))


def one(op: str, shapes: list[tuple[int, ...]], outputs: int = 1, **attrs) -> Graph:
    """One node on an input and constants of these shapes."""
    names = [f"x{i}" for i in range(len(shapes))]
    outs = [f"y{i}" for i in range(outputs)]
    constants = {n: constant(*s) for n, s in zip(names[1:], shapes[1:], strict=True)}
    return Graph([Input("x0", shapes[0])], outs, [Node(op, "node", names, outs, attrs)], constants)


MISFITS = [
    ("conv2d", [(1, 3, 8), (4, 3, 3, 3)], {}, r"input of shape \(1, 3, 8\) must have four axes"),
    ("conv2d", [(1, 3, 8, 8), (4, 2, 3, 3)], {}, "input has 3 channels, weight .* needs 2"),
    (
        "conv2d",
        [(1, 3, 2, 8), (4, 3, 3, 3)],
        {},
        r"kernel \(3, 3\) is larger than the padded input",
    ),
    ("conv2d", [(1, 4, 8, 8), (5, 2, 3, 3)], {"groups": 2}, "2 groups do not divide 5 outputs"),
    (
        "conv2d",
        [(1, 3, 8, 8), (4, 3, 3, 3), (5,)],
        {},
        r"bias of shape \(5,\) must have shape \(4,\)",
    ),
    ("conv2d", [(1, 3, 3, 3), (4, 3, 3, 3), (4,), (1, 4)], {}, r"residual of shape \(1, 4\) must"),
    (
        "conv_transpose2d",
        [(1, 3, 8, 8), (4, 2, 3, 3)],
        {},
        "input has 3 channels, weight .* needs 4",
    ),
    ("dense", [(2, 3, 4), (5, 11)], {}, r"input \(2, 3, 4\) has 12 features, weight \(5, 11\)"),
    ("dense", [(2, 3, 4), (5, 3)], {"flatten": False}, "has 4 features"),
    (
        "batch_norm",
        [(1, 3, 4, 4), (3,), (3,), (3,), (4,)],
        {},
        r"parameter of shape \(4,\) must have",
    ),
    ("add", [(2, 3), (4,)], {}, r"shapes \(2, 3\) and \(4,\) do not broadcast"),
    ("max_pool", [(1, 1, 2, 2)], {"kernel": [3, 3]}, "kernel 3 is longer than the padded input 2"),
    ("concat", [(2, 3), (3, 3)], {}, r"shapes \(2, 3\), \(3, 3\) differ outside axis 1"),
    ("reshape", [(2, 3)], {"shape": [4, -1]}, r"shape \[4, -1\] does not fit an input of shape"),
    ("reshape", [(2, 3)], {"shape": [-1, -1]}, "infers more than one axis"),
    ("reshape", [(2, 3)], {"shape": [-7]}, "codes go from -4 to 0"),
    ("transpose", [(2, 3)], {"axes": [0, 2]}, r"axes \[0, 2\] do not permute"),
    ("softmax", [(2, 3)], {"axis": 2}, r"axis 2 does not exist in shape \(2, 3\)"),
    ("squeeze", [(2, 3)], {"axes": [0]}, "are not all of length 1"),
    ("slice_axis", [(2, 3)], {"axis": 1, "begin": 3}, "is empty"),
    ("split", [(2, 3)], {}, "has no 2 equal parts"),
    ("pad", [(2, 3)], {"width": [1, 1]}, "needs two numbers for each axis"),
    ("matmul", [(2, 3), (4, 2)], {}, "do not multiply: 3 columns, 4 rows"),
]


@pytest.mark.parametrize(("op", "shapes", "attrs", "message"), MISFITS)
def test_misfit_names_the_node_and_the_shapes(op, shapes, attrs, message):
    graph = one(op, shapes, outputs=2 if op == "split" else 1, **attrs)
    with pytest.raises(ShapeError, match=rf"node 'node' \({op}\): .*{message}"):
        infer_types(graph)


def test_shapes_follow_the_batch_and_the_image():
    graph = one("conv2d", [(0, 3, 0, 0), (8, 3, 3, 3)], stride=[2, 2], pad=[1, 1, 1, 1])
    assert infer_types(graph, {"x0": (4, 3, 32, 20)})["y0"] == TensorType((4, 8, 16, 10))
    assert infer_types(graph)["y0"].shape == (1, 8, 1, 1)


def test_given_shapes_are_checked():
    graph = one("relu", [(0, 3)])
    with pytest.raises(
        ShapeError, match=r"input 'x0' has shape \(2, 4\); the graph needs \(any, 3\)"
    ):
        infer_types(graph, {"x0": (2, 4)})
    with pytest.raises(ShapeError, match="has no input named z"):
        infer_types(graph, {"z": (2, 3)})


def test_int8_types_carry_their_scale():
    nodes = [
        Node("quantize", "q", ["x"], ["c"], {"scale": 0.1}),
        Node("max_pool", "p", ["c"], ["d"], {"kernel": [2, 2]}),
        Node("conv2d", "n", ["d", "w"], ["e"], {"out_scale": 0.3}),
        Node("sigmoid", "s", ["e"], ["f"]),
    ]
    weight = Constant(np.zeros((4, 3, 1, 1), np.int8), np.float32(0.5))
    types = infer_types(Graph([Input("x", (1, 3, 4, 4))], ["f"], nodes, {"w": weight}))
    tenth = float(np.float32(0.1))
    assert types["d"] == TensorType((1, 3, 3, 3), "int8", tenth)
    assert types["e"] == TensorType((1, 4, 3, 3), "int8", float(np.float32(0.3)))
    assert types["f"] == TensorType((1, 4, 3, 3))
    assert types["w"] == TensorType((4, 3, 1, 1), "int8", 0.5)


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (
            Node("concat", "n", ["c", "c"], ["y"]),
            "concatenates tensors of codes without an out_scale",
        ),
        (
            Node("pad", "n", ["c"], ["y"], {"width": [0, 1], "value": 1.0}),
            "only 0 keeps their scale",
        ),
    ],
)
def test_int8_misuse(node, message):
    quantize = Node("quantize", "q", ["x"], ["c"], {"scale": 0.1})
    graph = Graph([Input("x", (3,))], ["y"], [quantize, node], {})
    if node.op == "concat":
        node.attrs["axis"] = 0
    with pytest.raises(ShapeError, match=message):
        infer_types(graph)


def test_known_types_leave_out_what_opaque_nodes_hide():
    nodes = [
        Node("relu", "r", ["x"], ["a"]),
        Node("opaque", "nms", ["a"], ["b"], {"operator": "box_nms"}),
        Node("relu", "s", ["b"], ["c"]),
    ]
    graph = Graph([Input("x", (0, 3))], ["c"], nodes, {})
    assert set(known_types(graph)) == {"x", "a"}
    with pytest.raises(UnsupportedError, match=r"node 'nms' .*'box_nms' is not in the op table"):
        infer_types(graph)


def test_wrong_attributes_are_an_error_of_the_graph():
    with pytest.raises(GraphError, match=r"node 'node' .max_pool. has wrong inputs or attributes"):
        infer_types(one("max_pool", [(1, 1, 4, 4)], kernel=[2]))


def test_cost_in_multiply_accumulates():
    nodes = [
        Node("conv2d", "conv", ["x", "w"], ["a"], {"groups": 2, "pad": [1, 1, 1, 1]}),
        Node("conv_transpose2d", "up", ["a", "u"], ["b"], {"stride": [2, 2]}),
        Node("relu", "act", ["b"], ["c"]),
        Node("dense", "fc", ["c", "d"], ["e"]),
        Node("reshape", "view", ["e"], ["f"], {"shape": [-1, 5, 2]}),
        Node("matmul", "mm", ["f", "f"], ["g"], {"transpose_b": True}),
    ]
    constants = {"w": constant(8, 2, 3, 3), "u": constant(8, 3, 2, 2), "d": constant(10, 192)}
    graph = Graph([Input("x", (0, 4, 4, 4))], ["g"], nodes, constants)
    assert macs(graph, {"x": (2, 4, 4, 4)}) == {
        "conv": 2 * 8 * 16 * 2 * 9,
        "up": 2 * 8 * 16 * 3 * 4,
        "act": 0,
        "fc": 2 * 10 * 192,
        "view": 0,
        "mm": 2 * 5 * 5 * 2,
    }


def test_weight_statistics():
    quantized = Constant(np.array([[0, 3], [0, 0]], np.int8), np.float32(0.1), bits=4)
    plain = Constant(np.array([[0, 1.5], [2, 0], [1, 1]], np.float32))
    nodes = [
        Node("dense", "first", ["x", "w"], ["a"]),
        Node("relu", "act", ["a"], ["b"]),
        Node("dense", "second", ["b", "v"], ["c"]),
    ]
    graph = Graph([Input("x", (0, 2))], ["c"], nodes, {"w": quantized, "v": plain})
    first, second = weight_statistics(graph)
    assert (first.name, first.weights, first.nonzeros, first.bits) == ("first", 4, 1, 4)
    assert first.sparsity == 0.75
    assert (second.op, second.weight, second.shape, second.bits) == ("dense", "v", (3, 2), 32)
    assert second.nonzeros == 4
