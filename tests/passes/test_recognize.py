"""Spelt-out activations get their name, and nothing else does."""

from __future__ import annotations

import numpy as np
import pytest

from gluonzip.graph import Graph, Input, Node, interpret, validate
from gluonzip.passes import recognize

X = np.linspace(-6, 6, 49, dtype=np.float32)


def spelt_out(low=0.0, high=6.0, shift=3.0, factor=1 / 6) -> list[Node]:
    return [
        Node("add_scalar", "shift", ["x"], ["a"], {"value": shift}),
        Node("clip", "clip", ["a"], ["b"], {"min": low, "max": high}),
        Node("mul_scalar", "sixth", ["b"], ["g"], {"value": factor}),
    ]


SWISH = [Node("sigmoid", "s", ["x"], ["g"]), Node("mul", "m", ["g", "x"], ["y"])]
CASES = {
    "hard_sigmoid": (spelt_out(), "g", ["hard_sigmoid"]),
    "float32 factor": (spelt_out(factor=float(np.float32(1 / 6))), "g", ["hard_sigmoid"]),
    "hard_swish": ([*spelt_out(), Node("mul", "m", ["x", "g"], ["y"])], "y", ["hard_swish"]),
    "swish": (SWISH, "y", ["swish"]),
    "another bound": (spelt_out(high=5.0), "g", ["add_scalar", "clip", "mul_scalar"]),
    "another shift": (spelt_out(shift=2.0), "g", ["add_scalar", "clip", "mul_scalar"]),
    "another factor": (spelt_out(factor=0.2), "g", ["add_scalar", "clip", "mul_scalar"]),
    "gate of something else": (
        [
            Node("square", "q", ["x"], ["z"]),
            Node("sigmoid", "s", ["z"], ["g"]),
            Node("mul", "m", ["x", "g"], ["y"]),
        ],
        "y",
        ["square", "sigmoid", "mul"],
    ),
    "gate that others read": (
        [*SWISH[:1], Node("mul", "m", ["g", "x"], ["b"]), Node("add", "t", ["b", "g"], ["y"])],
        "y",
        ["sigmoid", "mul", "add"],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_recognize(case):
    nodes, output, ops = CASES[case]
    graph = Graph([Input("x", (0,))], [output], nodes, {})
    after = recognize(graph)
    validate(after)
    assert [node.op for node in after.nodes] == ops
    assert after.outputs == [output]
    np.testing.assert_allclose(interpret(after, X)[0], interpret(graph, X)[0], rtol=1e-5, atol=1e-6)


def test_what_is_an_output_stays():
    graph = Graph([Input("x", (0,))], ["y", "g"], SWISH, {})
    assert [node.op for node in recognize(graph).nodes] == ["sigmoid", "mul"]
