"""Epilogues apart: the same answers up to the rounding that is written down."""

import numpy as np
import pytest

from gluonzip.graph import Constant, Graph, Input, Node, infer_types, interpret, validate
from gluonzip.passes.quantize import bare_sums, separate_epilogues
from gluonzip.passes.quantize.separate import non_negative, sums


def network(**tail):
    """Two integer convolutions; the second has the residual and attributes ``tail``."""
    rng = np.random.default_rng(3)
    codes = [rng.integers(-127, 128, (4, 4, 3, 3)).astype(np.int8) for _ in range(2)]
    constants = {f"w{i}": Constant(c, np.float32(0.002)) for i, c in enumerate(codes)}
    constants["b"] = Constant(rng.normal(size=4).astype(np.float32))
    residual = ["q1"] if tail.pop("residual", False) else []
    pad = {"pad": [1, 1, 1, 1]}
    nodes = [
        Node("quantize", "quantize", ["x"], ["q0"], {"scale": 0.03}),
        Node("conv2d", "first", ["q0", "w0"], ["q1"], {**pad, "act": "relu", "out_scale": 0.04}),
        Node("conv2d", "second", ["q1", "w1", "b", *residual], ["q2"], {**pad, **tail}),
        Node("dequantize" if "out_scale" in tail else "identity", "end", ["q2"], ["y"]),
    ]
    return Graph([Input("x", (0, 4, 6, 6))], ["y"], nodes, constants)


X = np.random.default_rng(4).normal(size=(2, 4, 6, 6)).astype(np.float32)
TAILS = [
    {"residual": True, "act": "relu", "out_scale": 0.05},
    {"residual": True, "out_scale": 0.05},
    {"residual": True, "act": "clip", "act_max": 3.0, "out_scale": 0.03},
    {"residual": True},
    {"act": "leaky_relu", "act_slope": 0.1, "out_scale": 0.04},
    {"act": "relu"},
    {},
]


@pytest.mark.parametrize("tail", TAILS, ids=str)
@pytest.mark.parametrize("measured", [False, True])
def test_answers_differ_by_a_rounding_at_most(tail, measured):
    graph = network(**tail)
    ranges = None
    if measured:
        total = interpret(bare_sums(graph), X, keep=("q2_sum",))[1]["q2_sum"]
        ranges = {"q2": float(np.abs(total).max())}
    apart = separate_epilogues(graph, ranges)
    validate(apart)
    types = infer_types(apart)
    layer = apart.node("second")
    assert len(layer.inputs) < 4
    assert layer.attrs.get("act", "none") != "leaky_relu"
    integer = measured or "out_scale" in tail
    assert (types[layer.output].dtype == "int8") == integer
    step = types[layer.output].scale or 0.0
    (wanted,), (got,) = interpret(graph, X), interpret(apart, X)
    bound = step + tail.get("out_scale", 0.0) + 1e-4
    assert np.abs(wanted - got).max() <= bound


@pytest.mark.parametrize("tail", TAILS, ids=str)
def test_bare_sums_answer_the_same(tail):
    graph = network(**tail)
    assert set(sums(graph)) == {"q2"}
    (wanted,), (got,) = interpret(graph, X), interpret(bare_sums(graph), X)
    np.testing.assert_allclose(got, wanted, atol=tail.get("out_scale", 0) * 1.01 + 1e-5)


def test_a_layer_whose_sum_is_rounded_already_stays():
    graph = network(act="relu", out_scale=0.05)
    assert sums(graph) == {}
    kept = separate_epilogues(graph)
    assert [n.attrs for n in kept.nodes] == [n.attrs for n in graph.nodes]


def test_signs():
    graph = network(residual=True, act="relu", out_scale=0.05)
    assert non_negative(graph) == {"q1", "q2", "y"}
    assert non_negative(network(residual=True, out_scale=0.05)) == {"q1"}
