"""simulate is the reverse of lower."""

import numpy as np
import pytest
from prune_graphs import TOPOLOGIES

from gluonzip.graph import Constant, Graph, Input, Node, infer_types, interpret, validate
from gluonzip.passes import optimize, quantize_graph
from gluonzip.passes.quantize import simulate
from gluonzip.passes.quantize.simulate import positive_scales
from gluonzip.spec import PerChannel, WeightQuantization


@pytest.mark.parametrize("make", TOPOLOGIES, ids=lambda f: f.__name__)
def test_float_again_and_integers_again(make):
    graph = make()
    rng = np.random.default_rng(0)
    (given,) = graph.inputs
    x = (
        rng.integers(0, 9, given.shape)
        if make.__name__ == "sequence"
        else rng.normal(size=given.shape)
    )
    x = x.astype(np.float32)
    integer = quantize_graph(graph, [x], WeightQuantization(8, PerChannel()))
    floats = simulate(integer)
    validate(floats)
    assert {t.dtype for t in infer_types(floats).values()} == {"float32"}
    assert not any(c.quantized for c in floats.constants.values())
    again = optimize(floats)
    kinds = [sorted(n.op for n in g.nodes) for g in (integer, again)]
    assert kinds[0] == kinds[1]
    wanted = interpret(integer, x)
    for other in (floats, again):
        for a, b in zip(wanted, interpret(other, x), strict=True):
            # A value between two codes may fall on either side; nothing more.
            assert np.abs(a - b).max() <= 0.02 * np.abs(a).max()


def test_scales_become_positive():
    codes = np.array([[3, -4], [5, 6], [7, 8]], np.int8)
    constant = Constant(codes, np.array([0.5, -0.25, 0.0], np.float32), axis=0)
    positive, scale = positive_scales(constant)
    assert (scale > 0).all()
    np.testing.assert_array_equal(Constant(positive, scale).dense(), constant.dense())


def test_an_output_that_is_dequantized_keeps_its_name():
    nodes = [
        Node("quantize", "q", ["x"], ["c"], {"scale": 0.5}),
        Node("dequantize", "d", ["c"], ["y"]),
    ]
    graph = simulate(Graph([Input("x", (0, 3))], ["y"], nodes, {}))
    assert [n.op for n in graph.nodes] == ["fake_quantize"]
    assert graph.outputs == ["y"] == graph.nodes[0].outputs
