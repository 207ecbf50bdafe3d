"""Ranges from data, quantizers from ranges."""

from __future__ import annotations

import numpy as np
import pytest

from gluonzip.errors import ConfigError, DataError, PatternError
from gluonzip.graph import interpret, validate
from gluonzip.passes import fold_constants, simplify
from gluonzip.passes.quantize import (
    activation_points,
    calibrate,
    fake_quantize_weights,
    insert_fake_quantize,
)
from gluonzip.spec import ActivationQuantization, PerChannel, WeightQuantization


@pytest.fixture
def graph(networks):
    return simplify(networks["inception"]())


def test_ranges_are_the_largest_magnitudes_over_all_batches(graph, sample):
    batches = [sample(graph, 2, seed) for seed in range(3)]
    points = activation_points(graph)
    _, kept = interpret(graph, np.concatenate(batches), keep=list(points))
    ranges = calibrate(graph, iter(batches))
    assert list(ranges) == list(points)
    for name, leader in points.items():
        members = [n for n, other in points.items() if other == leader]
        want = max(float(np.abs(kept[n]).max()) for n in members)
        assert ranges[name] == pytest.approx(want, rel=1e-5)


def test_another_runner_may_take_the_interpreters_place(graph, sample):
    calls = []

    def run(graph, batch, keep):
        calls.append(keep)
        return interpret(graph, batch, keep)

    ranges = calibrate(graph, [sample(graph)], run=run)
    assert set(calls[0]) == set(ranges)
    assert (
        ranges
        == calibrate(graph, [{"data": sample(graph)}])
        == calibrate(graph, [(sample(graph),)])
    )


def test_empty_calibration_data(graph):
    with pytest.raises(DataError, match="calibration data is empty; give at least one batch"):
        calibrate(graph, [])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_non_finite_data_names_batch_and_tensor(graph, sample, value):
    bad = sample(graph)
    bad[0, 0, 0, :2] = value
    with pytest.raises(
        DataError, match=r"batch 1: tensor 'data' has 2 non-finite values .* of 384"
    ):
        calibrate(graph, [sample(graph), bad])


def test_non_finite_activation_names_its_tensor(graph, sample):
    graph.constants[graph.nodes[0].inputs[1]].data[0] = np.inf
    name = graph.nodes[0].output
    with (
        np.errstate(invalid="ignore"),
        pytest.raises(DataError, match=f"batch 0: tensor '{name}' has .* non-finite"),
    ):
        calibrate(graph, [sample(graph)])


def test_an_empty_batch(graph):
    with pytest.raises(DataError, match="batch 0: tensor 'data' is empty"):
        calibrate(graph, [np.zeros((0, 3, 8, 8), np.float32)])


# ---------------------------------------------------------------- insertion
def test_one_quantizer_a_tensor_right_behind_its_producer(graph, sample):
    ranges = calibrate(graph, [sample(graph)])
    simulated = insert_fake_quantize(graph, ranges)
    validate(simulated)
    producers = simulated.producers()
    quantizers = [n for n in simulated.nodes if n.op == "fake_quantize"]
    of_activations = [n for n in quantizers if n.inputs[0] in ranges]
    assert [n.inputs[0] for n in of_activations] == list(ranges)
    for node in of_activations:
        at = simulated.nodes.index(node)
        before = producers.get(node.inputs[0])
        assert before is None or simulated.nodes[at - 1] is before
        assert simulated.consumers()[node.inputs[0]] == [node]
    scale = simulated.constants[of_activations[0].inputs[1]].data
    assert scale.dtype == np.float32
    assert float(scale) == np.float32(ranges["data"] / 127)


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("per_channel", [False, True])
def test_weight_scales(graph, bits, per_channel):
    config = WeightQuantization(
        bits, PerChannel() if per_channel else WeightQuantization().granularity
    )
    folded = fold_constants(fake_quantize_weights(graph, config))
    limit = 2 ** (bits - 1) - 1
    for before, after in zip(graph.nodes, folded.nodes, strict=True):
        if before.op not in ("conv2d", "dense"):
            continue
        data = graph.constants[before.inputs[1]].data
        weight = folded.constants[after.inputs[1]]
        assert weight.bits == bits
        largest = (
            np.abs(data).reshape(len(data), -1).max(axis=1) if per_channel else np.abs(data).max()
        )
        np.testing.assert_array_equal(
            weight.scale, (largest.astype(np.float64) / limit).astype("f")
        )
        assert np.abs(weight.data).max() == limit
        assert np.abs(weight.dense() - data).max() <= weight.scale.max() * 0.5001


def test_weight_of_zeros_gets_scale_one(graph):
    name = graph.nodes[0].inputs[1]
    graph.constants[name].data[:] = 0
    folded = fold_constants(fake_quantize_weights(graph))
    assert float(folded.constants[name].scale) == 1.0
    assert not folded.constants[name].data.any()


def test_activation_of_zeros_gets_scale_one(graph, sample):
    ranges = calibrate(graph, [np.zeros_like(sample(graph))])
    assert ranges["data"] == 0
    simulated = insert_fake_quantize(graph, ranges)
    assert float(simulated.constants["data_scale"].data) == 1.0


def test_record_of_what_was_quantized_and_what_not(graph, sample):
    first = graph.nodes[0].name
    ranges = calibrate(graph, [sample(graph)], skip=[first])
    simulated = insert_fake_quantize(
        graph, ranges, WeightQuantization(4, PerChannel()), ActivationQuantization(), skip=[first]
    )
    record = simulated.meta["quantization"]
    assert record["skipped"] == {first: "excluded by name"}
    layers = [n.name for n in graph.nodes if n.op in ("conv2d", "dense")]
    assert list(record["layers"]) == layers[1:]
    assert record["layers"][layers[1]] == {"bits": 4, "granularity": "per_channel"}
    assert record["activations"] == ranges
    assert "quantization" not in graph.meta
    assert simulated.constants[graph.nodes[0].inputs[1]].data.dtype == np.float32


def test_missing_unknown_and_unusable_ranges(graph, sample):
    ranges = calibrate(graph, [sample(graph)])
    with pytest.raises(ConfigError, match=r"no range for 1 activation\(s\): data; call calibrate"):
        insert_fake_quantize(graph, {k: v for k, v in ranges.items() if k != "data"})
    with pytest.raises(ConfigError, match="ranges name tensors that the graph lacks: elsewhere"):
        insert_fake_quantize(graph, {**ranges, "elsewhere": 1.0})
    with pytest.raises(ConfigError, match="the range of 'data' is nan"):
        insert_fake_quantize(graph, {**ranges, "data": float("nan")})


def test_non_finite_weight_names_the_layer(graph):
    node = graph.nodes[0]
    graph.constants[node.inputs[1]].data[0, 0, 0, 0] = np.nan
    with pytest.raises(DataError, match=f"layer '{node.name}': its weight has 1 non-finite"):
        fake_quantize_weights(graph)


def test_unknown_layer_to_skip(graph):
    with pytest.raises(PatternError, match=r"skip names no node .* conv9"):
        fake_quantize_weights(graph, skip=["conv9"])
