"""Balanced channels: the same outputs, and channels that fill their tensor's range."""

import numpy as np
import pytest

from gluonzip.graph import Constant, Graph, Input, Node, interpret
from gluonzip.passes.quantize.balance import SMALLEST, balance, channel_peaks


def network(act="relu", residual=True, seed=0):
    """conv - depthwise - conv (+ residual) - max pool - flatten - dense; uneven channels."""
    rng = np.random.default_rng(seed)
    spread = np.exp(rng.normal(0, 0.8, (6, 1, 1, 1)))
    arrays = {
        "w1": rng.normal(size=(6, 2, 3, 3)) * spread,
        "b1": rng.normal(size=6),
        "w2": rng.normal(size=(6, 1, 3, 3)),
        "w3": rng.normal(size=(6, 6, 1, 1)),
        "b3": rng.normal(size=6),
        "w4": rng.normal(size=(3, 6 * 4)),
    }
    pad, clip = {"pad": [1, 1, 1, 1]}, {"act_min": 0.0, "act_max": 6.0} if act == "clip" else {}
    nodes = [
        Node("conv2d", "c1", ["data", "w1", "b1"], ["x1"], {**pad, "act": act, **clip}),
        Node("conv2d", "c2", ["x1", "w2"], ["x2"], {**pad, "groups": 6, "act": act, **clip}),
        Node("conv2d", "c3", ["x2", "w3", "b3", *(["x1"] if residual else [])], ["x3"], {}),
        Node("max_pool", "pool", ["x3"], ["x4"], {"kernel": [2, 2], "stride": [2, 2]}),
        Node("flatten", "flat", ["x4"], ["x5"]),
        Node("dense", "fc", ["x5", "w4"], ["y"]),
    ]
    constants = {k: Constant(v.astype(np.float32)) for k, v in arrays.items()}
    return Graph([Input("data", (0, 2, 4, 4))], ["y"], nodes, constants)


@pytest.fixture
def x():
    return np.random.default_rng(1).normal(size=(8, 2, 4, 4)).astype(np.float32)


def changed(before, after):
    return {n for n, c in before.constants.items() if (c.data != after.constants[n].data).any()}


@pytest.mark.parametrize("act", ["relu", "none", "clip"])
@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_outputs_stay_the_same_on_the_data(act, residual, strength, x):
    graph = network(act, residual)
    after = balance(graph, channel_peaks(graph, [x[:4], x[4:]]), strength)
    assert changed(graph, after) == set(graph.constants)
    np.testing.assert_allclose(interpret(after, x)[0], interpret(graph, x)[0], rtol=1e-3, atol=1e-3)


def test_channels_fill_the_range_of_their_tensor(x):
    graph = network(residual=False)
    after = balance(graph, channel_peaks(graph, [x]))
    _, kept = interpret(after, x, keep=["x1", "x2", "x3"])
    for name, values in kept.items():
        peaks = np.abs(values).max(axis=(0, 2, 3))
        small = peaks < 0.99 * peaks.max()
        assert not small.any(), name


def test_added_tensors_share_their_factors(x):
    graph = network()
    after = balance(graph, channel_peaks(graph, [x]))
    factors = [
        (graph.constants[name].data / after.constants[name].data).ravel() for name in ("b1", "b3")
    ]
    np.testing.assert_allclose(*factors, rtol=1e-5)
    assert factors[0].max() <= 1.0001
    assert factors[0].min() < 0.9


def test_a_clip_saturates_what_the_data_did_not_reach(x):
    """Beyond the data, values saturate where the channel's largest one of the data was."""
    graph = network("clip", residual=False)
    low = x / 4
    after = balance(graph, channel_peaks(graph, [low]))
    (peak,) = interpret(graph, low, keep=["x1"])[1].values()
    limits = peak.max(axis=(0, 2, 3)) / peak.max()
    (found,) = interpret(after, 100 * x, keep=["x1"])[1].values()
    real = found.max(axis=(0, 2, 3)) * np.maximum(limits, SMALLEST)
    np.testing.assert_allclose(real, 6 * np.maximum(limits, SMALLEST), rtol=1e-4)


def test_what_others_read_stays(x):
    graph = network(residual=False)
    graph.nodes[2] = Node("conv2d", "c3", ["x1", "w3", "b3"], ["x3"])  # c2's output is an output
    graph.outputs = ["y", "x2"]
    after = balance(graph, channel_peaks(graph, [x]))
    assert "w2" in changed(graph, after)  # its inputs are scaled
    for one, other in zip(interpret(graph, x), interpret(after, x), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("op", ["sigmoid", "softplus"])
def test_no_factor_passes_other_functions(op, x):
    graph = network("none", residual=False)
    graph.nodes.insert(1, Node(op, "f", ["x1"], ["f1"]))
    graph.nodes[2].inputs[0] = "f1"
    after = balance(graph, channel_peaks(graph, [x]))
    assert "w1" not in changed(graph, after)
    np.testing.assert_allclose(interpret(graph, x)[0], interpret(after, x)[0], rtol=1e-3, atol=1e-3)


def test_dead_channels_and_shared_weights(x):
    graph = network(residual=False)
    graph.constants["w1"].data[2] = 0
    graph.constants["b1"].data[2] = -1  # never above zero
    after = balance(graph, channel_peaks(graph, [x]))
    assert all(np.isfinite(c.data).all() for c in after.constants.values())
    np.testing.assert_array_equal(after.constants["w1"].data[2], 0)
    graph.nodes.append(Node("conv2d", "again", ["x2", "w3"], ["z"]))
    graph.outputs = ["y", "z"]
    assert "w3" not in changed(graph, balance(graph, channel_peaks(graph, [x])))
