"""Epilogues take what belongs to them and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from gluonzip.graph import Constant, Graph, Input, Node, interpret, validate
from gluonzip.passes import fuse

X = np.random.default_rng(1).normal(0, 1, (2, 4, 5, 5)).astype(np.float32)


def graph(*nodes: Node, outputs=("y",)) -> Graph:
    rng = np.random.default_rng(0)
    constants = {
        name: Constant(rng.normal(0, 1, (4, 4, 1, 1)).astype(np.float32)) for name in ("w", "v")
    }
    constants["c"] = Constant(rng.normal(0, 1, 4).astype(np.float32))
    constants["map"] = Constant(rng.normal(0, 1, (2, 4, 5, 5)).astype(np.float32))
    return Graph([Input("x", (0, 4, 5, 5))], list(outputs), list(nodes), constants)


def check(before: Graph, ops: list[str]) -> Graph:
    after = fuse(before)
    after.prune()
    validate(after)
    assert [node.op for node in after.nodes] == ops
    assert after.outputs == before.outputs
    for got, want in zip(interpret(after, X), interpret(before, X), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)
    return after


def conv(out: str = "a", x: str = "x", weight: str = "w", **attrs) -> Node:
    return Node("conv2d", f"conv_{out}", [x, weight], [out], attrs)


ACTIVATIONS = {
    "relu": Node("relu", "act", ["a"], ["y"]),
    "clip": Node("clip", "act", ["a"], ["y"], {"min": 0.0, "max": 6.0}),
    "leaky_relu": Node("leaky_relu", "act", ["a"], ["y"], {"slope": 0.1}),
}
LAYERS = {
    "conv2d": conv(),
    "conv_transpose2d": Node("conv_transpose2d", "l", ["x", "w"], ["a"]),
    "dense": Node("dense", "l", ["x", "d"], ["a"]),
    "scale_shift": Node("scale_shift", "l", ["x", "c", "c"], ["a"]),
    "add": Node("add", "l", ["x", "map"], ["a"]),
}


@pytest.mark.parametrize("act", ACTIVATIONS)
@pytest.mark.parametrize("layer", LAYERS)
def test_activation_into_layer(layer, act):
    before = graph(LAYERS[layer], ACTIVATIONS[act]).copy()
    before.constants["d"] = Constant(np.ones((3, 100), np.float32))
    after = check(before, [layer])
    assert after.nodes[0].attrs["act"] == act


def test_leaky_relu_of_default_slope():
    after = check(graph(conv(), Node("leaky_relu", "act", ["a"], ["y"])), ["conv2d"])
    assert after.nodes[0].attrs["act_slope"] == 0.25


UNFUSED = {
    "another reader": (
        [conv(), Node("relu", "r", ["a"], ["b"]), Node("sub", "s", ["a", "b"], ["y"])],
        ["conv2d", "relu", "sub"],
    ),
    "an activation already": (
        [conv(act="relu"), Node("clip", "r", ["a"], ["y"], {"min": 0.5, "max": 1.0})],
        ["conv2d", "clip"],
    ),
    "not an epilogue": ([conv(), Node("sigmoid", "r", ["a"], ["y"])], ["conv2d", "sigmoid"]),
    "behind a pool": (
        [
            conv(),
            Node("max_pool", "p", ["a"], ["b"], {"kernel": [2, 2]}),
            Node("relu", "r", ["b"], ["y"]),
        ],
        ["conv2d", "max_pool", "relu"],
    ),
    "added to itself": ([conv(), Node("add", "s", ["a", "a"], ["y"])], ["conv2d", "add"]),
    "added to a constant": ([conv(), Node("add", "s", ["a", "map"], ["y"])], ["conv2d", "add"]),
    "broadcast": (
        [
            conv(),
            Node("global_avg_pool", "g", ["x"], ["m"]),
            Node("add", "s", ["a", "m"], ["y"]),
        ],
        ["conv2d", "global_avg_pool", "add"],
    ),
    "added after an activation": (
        [conv(act="relu"), Node("add", "s", ["a", "x"], ["y"])],
        ["conv2d", "add"],
    ),
}


@pytest.mark.parametrize("case", UNFUSED)
def test_left_unfused(case):
    nodes, ops = UNFUSED[case]
    check(graph(*nodes).copy(), ops)


def test_output_of_the_graph_is_not_swallowed():
    nodes = [conv(), Node("relu", "r", ["a"], ["y"])]
    check(graph(*nodes, outputs=["a", "y"]), ["conv2d", "relu"])


@pytest.mark.parametrize("operands", [["a", "x"], ["x", "a"]])
def test_residual_addition_then_activation(operands):
    nodes = [conv(), Node("add", "s", operands, ["b"]), Node("relu", "r", ["b"], ["y"])]
    after = check(graph(*nodes), ["conv2d"])
    assert after.nodes[0].inputs == ["x", "w", "", "x"]
    assert after.nodes[0].attrs["act"] == "relu"


def test_the_later_of_two_convolutions_adds():
    nodes = [conv("a"), conv("b", weight="v"), Node("add", "s", ["a", "b"], ["y"])]
    after = check(graph(*nodes), ["conv2d", "conv2d"])
    assert after.nodes[1].name == "conv_b"
    assert after.nodes[1].inputs == ["x", "v", "", "a"]


def test_a_convolution_moves_behind_the_other_operand():
    nodes = [
        conv("a"),
        Node("sigmoid", "s1", ["x"], ["b"]),
        Node("add", "s", ["a", "b"], ["t"]),
        Node("tanh", "last", ["t"], ["y"]),
    ]
    after = check(graph(*nodes), ["sigmoid", "conv2d", "tanh"])
    assert after.nodes[1].inputs[3] == "b"


def test_chain_of_additions():
    nodes = [
        conv("a"),
        Node("add", "s1", ["a", "x"], ["b"]),
        conv("m", "b", "v"),
        Node("add", "s2", ["m", "b"], ["d"]),
        Node("relu", "r", ["d"], ["y"]),
    ]
    after = check(graph(*nodes), ["conv2d", "conv2d"])
    assert after.nodes[1].inputs == ["b", "v", "", "b"]


def test_of_three_terms_one_stays_an_addition():
    nodes = [
        conv("a"),
        conv("b", weight="v"),
        Node("add", "s1", ["a", "b"], ["t"]),
        Node("add", "s2", ["t", "x"], ["y"]),
    ]
    check(graph(*nodes), ["conv2d", "conv2d", "add"])
