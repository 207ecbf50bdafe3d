"""Scales per group, ternary and binary weights: against formulas written out here."""

import numpy as np
import pytest

from gluonzip.errors import ConfigError, DataError, GraphError, UnsupportedError
from gluonzip.graph import Constant, Graph, Input, Node, interpret, validate
from gluonzip.passes import fold_batch_norm, optimize, quantize_graph
from gluonzip.passes.quantize import fake_quantize_weights, simulate
from gluonzip.passes.quantize.rounding import quantize_weights
from gluonzip.passes.quantize.schemes import quantized_codes, weight_scale
from gluonzip.spec import (
    DYNAMIC,
    WEIGHT_ONLY,
    Binary,
    PerChannel,
    PerGroup,
    PerTensor,
    Ternary,
    WeightQuantization,
)


def layer(weight, op="conv2d", name="conv"):
    rank = weight.ndim
    shape = (0, weight.shape[1], *(8,) * (rank - 2))
    nodes = [Node(op, name, ["x", "w"], ["y"])]
    return Graph([Input("x", shape)], ["y"], nodes, {"w": Constant(weight)})


def integers(weight, what, op="conv2d"):
    """The weight after the passes: codes and scales."""
    return optimize(fake_quantize_weights(layer(weight, op), what)).constants["w"]


@pytest.fixture
def rng():
    return np.random.default_rng(5)


# ---------------------------------------------------------------- per group
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_per_group_rounds_each_group_with_its_own_scale(rng, bits):
    weight = (rng.standard_normal((6, 4, 3, 3)) * np.exp(rng.standard_normal((6, 4, 3, 3)))).astype(
        "float32"
    )
    found = integers(weight, WeightQuantization(bits, PerGroup(12)))
    assert found.scale.shape == (6, 3)
    limit = 2 ** (bits - 1) - 1
    for channel, row in enumerate(weight.reshape(6, 36)):
        for group in range(3):
            part = row[12 * group : 12 * group + 12]
            step = np.float32(np.abs(part).max() / limit)
            np.testing.assert_allclose(found.scale[channel, group], step, rtol=1e-6)
            codes = found.data.reshape(6, 36)[channel, 12 * group : 12 * group + 12]
            np.testing.assert_array_equal(codes, np.rint(part * (np.float32(1) / step)))
    real = found.data.reshape(6, 3, 12) * found.scale[:, :, None]
    np.testing.assert_array_equal(found.dense().reshape(6, 3, 12), real)


def test_groups_of_a_transposed_convolution_follow_its_outputs(rng):
    weight = rng.standard_normal((8, 3, 2, 2)).astype("float32")
    found = integers(weight, WeightQuantization(8, PerGroup(16)), "conv_transpose2d")
    rows = weight.transpose(1, 0, 2, 3).reshape(3, 2, 16)
    np.testing.assert_allclose(found.scale, np.abs(rows).max(axis=2) / 127, rtol=1e-6)
    np.testing.assert_allclose(found.dense(), weight, atol=found.scale.max())


def test_finer_groups_are_closer(rng):
    weight = (rng.standard_normal((8, 64)) * np.exp(2 * rng.standard_normal((8, 64)))).astype("f4")
    errors = [
        np.square(integers(weight, WeightQuantization(4, g), "dense").dense() - weight).sum()
        for g in (PerTensor(), PerChannel(), PerGroup(16), PerGroup(4))
    ]
    assert errors == sorted(errors, reverse=True)


def test_groups_that_do_not_divide_name_layer_and_numbers(rng):
    weight = rng.standard_normal((4, 5, 3, 3)).astype("float32")
    message = "layer 'conv': groups of 32 do not divide the 45 input weights"
    with pytest.raises(ConfigError, match=message):
        fake_quantize_weights(layer(weight), WeightQuantization(4, PerGroup(32)))
    with pytest.raises(ConfigError, match=r"use 5, 9, 15, 45"):
        quantize_weights(layer(weight), WeightQuantization(4, PerGroup(32)))


@pytest.mark.parametrize("size", [0, -4, 2.0, True])
def test_size_of_groups(size):
    with pytest.raises(ConfigError, match="groups of"):
        PerGroup(size)


def test_batch_norm_multiplies_the_scales_of_all_groups(rng):
    weight = rng.standard_normal((4, 2, 3, 3)).astype("float32")
    graph = layer(weight)
    for name, values in zip(
        ("gamma", "beta", "mean"), rng.standard_normal((3, 4)).astype("f4"), strict=True
    ):
        graph.constants[name] = Constant(values)
    graph.constants["var"] = Constant(np.abs(rng.standard_normal(4)).astype("f4"))
    graph.nodes[0].outputs = ["c"]
    graph.nodes.append(Node("batch_norm", "bn", ["c", "gamma", "beta", "mean", "var"], ["y"]))
    graph = fake_quantize_weights(graph, WeightQuantization(4, PerGroup(6)))
    x = rng.standard_normal((2, 2, 8, 8)).astype("float32")
    folded = optimize(graph)
    assert [node.op for node in folded.nodes] == ["conv2d"]
    assert folded.constants["w"].scale.shape == (4, 3)
    np.testing.assert_allclose(
        interpret(folded, x)[0], interpret(graph, x)[0], rtol=1e-4, atol=1e-4
    )
    np.testing.assert_array_equal(
        fold_batch_norm(folded).constants["w"].data, folded.constants["w"].data
    )


def test_layers_per_group_take_float_inputs(rng):
    """A quantizer before them would only lose: their products are of real values."""
    weight = rng.standard_normal((4, 2, 3, 3)).astype("float32")
    x = rng.standard_normal((2, 2, 8, 8)).astype("float32")
    graph = quantize_graph(layer(weight), [x], WeightQuantization(4, PerGroup(6)))
    assert [node.op for node in graph.nodes] == ["conv2d"]


def test_pruned_inputs_and_groups_do_not_mix(rng):
    from gluonzip.passes import prune

    weight = rng.standard_normal((4, 2, 3, 3)).astype("float32")
    graph = layer(weight)
    graph.constants["v"] = Constant(rng.standard_normal((3, 4, 3, 3)).astype("float32"))
    graph.nodes.append(Node("conv2d", "second", ["y", "v"], ["z"]))
    graph.outputs = ["z"]
    quantized = optimize(fake_quantize_weights(graph, WeightQuantization(4, PerGroup(6))))
    with pytest.raises(UnsupportedError, match="prune first, then quantize per group"):
        prune.shrink(prune.select(quantized, ratio=0.5, round_to=1))


# ---------------------------------------------------------------- ternary
def twn(part, share=0.7):
    """Equations 5 and 6 of arXiv:1605.04711."""
    border = share * np.abs(part).mean()
    chosen = np.abs(part) > border
    scale = np.abs(part)[chosen].sum() / chosen.sum()
    return np.sign(part) * chosen, scale


@pytest.mark.parametrize("granularity", [PerTensor(), PerChannel(), PerGroup(9)])
def test_ternary_is_twn(rng, granularity):
    weight = rng.standard_normal((5, 2, 3, 3)).astype("float32")
    found = integers(weight, Ternary(granularity))
    rows = {PerTensor(): 1, PerChannel(): 5}.get(granularity, 10)
    for row, codes, scale in zip(
        weight.reshape(rows, -1), found.data.reshape(rows, -1), found.scale.ravel(), strict=True
    ):
        wanted, mean = twn(row.astype(np.float64))
        np.testing.assert_array_equal(codes, wanted)
        np.testing.assert_allclose(scale, mean, rtol=1e-6)
    assert found.bits == 2


def test_scale_of_ternary_weights_is_the_best_for_their_codes(rng):
    """Least squares over the scale, by brute force."""
    weight = rng.standard_normal(400).astype("float32").reshape(20, 20)
    codes, scale = quantized_codes(weight, Ternary(), None, "fc")
    error = np.square(weight - codes * scale).sum()
    for other in np.linspace(0.5, 1.5, 1001) * scale:
        assert np.square(weight - codes * other).sum() >= error * (1 - 1e-6)


def test_threshold_of_ternary_weights(rng):
    weight = rng.standard_normal((8, 32)).astype("float32")
    zeros = [
        (integers(weight, Ternary(threshold=t), "dense").data == 0).mean() for t in (0, 0.7, 2)
    ]
    assert zeros[0] == 0
    assert zeros == sorted(zeros)
    with pytest.raises(ConfigError, match="threshold = -1"):
        Ternary(threshold=-1)


# ---------------------------------------------------------------- binary
@pytest.mark.parametrize("granularity", [PerTensor(), PerChannel(), PerGroup(9)])
def test_binary_is_xnor_net(rng, granularity):
    weight = rng.standard_normal((5, 2, 3, 3)).astype("float32")
    weight[0, 0, 0, 0] = 0
    found = integers(weight, Binary(granularity))
    np.testing.assert_array_equal(found.data, np.where(weight < 0, -1, 1))
    rows = {PerTensor(): 1, PerChannel(): 5}.get(granularity, 10)
    means = np.abs(weight.reshape(rows, -1).astype(np.float64)).mean(axis=1)
    np.testing.assert_allclose(found.scale.ravel(), means, rtol=1e-6)
    assert found.bits == 1


def test_no_binary_weight_and_scale_are_closer(rng):
    """The sign and the mean are the least-squares optimum over all codes and scales: brute force
    over the 2^8 codes of a short row, each with its own best scale."""
    row = rng.standard_normal(8).astype("float32")
    codes, scale = quantized_codes(row.reshape(1, 8), Binary(), 0, "fc")
    error = np.square(row - codes[0] * scale[0]).sum()
    every = 1 - 2 * ((np.arange(256)[:, None] >> np.arange(8)) & 1)
    best = every @ row / 8
    assert np.square(row - every * best[:, None]).sum(axis=1).min() >= error * (1 - 1e-5)


def test_constants_of_one_bit_hold_no_zero():
    graph = layer(np.ones((2, 2), "f4"), "dense")
    graph.constants["w"] = Constant(
        np.array([[1, 0], [-1, 1]], np.int8), np.array([1, 2], "f4"), bits=1
    )
    with pytest.raises(GraphError, match="holds codes of 0; binary ones are -1 and 1"):
        validate(graph)


@pytest.mark.parametrize(
    "what", [Ternary(), Ternary(PerChannel()), Binary(), WeightQuantization(3, PerGroup(9))]
)
def test_simulation_and_back(rng, what):
    weight = rng.standard_normal((5, 2, 3, 3)).astype("float32")
    graph = optimize(fake_quantize_weights(layer(weight), what))
    before = graph.constants["w"]
    signs = np.array([1, -1, 1, 1, -1], "f4")  # as a folded batch norm leaves them
    scale = before.scale * signs.reshape(-1, *[1] * (before.scale.ndim - 1))
    graph.constants["w"] = Constant(before.data, scale.astype("f4"), 0, before.bits)
    after = optimize(simulate(graph)).constants["w"]
    np.testing.assert_array_equal(after.dense(), graph.constants["w"].dense())
    assert after.bits == before.bits


# ---------------------------------------------------------------- bad input
SCHEMES = [
    WeightQuantization(),
    WeightQuantization(2, PerGroup(9)),
    Ternary(),
    Ternary(PerChannel()),
    Binary(),
    Binary(PerTensor()),
]


@pytest.mark.parametrize("what", SCHEMES)
def test_zeros_stay_zeros(what):
    weight = np.zeros((4, 2, 3, 3), "float32")
    assert not integers(weight, what).dense().any()
    weight[1] = 0.5
    found = integers(weight, what).dense()
    assert not found[0].any() or isinstance(what.granularity, PerTensor)
    assert np.isfinite(found).all()


@pytest.mark.parametrize("what", SCHEMES)
@pytest.mark.parametrize("value", [1e30, -1e30, 1e-42, 3.0])
def test_constant_weights_of_any_size(what, value):
    found = integers(np.full((4, 2, 3, 3), value, "float32"), what)
    validate(layer(found.dense()))
    if abs(value) > 1e-30:
        np.testing.assert_allclose(found.dense(), value, rtol=1e-6)
    else:  # below every normal step
        assert np.abs(found.dense()).max() <= 1e-30


@pytest.mark.parametrize("what", SCHEMES)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite(what, bad):
    weight = np.ones((4, 2, 3, 3), "float32")
    weight[1, 1, 1, 1] = bad
    with pytest.raises(DataError, match=r"layer 'conv': its weight has 1 non-finite .* of 72"):
        fake_quantize_weights(layer(weight), what)


@pytest.mark.parametrize("bits", [0, 1, 9, 2.0, True])
def test_bits_outside_the_range(bits):
    with pytest.raises(ConfigError, match="use an integer from 2 to 8"):
        WeightQuantization(bits)


def test_empty_axis():
    assert weight_scale(np.zeros((3, 0), "f4"), WeightQuantization(), 0, "fc").tolist() == [1, 1, 1]


# ---------------------------------------------------------------- activations
@pytest.mark.parametrize("op", ["conv2d", "dense"])
def test_dynamic_is_the_formula(rng, op):
    weight = rng.standard_normal((4, 2, 3, 3)[: 4 if op == "conv2d" else 2]).astype("float32")
    x = (3 * rng.standard_normal((2, *layer(weight, op).inputs[0].shape[1:]))).astype("float32")
    graph = quantize_graph(layer(weight, op), [], WeightQuantization(8, PerChannel()), DYNAMIC)
    assert [(n.op, n.attrs.get("dynamic")) for n in graph.nodes] == [(op, True)]
    sx = np.float32(np.abs(x).max()) / np.float32(127)
    codes = np.rint(np.clip(x * (np.float32(1) / sx), -127, 127)).astype(np.int64)
    w = graph.constants["w"]
    if op == "dense":
        sums = codes @ w.data.astype(np.int64).T
    else:
        windows = np.lib.stride_tricks.sliding_window_view(codes, (3, 3), axis=(2, 3))
        sums = np.einsum("ncyxij,ocij->noyx", windows, w.data.astype(np.int64))
    m = (np.float64(sx) * w.scale.astype(np.float64)).astype(np.float32)
    m = m.reshape(1, -1, *[1] * (sums.ndim - 2))
    np.testing.assert_array_equal(interpret(graph, x)[0], sums.astype(np.float32) * m)


def test_dynamic_needs_no_data_and_skips_what_it_is_told(rng):
    weight = rng.standard_normal((4, 2, 3, 3)).astype("float32")
    graph = quantize_graph(layer(weight), [], activations=DYNAMIC, skip=["conv"])
    assert "dynamic" not in graph.nodes[0].attrs
    assert not graph.constants["w"].quantized
    assert graph.meta["quantization"]["skipped"] == {"conv": "excluded by name"}


def test_weight_only_leaves_activations_alone(rng):
    weight = rng.standard_normal((4, 2, 3, 3)).astype("float32")
    graph = quantize_graph(layer(weight), [], activations=WEIGHT_ONLY)
    assert [node.op for node in graph.nodes] == ["conv2d"]
    assert graph.constants["w"].quantized
    assert graph.meta["quantization"]["mode"] == "none"
    x = rng.standard_normal((1, 2, 8, 8)).astype("float32")
    dense = layer(graph.constants["w"].dense())
    np.testing.assert_array_equal(interpret(graph, x)[0], interpret(dense, x)[0])


@pytest.mark.parametrize("fill", [0.0, 1e-42, 1e30])
def test_dynamic_range_of_any_size(fill):
    graph = quantize_graph(layer(np.ones((2, 3), "f4"), "dense"), [], activations=DYNAMIC)
    (y,) = interpret(graph, np.full((1, 3), fill, "f4"))
    np.testing.assert_allclose(y, 3 * np.float32(fill) if fill > 1e-30 else 0.0, rtol=1e-5)


def test_dynamic_quantizer_of_other_bits_stays_simulated(rng):
    from gluonzip.spec import ActivationQuantization

    weight = rng.standard_normal((4, 2, 3, 3)).astype("float32")
    four = ActivationQuantization(4, mode="dynamic")
    graph = quantize_graph(layer(weight), [], activations=four)
    assert [node.op for node in graph.nodes] == ["fake_quantize_dynamic", "conv2d"]
    with pytest.raises(ConfigError, match="mode = 'sometimes' is unknown"):
        ActivationQuantization(mode="sometimes")


def test_sensitivity_knows_groups(rng):
    from gluonzip.auto.changes import round_to_bits

    weight = rng.standard_normal((4, 2, 3, 3)).astype("float32")
    changed = round_to_bits(None, PerGroup(6))(weight, 3)
    found = integers(weight, WeightQuantization(3, PerGroup(6)))
    np.testing.assert_array_equal(changed, found.dense())
