"""How the interpreter takes inputs, gives outputs and complains."""

from __future__ import annotations

import numpy as np
import pytest

from gluonzip.errors import GraphError, ShapeError, UnsupportedError
from gluonzip.graph import Constant, Graph, Input, Node, interpret


def two_inputs() -> Graph:
    return Graph(
        inputs=[Input("a", (0, 3)), Input("b", (0, 3))],
        outputs=["y", "half"],
        nodes=[
            Node("add", "sum", ["a", "b"], ["s"]),
            Node("mul", "product", ["s", "w"], ["y"]),
            Node("mul_scalar", "halve", ["s"], ["half"], {"value": 0.5}),
        ],
        constants={"w": Constant(np.array([1, 2, 3], np.float32))},
        name="two",
    )


A = np.ones((2, 3), np.float32)
B = np.full((2, 3), 2, np.float32)


@pytest.mark.parametrize(
    "inputs", [[A, B], (A, B), {"b": B, "a": A}], ids=["list", "tuple", "dict"]
)
def test_inputs_by_position_or_name(inputs):
    y, half = interpret(two_inputs(), inputs)
    np.testing.assert_array_equal(y, [[3, 6, 9]] * 2)
    np.testing.assert_array_equal(half, np.full((2, 3), 1.5))


def test_a_single_input_is_a_bare_array():
    graph = Graph([Input("x", (0,))], ["y"], [Node("relu", "r", ["x"], ["y"])], {})
    np.testing.assert_array_equal(interpret(graph, np.array([-1, 2], np.float32))[0], [0, 2])


def test_keep_returns_inputs_constants_and_what_lies_between():
    outputs, kept = interpret(two_inputs(), [A, B], keep=["s", "a", "w", "y"])
    assert set(kept) == {"s", "a", "w", "y"}
    np.testing.assert_array_equal(kept["s"], np.full((2, 3), 3))
    np.testing.assert_array_equal(kept["y"], outputs[0])


def test_keep_of_an_unknown_tensor():
    with pytest.raises(GraphError, match="graph 'two' has no tensor named nothing"):
        interpret(two_inputs(), [A, B], keep=["s", "nothing"])


def test_output_that_is_an_input_or_read_on():
    graph = two_inputs()
    graph.outputs = ["a", "s", "y", "s"]
    a, s, _, again = interpret(graph, [A, B])
    np.testing.assert_array_equal(a, A)
    np.testing.assert_array_equal(s, again)


def test_inputs_are_not_changed():
    a, b = A.copy(), B.copy()
    interpret(two_inputs(), [a, b])
    np.testing.assert_array_equal(a, A)
    np.testing.assert_array_equal(b, B)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ([A], r"1 arrays for 2 inputs \(a, b\)"),
        ({"a": A, "c": B}, "inputs are named a, b; got a, c"),
        ([A, B[:, :2]], r"input 'b' has shape \(2, 2\); the graph needs \(any, 3\)"),
        ([A, B[0]], r"input 'b' has shape \(3,\); the graph needs \(any, 3\)"),
        ([A, B[:0]], r"input 'b' has shape \(0, 3\)"),
        (
            [A, B.astype("float64")],
            r"input 'b' has dtype float64; the graph needs float32 \(use .ast",
        ),
    ],
)
def test_wrong_inputs(inputs, message):
    with pytest.raises(ShapeError, match=message):
        interpret(two_inputs(), inputs)


def test_shapes_that_do_not_fit_name_the_node():
    graph = two_inputs()
    graph.constants["w"] = Constant(np.ones(4, np.float32))
    with pytest.raises(
        ShapeError, match=r"node 'product' \(mul\): shapes \(2, 3\) and \(4,\) do not"
    ):
        interpret(graph, [A, B])


def test_opaque_operators_are_named():
    node = Node("opaque", "nms", ["x"], ["y"], {"operator": "box_nms"})
    graph = Graph([Input("x", (0,))], ["y"], [node], {})
    with pytest.raises(
        UnsupportedError, match="node 'nms': operator 'box_nms' is not in the op table"
    ):
        interpret(graph, np.ones(2, np.float32))


def test_unknown_operators_and_tensors():
    graph = two_inputs()
    graph.nodes[0].op = "frobnicate"
    with pytest.raises(GraphError, match="node 'sum': 'frobnicate' is not in the op table"):
        interpret(graph, [A, B])
    graph = two_inputs()
    graph.nodes[0].inputs[1] = "nowhere"
    with pytest.raises(GraphError, match="node 'sum' reads undefined tensor 'nowhere'"):
        interpret(graph, [A, B])
