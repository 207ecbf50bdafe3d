"""All passes together keep what a network computes, and leave their argument alone."""

from __future__ import annotations

import numpy as np
import pytest

from gluonzip.graph import Graph, Input, Node, interpret, to_text, validate
from gluonzip.passes import (
    eliminate,
    eliminate_dead,
    fold_batch_norm,
    fold_constants,
    fuse,
    optimize,
    recognize,
    simplify,
)

PASSES = [
    eliminate,
    eliminate_dead,
    fold_batch_norm,
    fold_constants,
    fuse,
    recognize,
    simplify,
    optimize,
]


@pytest.mark.parametrize("step", PASSES, ids=lambda f: f.__name__)
def test_a_pass_keeps_outputs_and_its_argument(step, network, sample):
    before = to_text(network)
    arrays = {name: c.data.copy() for name, c in network.constants.items()}
    after = step(network)
    assert to_text(network) == before
    for name, data in arrays.items():
        np.testing.assert_array_equal(network.constants[name].data, data)
    validate(after)
    assert after.outputs == network.outputs
    assert to_text(step(network)) == to_text(after), "not deterministic"
    x = sample(network, 3)
    for got, want in zip(interpret(after, x), interpret(network, x), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-4)


def test_optimize_is_idempotent(network):
    once = optimize(network)
    assert to_text(optimize(once)) == to_text(once)


def test_a_residual_network_becomes_convolutions_alone(networks):
    ops = [node.op for node in optimize(networks["residual"]()).nodes]
    assert ops == ["conv2d"] * 6 + ["global_avg_pool", "dense"]


def test_opaque_operators_live_through_it():
    nodes = [
        Node("identity", "drop", ["x"], ["a"]),
        Node("opaque", "nms", ["a"], ["b"], {"operator": "box_nms"}),
        Node("relu", "r", ["b"], ["y"]),
    ]
    after = optimize(Graph([Input("x", (0, 3))], ["y"], nodes, {}))
    assert [node.op for node in after.nodes] == ["opaque", "relu"]
    assert after.nodes[0].inputs == ["x"]
