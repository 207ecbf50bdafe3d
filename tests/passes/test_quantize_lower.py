"""Integers do what fake quantization simulated."""

from __future__ import annotations

import numpy as np
import pytest

from gluonzip.graph import Constant, Graph, Node, infer_types, interpret, validate
from gluonzip.passes import optimize, quantize_graph, simplify
from gluonzip.passes.quantize import calibrate, fake_quantize_weights, insert_fake_quantize, lower
from gluonzip.spec import ActivationQuantization, PerChannel, WeightQuantization

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


def wrapped(graph: Graph, x: np.ndarray, spread: float = 0.05) -> Graph:
    """As traced from a wrapped network: each layer has quantizers of its own, nothing else has;
    ``spread`` makes the scales of one tensor differ from layer to layer."""
    points = sorted({n.inputs[0] for n in graph.nodes if n.op in ("conv2d", "dense")})
    _, kept = interpret(graph, x, keep=points)
    graph = graph.copy()
    for count, node in enumerate([n for n in graph.nodes if n.op in ("conv2d", "dense")]):
        step = np.abs(kept[node.inputs[0]]).max() / 127 * (1 + spread * count)
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
        rectified = node.attrs.get("act") == "relu" or node.op == "global_avg_pool"
        codes = "uint8" if rectified else "int8"
        wanted = "float32" if node.output in lowered.outputs else codes
        assert types[node.output].dtype == wanted, node.name
    residuals = [n.inputs[3] for n in lowered.nodes if n.op == "conv2d" and len(n.inputs) > 3]
    assert len(residuals) == 2
    assert all(types[name].holds_codes for name in residuals)


def ops(graph: Graph) -> list[str]:
    return [node.op for node in graph.nodes]


def test_post_training_quantization_in_one_call(network, sample):
    x = sample(network, 4)
    lowered = quantize_graph(network, [x], PER_CHANNEL)
    validate(lowered)
    types = infer_types(lowered)
    for node in lowered.nodes:
        if node.op in ("conv2d", "dense"):
            assert types[node.inputs[0]].holds_codes
            assert lowered.constants[node.inputs[1]].quantized
    for got, want in zip(interpret(lowered, x), interpret(network, x), strict=True):
        error = np.abs(got - want)
        assert error.max() <= 0.15 * np.abs(want).max()
        assert error.mean() <= 0.03 * np.abs(want).max()


def test_weights_are_quantized_before_batch_norms_fold(networks, sample):
    network = networks["residual"]()
    first = network.constants[network.nodes[0].inputs[1]].data
    weight = next(iter(quantize_graph(network, [sample(network)]).constants.values()))
    scale = np.float32(np.abs(first).max() / 127)
    np.testing.assert_array_equal(weight.data, np.rint(first / scale))
    assert weight.scale.shape == (8,)


def test_wrapped_network_is_completed_at_its_own_scales(networks, sample):
    network = networks["residual"]()
    x = sample(network)
    traced = wrapped(network, x, spread=0)
    own = {float(c.data) for name, c in traced.constants.items() if name.endswith("_0_scale")}
    lowered = quantize_graph(traced, [x])
    assert ops(lowered) == ["quantize"] + ["conv2d"] * 6 + ["global_avg_pool", "dense"]
    scales = {t.scale for name, t in infer_types(lowered).items() if name not in lowered.constants}
    assert own <= scales


def test_wrapped_residual_edges_stay_float(networks, sample):
    network = networks["residual"]()
    lowered = optimize(wrapped(network, sample(network)))
    types = infer_types(lowered)
    residuals = [n.inputs[3] for n in lowered.nodes if n.op == "conv2d" and len(n.inputs) > 3]
    assert [types[name].dtype for name in residuals] == ["float32", "float32"]


def quantized(b, x: str, step: float) -> str:
    return b.node("fake_quantize", [x, b.constant(step)])


def test_tensor_of_two_scales_and_a_float_reader(builder, sample):
    b = builder(3, 6, 6)
    x = b.relu(b.conv(quantized(b, "data", 0.03), 3, 4))
    y = b.conv(quantized(b, x, 0.02), 4, 4)
    z = b.conv(quantized(b, x, 0.04), 4, 4)
    again = b.conv(quantized(b, x, 0.02), 4, 4)
    graph = fake_quantize_weights(b.done(y, z, again, b.node("sigmoid", [x])))
    lowered = optimize(graph)
    # One quantizer for the data, one for each scale of x; x itself stays float32.
    assert ops(lowered).count("quantize") == 3
    assert "out_scale" not in lowered.nodes[1].attrs
    assert_close(lowered, graph, sample(graph))


def test_quantizer_moves_through_pools_into_the_convolution(builder, sample):
    b = builder(3, 8, 8)
    x = b.pool(b.relu(b.conv(quantized(b, "data", 0.03), 3, 4)))
    x = b.node("transpose", [x], axes=[0, 1, 3, 2])
    graph = b.done(b.conv(quantized(b, x, 0.02), 4, 4))
    graph = fake_quantize_weights(graph)
    lowered = optimize(graph)
    assert ops(lowered) == ["quantize", "conv2d", "max_pool", "transpose", "conv2d"]
    assert lowered.nodes[1].attrs["out_scale"] == float(np.float32(0.02))
    assert_close(lowered, graph, sample(graph))


def test_quantizer_behind_a_concat_moves_into_its_branches(builder, sample):
    b = builder(3, 6, 6)
    data = quantized(b, "data", 0.03)
    x = b.node("concat", [b.conv(data, 3, 4), b.conv(data, 3, 2), data])
    graph = fake_quantize_weights(b.done(b.conv(quantized(b, x, 0.02), 9, 4)))
    lowered = optimize(graph)
    assert ops(lowered) == ["quantize", "conv2d", "conv2d", "concat", "conv2d"]
    step = float(np.float32(0.02))
    assert [n.attrs.get("out_scale") for n in lowered.nodes] == [None, step, step, step, None]
    assert_close(lowered, graph, sample(graph))


def test_concat_of_several_scales_without_a_quantizer_is_float(builder, sample):
    b = builder(3, 6, 6)
    x = b.node("concat", [quantized(b, "data", 0.03), quantized(b, "data", 0.05)])
    graph = b.done(b.node("tanh", [x]))
    lowered = optimize(graph)
    assert ops(lowered) == ["quantize", "quantize", "dequantize", "dequantize", "concat", "tanh"]
    assert_close(lowered, graph, sample(graph))


def test_int8_reader_without_integer_arithmetic_gets_real_values(builder, sample):
    b = builder(3, 6, 6)
    data = quantized(b, "data", 0.03)
    graph = b.done(b.node("softmax", [data]), b.node("mul", [data, data]), b.conv(data, 3, 2))
    graph = fake_quantize_weights(graph)
    lowered = optimize(graph)
    assert ops(lowered).count("dequantize") == 1
    assert_close(lowered, graph, sample(graph))


def test_quantized_output_is_dequantized_under_its_own_name(builder, sample):
    b = builder(3, 6, 6)
    out = quantized(b, b.relu(b.conv(quantized(b, "data", 0.03), 3, 4)), 0.02)
    graph = fake_quantize_weights(b.done(out, b.pool(out)))
    lowered = optimize(graph)
    assert lowered.outputs == graph.outputs
    assert ops(lowered) == ["quantize", "conv2d", "max_pool", "dequantize", "dequantize"]
    assert_close(lowered, graph, sample(graph))


def test_layer_with_a_float_weight_reads_real_values(builder, sample):
    b = builder(3, 6, 6)
    graph = b.done(b.conv(quantized(b, "data", 0.03), 3, 4))
    lowered = lower(graph)
    assert ops(lowered) == ["quantize", "dequantize", "conv2d"]
    assert_close(lowered, graph, sample(graph))


def test_activations_of_few_bits_stay_simulated(networks, sample):
    network = networks["lenet"]()
    x = sample(network)
    simulated = simulate(network, x, activations=ActivationQuantization(bits=4))
    lowered = optimize(simulated)
    assert ops(lowered).count("fake_quantize") == len(simulated.meta["quantization"]["activations"])
    assert_close(lowered, simulated, x)


def test_skipped_layer_stays_float(networks, sample):
    graph = simplify(networks["residual"]())
    x = sample(graph)
    skip = [graph.nodes[0].name]
    simulated = insert_fake_quantize(graph, calibrate(graph, [x], skip=skip), skip=skip)
    lowered = optimize(simulated)
    first = lowered.nodes[0]
    assert (first.op, first.inputs[0], first.attrs.get("out_scale")) == ("conv2d", "data", None)
    assert_close(lowered, simulated, x, mostly=0.9)
