"""The sign of a pruned weight's zero: not stored, never at the cost of anything that is read."""

from __future__ import annotations

import numpy as np
import pytest

from gluonzip import archive
from gluonzip.graph import interpret
from gluonzip.graph.ir import Constant, Graph, Input, Node

RANDOM = np.random.default_rng(0)
MASK = RANDOM.random((64, 256)) < 0.1
WEIGHT = RANDOM.standard_normal((64, 256)).astype(np.float32)


def dense(weight: np.ndarray, *more: Node, outputs=("y",)) -> Graph:
    node = Node("dense", "fc", ["x", "w"], ["y"])
    inputs = [Input("x", (0, weight.shape[1]))]
    return Graph(inputs, list(outputs), [node, *more], {"w": Constant(weight)})


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_zeros_of_either_sign_take_the_same_bytes(dtype):
    multiplied = (WEIGHT * MASK).astype(dtype)
    assert np.signbit(multiplied[multiplied == 0]).any()
    chosen = np.where(MASK, WEIGHT, 0).astype(dtype)
    assert archive.to_bytes(dense(multiplied)) == archive.to_bytes(dense(chosen))


def test_ninety_percent_zeros_leave_about_a_tenth_of_the_bytes():
    """A tenth of the values as they are, and half a bit for each place."""
    packed = len(archive.to_bytes(dense(WEIGHT * MASK)))
    assert packed < 1.05 * (4 * MASK.sum() + 0.47 * MASK.size / 8) + 100


def test_the_network_computes_the_same(read_both):
    graph = dense(WEIGHT * MASK)
    back = read_both(archive.to_bytes(graph))
    x = RANDOM.standard_normal((3, 256)).astype(np.float32)
    assert np.array_equal(interpret(graph, x)[0], interpret(back, x)[0])


def test_a_family_stores_weights_that_differ_in_the_sign_of_zero_once():
    graphs = {"a": dense(WEIGHT * MASK), "b": dense(np.where(MASK, WEIGHT, 0))}
    assert len(archive.inspect(archive.family_to_bytes(graphs)).sections) == 1


@pytest.mark.parametrize("use", ["input", "output", "residual"])
def test_what_is_not_only_a_weight_keeps_the_sign(read_both, use):
    more, outputs = [], ["y"]
    if use == "input":
        more, outputs = [Node("relu", "r", ["w"], ["z"])], ["y", "z"]
    elif use == "output":
        outputs = ["y", "w"]
    else:
        more, outputs = [Node("add", "a", ["w", "w"], ["z"])], ["y", "z"]
    weight = np.full((4, 8), -0.0, np.float32)
    back = read_both(archive.to_bytes(dense(weight, *more, outputs=outputs)))
    assert np.signbit(back.constants["w"].data).all()
