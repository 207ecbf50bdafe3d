"""What does nothing goes."""

from __future__ import annotations

import numpy as np
import pytest

from gluonzip.graph import Constant, Graph, Input, Node, interpret, validate
from gluonzip.passes import eliminate, eliminate_dead


def chain(*nodes: Node, output: str) -> Graph:
    weight = Constant(np.random.default_rng(0).normal(0, 1, (3, 8)).astype(np.float32))
    return Graph([Input("x", (0, 2, 2, 2))], [output], list(nodes), {"w": weight})


X = np.random.default_rng(1).normal(0, 1, (2, 2, 2, 2)).astype(np.float32)

CASES = {
    "dropout between": (
        [
            Node("relu", "r", ["x"], ["a"]),
            Node("identity", "drop", ["a"], ["b"]),
            Node("dense", "d", ["b", "w"], ["y"]),
        ],
        ["relu", "dense"],
    ),
    "dropout last": (
        [Node("dense", "d", ["x", "w"], ["a"]), Node("identity", "drop", ["a"], ["y"])],
        ["dense"],
    ),
    "identity of the input": ([Node("identity", "drop", ["x"], ["y"])], ["identity"]),
    "flatten before dense": (
        [Node("flatten", "f", ["x"], ["a"]), Node("dense", "d", ["a", "w"], ["y"])],
        ["dense"],
    ),
    "reshape before dense": (
        [
            Node("reshape", "f", ["x"], ["a"], {"shape": [0, -1]}),
            Node("flatten", "g", ["a"], ["b"]),
            Node("dense", "d", ["b", "w"], ["y"]),
        ],
        ["dense"],
    ),
    "flatten before dense that does not": (
        [
            Node("flatten", "f", ["x"], ["a"]),
            Node("dense", "d", ["a", "w"], ["y"], {"flatten": False}),
        ],
        ["flatten", "dense"],
    ),
    "flatten with another reader": (
        [
            Node("flatten", "f", ["x"], ["a"]),
            Node("dense", "d", ["a", "w"], ["b"]),
            Node("mean", "m", ["a"], ["c"], {"axes": [1], "keepdims": True}),
            Node("add", "s", ["b", "c"], ["y"]),
        ],
        ["flatten", "dense", "mean", "add"],
    ),
    "reshape to two axes": (
        [Node("reshape", "f", ["x"], ["y"], {"shape": [0, -1]})],
        ["flatten"],
    ),
    "adaptive pooling to one cell": (
        [Node("adaptive_avg_pool", "p", ["x"], ["y"], {"output": [1, 1]})],
        ["global_avg_pool"],
    ),
    "adaptive pooling to more": (
        [Node("adaptive_avg_pool", "p", ["x"], ["y"], {"output": [1, 2]})],
        ["adaptive_avg_pool"],
    ),
    "dead nodes": (
        [Node("relu", "r", ["x"], ["y"]), Node("sigmoid", "s", ["x"], ["z"])],
        ["relu"],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_eliminate(case):
    nodes, left = CASES[case]
    graph = chain(*nodes, output="y")
    short = eliminate(graph)
    validate(short)
    assert [node.op for node in short.nodes] == left
    assert short.outputs == ["y"]
    np.testing.assert_allclose(interpret(short, X)[0], interpret(graph, X)[0], rtol=1e-6)


def test_identity_between_two_outputs_stays():
    nodes = [Node("relu", "r", ["x"], ["a"]), Node("identity", "i", ["a"], ["y"])]
    graph = chain(*nodes, output="y")
    graph.outputs = ["a", "y"]
    assert [node.op for node in eliminate(graph).nodes] == ["relu", "identity"]


def test_eliminate_dead_drops_nodes_and_constants_only():
    nodes = [Node("identity", "i", ["x"], ["y"]), Node("dense", "d", ["x", "w"], ["z"])]
    short = eliminate_dead(chain(*nodes, output="y"))
    assert [node.op for node in short.nodes] == ["identity"]
    assert not short.constants
