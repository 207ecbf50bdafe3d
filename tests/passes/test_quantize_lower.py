"""Integers do what fake quantization simulated."""

from __future__ import annotations

import numpy as np
import pytest

from gluonzip.graph import Constant, Graph, Node, infer_types, interpret, validate
from gluonzip.passes import optimize
from gluonzip.passes.quantize import calibrate, insert_fake_quantize
from gluonzip.spec import PerChannel, WeightQuantization

PER_CHANNEL = WeightQuantization(granularity=PerChannel())


def simulate(graph: Graph, x: np.ndarray, **options) -> Graph:
    graph = optimize(graph)
    return insert_fake_quantize(graph, calibrate(graph, [x]), **options)


def assert_close(lowered: Graph, simulated: Graph, x: np.ndarray, mostly: float = 0.98) -> None:
    """Equal in most elements; where a tie fell the other way, off by what few steps make of it."""
    for got, want in zip(interpret(lowered, x), interpret(simulated, x), strict=True):
        assert got.dtype == want.dtype == np.float32
        assert got.shape == want.shape
        spread = np.abs(want).max()
        assert np.abs(got - want).max() <= 0.02 * spread
        assert np.mean(np.abs(got - want) <= 1e-5 * spread) >= mostly


@pytest.mark.parametrize("weights", [WeightQuantization(), PER_CHANNEL], ids=["tensor", "channel"])
def test_lowered_equals_simulated(network, sample, weights):
    x = sample(network)
    simulated = simulate(network, x, weights=weights)
    lowered = optimize(simulated)
    validate(lowered)
    infer_types(lowered, {"data": x.shape})
    assert lowered.outputs == network.outputs
    assert not any(node.op == "fake_quantize" for node in lowered.nodes)
    assert_close(lowered, simulated, sample(network, 3, seed=5), mostly=0.9)


def wrapped(graph: Graph, x: np.ndarray) -> Graph:
    """As traced from a wrapped network: each layer has quantizers of its own, nothing else has."""
    points = sorted({n.inputs[0] for n in graph.nodes if n.op in ("conv2d", "dense")})
    _, kept = interpret(graph, x, keep=points)
    graph = graph.copy()
    for count, node in enumerate([n for n in graph.nodes if n.op in ("conv2d", "dense")]):
        step = np.abs(kept[node.inputs[0]]).max() / 127 * (1 + 0.05 * count)
        for at, value in ((0, step), (1, np.abs(graph.constants[node.inputs[1]].data).max() / 127)):
            name = f"{node.name}_quantizer_{at}"
            graph.constants[f"{name}_scale"] = Constant(np.asarray(value, np.float32))
            quantizer = Node("fake_quantize", name, [node.inputs[at], f"{name}_scale"], [name])
            graph.nodes.insert(graph.nodes.index(node), quantizer)
            node.inputs[at] = name
    return graph


def test_wrapped_network_lowers_to_what_it_simulated(network, sample):
    simulated = wrapped(network, sample(network))
    lowered = optimize(simulated)
    validate(lowered)
    infer_types(lowered)
    layers = [n for n in lowered.nodes if n.op in ("conv2d", "dense")]
    types = infer_types(lowered)
    assert all(types[n.inputs[0]].dtype == "int8" for n in layers)
    assert all(lowered.constants[n.inputs[1]].quantized for n in layers)
    assert_close(lowered, simulated, sample(network, 3, seed=5), mostly=0.9)


def test_every_layer_of_a_residual_network_runs_in_int8(sample, networks):
    network = networks["residual"]()
    lowered = optimize(simulate(network, sample(network)))
    ops = [node.op for node in lowered.nodes]
    assert ops.count("quantize") == 1
    assert "dequantize" not in ops
    assert set(ops) == {"quantize", "conv2d", "global_avg_pool", "dense"}
    types = infer_types(lowered)
    for node in lowered.nodes:
        wanted = "float32" if node.output in lowered.outputs else "int8"
        assert types[node.output].dtype == wanted, node.name
    residuals = [n.inputs[3] for n in lowered.nodes if n.op == "conv2d" and len(n.inputs) > 3]
    assert len(residuals) == 2
    assert all(types[name].dtype == "int8" for name in residuals)
