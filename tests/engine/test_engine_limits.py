"""Graphs that no network needs, as an archive from anyone may hold: refused by name, or run."""

from __future__ import annotations

import numpy as np
import pytest
from engine_graphs import check, image, one_node

from gluonzip.errors import GluonzipError, GraphError, ShapeError, UnsupportedError
from gluonzip.graph import Constant, Graph, Input, Node
from gluonzip.runtime import Engine


def test_a_long_chain_runs():
    """Neither the stack nor quadratic time stands in the way of 3,000 nodes behind a flatten."""
    nodes = [Node("flatten", "f", ["x"], ["t0"])]
    for i in range(3000):
        op = ("relu", "identity", "negative")[i % 3]
        nodes.append(Node(op, f"n{i}", [f"t{i}"], [f"t{i + 1}"]))
    graph = Graph([Input("x", (2, 3, 2, 2))], ["t3000"], nodes, {})
    check(graph, image(np.random.default_rng(0), 2, 3, 2, 2), exact=True)


def test_an_output_used_twice_and_an_input_given_out():
    nodes = [Node("relu", "r", ["x"], ["y"])]
    graph = Graph([Input("x", (2, 6))], ["y", "x", "y"], nodes, {})
    check(graph, image(np.random.default_rng(0), 2, 6), exact=True)


def test_sums_that_do_not_fit_32_bits_are_refused():
    w = Constant(np.ones((1, 140_000), "int8"), scale=np.float32(1))
    with pytest.raises(UnsupportedError, match=r"dense 'node'.*sums of 140000 products"):
        Engine.from_graph(one_node("dense", [(1, 140_000)], {"w": w}, {}, (1.0,)))


def test_a_weight_of_integers_without_a_scale_is_refused():
    w = Constant(np.ones((4, 8), "int32"))
    with pytest.raises(GluonzipError, match=r"'w'"):
        Engine.from_graph(one_node("dense", [(1, 8)], {"w": w}))


@pytest.mark.parametrize(
    ("op", "attrs", "message"),
    [
        ("upsample", {"factor": 0}, "upsample 'node': factor is 0"),
        ("max_pool", {"kernel": [2, 0]}, "'kernel' holds 0, must be at least 1"),
        ("max_pool", {"kernel": [2, 2], "pad": [0, 0, -1, 0]}, "'pad' holds -1"),
    ],
)
def test_attributes_out_of_range_are_named(op, attrs, message):
    with pytest.raises((GraphError, ShapeError), match=message):
        Engine.from_graph(one_node(op, [(1, 3, 4, 4)], {}, attrs))


def test_an_output_too_large_for_memory_is_refused_at_load():
    with pytest.raises(ShapeError, match=r"upsample 'node'.*too large"):
        Engine.from_graph(one_node("upsample", [(1, 3, 4, 4)], {}, {"factor": 100_000}))
