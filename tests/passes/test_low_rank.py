"""Truncated decompositions: exact at full rank, the best at lower rank, and smaller."""

import numpy as np
import pytest

from gluonzip.errors import ConfigError, PatternError
from gluonzip.graph import interpret, validate
from gluonzip.graph.ir import Constant, Graph, Input, Node
from gluonzip.passes.low_rank import low_rank

RANDOM = np.random.default_rng(9)


def weights(*shape):
    return RANDOM.standard_normal(shape).astype(np.float32)


def conv(**attrs) -> Graph:
    nodes = [
        Node("conv2d", "c", ["x", "w", "b"], ["h"], attrs),
        Node("relu", "r", ["h"], ["y"]),
    ]
    constants = {"w": Constant(weights(8, 6, 3, 5)), "b": Constant(weights(8))}
    return Graph([Input("x", (0, 6, 9, 11))], ["y"], nodes, constants)


def dense(rank=None) -> Graph:
    weight = weights(30, 24) if rank is None else weights(30, rank) @ weights(rank, 24)
    nodes = [Node("dense", "fc", ["x", "w", "b"], ["y"])]
    constants = {"w": Constant(weight), "b": Constant(weights(30))}
    return Graph([Input("x", (0, 4, 6))], ["y"], nodes, constants)


X = {"c": weights(2, 6, 9, 11), "fc": weights(3, 4, 6)}


@pytest.mark.parametrize("scheme", ["channel", "spatial"])
@pytest.mark.parametrize(
    "attrs", [{}, {"stride": [2, 1], "pad": [1, 2, 0, 3]}, {"dilation": [2, 1], "pad": [2] * 4}]
)
def test_a_convolution_of_low_rank_is_rebuilt_exactly(scheme, attrs):
    graph = conv(**attrs)
    left = weights(8, 2) if scheme == "channel" else weights(8, 5, 2)
    right = weights(2, 6, 3, 5) if scheme == "channel" else weights(2, 6, 3)
    equation = "or,rihw->oihw" if scheme == "channel" else "owr,rih->oihw"
    graph.constants["w"] = Constant(np.einsum(equation, left, right).astype(np.float32))
    small, (record,) = low_rank(graph, rank=2, scheme=scheme)
    validate(small)
    assert record.rank == 2
    assert record.energy == pytest.approx(1)
    assert record.after == sum(c.data.size for n, c in small.constants.items() if n != "b")
    expected = interpret(graph, X["c"])[0]
    np.testing.assert_allclose(interpret(small, X["c"])[0], expected, rtol=1e-3, atol=1e-3)


def test_a_dense_layer_by_energy():
    graph = dense(rank=3)
    small, (record,) = low_rank(graph, energy=0.999999)
    assert (record.rank, record.full, record.before, record.after) == (3, 24, 720, 162)
    assert [n.name for n in small.nodes] == ["fc.first", "fc.second"]
    np.testing.assert_allclose(
        interpret(small, X["fc"])[0], interpret(graph, X["fc"])[0], rtol=1e-3, atol=1e-3
    )


def test_the_error_is_that_of_the_best_approximation():
    graph = dense()
    small, (record,) = low_rank(graph, rank=5)
    product = small.constants["fc.second.weight"].data @ small.constants["fc.first.weight"].data
    values = np.linalg.svd(graph.constants["w"].data, compute_uv=False)
    error = ((graph.constants["w"].data - product) ** 2).sum()
    assert error == pytest.approx((values[5:] ** 2).sum(), rel=1e-4)
    assert record.energy == pytest.approx((values[:5] ** 2).sum() / (values**2).sum())


def test_budget_is_a_share_of_the_weights():
    _, (record,) = low_rank(dense(), budget=0.5)
    assert record.rank == 6
    assert record.after <= 360 < record.after + 54


def test_layers_that_would_not_shrink_stay():
    small, (record,) = low_rank(dense(), energy=1.0)
    assert record.rank == 0
    assert "would take 1296 weights" in record.reason
    assert [n.name for n in small.nodes] == ["fc"]


def test_grouped_and_quantized_layers_stay():
    graph = conv(groups=2)
    graph.constants["w"] = Constant(weights(8, 3, 3, 5))
    assert low_rank(graph, rank=1)[1][0].reason == "grouped convolution"
    graph = dense()
    graph.constants["w"] = Constant(np.ones((30, 24), np.int8), np.float32(0.1))
    assert "not a float constant" in low_rank(graph, rank=1)[1][0].reason


def test_bad_arguments():
    with pytest.raises(ConfigError, match="exactly one of energy, rank and budget"):
        low_rank(dense())
    with pytest.raises(ConfigError, match="energy = 1.5 must be above 0 and at most 1"):
        low_rank(dense(), energy=1.5)
    with pytest.raises(ConfigError, match="rank = 0 must be a positive integer"):
        low_rank(dense(), rank=0)
    with pytest.raises(ConfigError, match="scheme = 'diagonal' is unknown"):
        low_rank(dense(), rank=1, scheme="diagonal")
    with pytest.raises(
        PatternError, match="'conv' matches no dense layer or convolution; there are fc"
    ):
        low_rank(dense(), rank=1, layers=["conv"])
