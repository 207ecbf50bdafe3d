"""Codebooks on layers: values, gradients, zeros, everything a network goes through, and errors."""

import mxnet as mx
import numpy as np
import pytest
from mxnet.gluon import nn, rnn

from gluonzip.errors import ConfigError, DataError
from gluonzip.gluon import (
    clone,
    curvature,
    prune,
    prune_by_rate,
    quantize,
    round_biases,
    share,
    sparsity,
    strip,
    tie,
    trace,
)
from gluonzip.passes import optimize
from gluonzip.spec import PerChannel, WeightQuantization, WeightSharing

RANDOM = np.random.default_rng(8)


def network(seed=0):
    mx.random.seed(seed)
    net = nn.HybridSequential()
    with net.name_scope():
        net.add(nn.Conv2D(6, 3, in_channels=3, activation="relu"), nn.Dense(12, in_units=96))
        net.add(nn.Dense(12, in_units=12), nn.Dense(4, in_units=12))
    net.initialize(mx.init.Xavier())
    return net


X = mx.nd.array(RANDOM.standard_normal((5, 3, 6, 6)))
Y = mx.nd.array([0, 1, 2, 3, 0])
WEIGHTS = ["0", "1", "2", "3"]


def weight(net, layer):
    return net[int(layer)].effective_weight().asnumpy()


def train(net, steps=3, **options):
    trainer = mx.gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": 0.1, **options})
    loss = mx.gluon.loss.SoftmaxCrossEntropyLoss()
    for _ in range(steps):
        with mx.autograd.record():
            value = loss(net(X), Y)
        value.backward()
        trainer.step(5)


@pytest.mark.parametrize("start", ["linear", "density", "random"])
def test_a_layer_has_at_most_so_many_values(start):
    net = network()
    before = net[1].weight.data().asnumpy()
    records = share(net, WeightSharing(bits=3, start=start))
    after = weight(net, "1")
    assert len(np.unique(after)) == 8
    assert records["1"].facts["shared_values"] == 8
    assert np.corrcoef(before.ravel(), after.ravel())[0, 1] > 0.97
    assert records["1"].facts["ideal_bits"] <= 3


def test_gradients_add_up_for_each_value():
    net, plain = network(), network()
    share(net, WeightSharing(bits=2), layers="1")
    for ours, theirs in zip(net, plain, strict=True):  # the same weights, without a codebook
        if hasattr(ours, "weight"):
            value = ours.effective_weight() if ours is net[1] else ours.weight.data()
            theirs.weight.set_data(value)
            theirs.bias.set_data(ours.bias.data())
    loss = mx.gluon.loss.SoftmaxCrossEntropyLoss()
    for each in (net, plain):
        with mx.autograd.record():
            value = loss(each(X), Y)
        value.backward()
    codes = net[1].weight_codes.data().asnumpy().astype(int)
    expected = np.bincount(codes.ravel(), plain[1].weight.grad().asnumpy().ravel(), 4)
    np.testing.assert_allclose(net[1].weight_codebook.grad().asnumpy(), expected, rtol=1e-5)


@pytest.mark.parametrize("hybrid", [False, True])
def test_training_moves_values_and_keeps_zeros_and_sharing(hybrid):
    net = network()
    prune(net, sparsity=0.6)
    share(net, WeightSharing(bits=3))
    if hybrid:
        net.hybridize(static_alloc=True)
    zeros = {layer: weight(net, layer) == 0 for layer in WEIGHTS}
    before = weight(net, "1")
    train(net, momentum=0.9, wd=0.01)
    for layer in WEIGHTS:
        np.testing.assert_array_equal(weight(net, layer) == 0, zeros[layer])
        assert len(np.unique(weight(net, layer))) <= 9
    assert not np.allclose(weight(net, "1"), before)
    assert sparsity(net)["1"] == pytest.approx(0.6, abs=0.01)


def test_per_channel_codebooks():
    net = network()
    records = share(net, WeightSharing(bits=2, granularity=PerChannel()), layers=["0", "1"])
    for layer in ("0", "1"):
        value = weight(net, layer)
        assert [len(np.unique(row)) for row in value] == [4] * len(value)
        assert len(np.unique(value)) > 8
    assert records["1"].facts["codebooks"] == 12
    columns = network()
    share(columns, WeightSharing(bits=2, granularity=PerChannel(axis=1)), layers="1")
    assert all(len(np.unique(c)) == 4 for c in weight(columns, "1").T)


def test_save_load_export_copy(tmp_path):
    net = network()
    prune(net, sparsity=0.5)
    share(net, WeightSharing(bits=3))
    net.hybridize()
    train(net, 2)
    expected = net(X).asnumpy()

    net.save_parameters(str(tmp_path / "net.params"))
    other = network(seed=5)
    prune(other, sparsity=0.1)
    share(other, WeightSharing(bits=3))
    other.load_parameters(str(tmp_path / "net.params"))
    np.testing.assert_array_equal(other(X).asnumpy(), expected)

    net.export(str(tmp_path / "net"))
    imported = mx.gluon.SymbolBlock.imports(
        str(tmp_path / "net-symbol.json"), ["data"], str(tmp_path / "net-0000.params")
    )
    np.testing.assert_array_equal(imported(X).asnumpy(), expected)

    copied = clone(net)
    np.testing.assert_array_equal(copied(X).asnumpy(), expected)
    train(copied, 2)
    assert not np.allclose(copied(X).asnumpy(), expected)
    np.testing.assert_array_equal(net(X).asnumpy(), expected)


def test_the_trace_has_the_values_of_the_codebook():
    net = network()
    prune(net, sparsity=0.5)
    share(net, WeightSharing(bits=3))
    train(net, 1)
    graph = optimize(trace(net, (1, 3, 6, 6)))
    for layer in WEIGHTS:
        data = graph.constants[f"{layer}.weight"].data
        np.testing.assert_array_equal(data, weight(net, layer))
        assert not np.signbit(data[data == 0]).any()
    assert set(graph.constants) == {f"{n}.{p}" for n in WEIGHTS for p in ("weight", "bias")}


def test_a_fake_quantizer_follows_the_codebook():
    net = network()
    share(net, WeightSharing(bits=3), layers="1")
    quantize(net, weights=WeightQuantization(bits=8), activations=None)
    graph = optimize(trace(net, (1, 3, 6, 6)))
    constant = graph.constants["1.weight"]
    assert constant.data.dtype == np.int8
    assert len(np.unique(constant.data)) == 8
    np.testing.assert_allclose(constant.dense(), weight(net, "1"), rtol=1e-6)


def test_strip_bakes_the_values_in_and_lets_weights_train_again():
    net = network()
    share(net, WeightSharing(bits=2))
    expected = net(X).asnumpy()
    strip(net)
    assert type(net[1]) is nn.Dense
    assert net[1].weight.grad_req == "write"
    assert set(net[1]._reg_params) == {"weight", "bias"}
    np.testing.assert_allclose(net(X).asnumpy(), expected, atol=1e-6)
    train(net, 2)
    assert len(np.unique(net[1].weight.data().asnumpy())) > 100


def test_sharing_again_replaces_the_codebook():
    net = network()
    share(net, WeightSharing(bits=4))
    records = share(net, WeightSharing(bits=2))
    assert len(np.unique(weight(net, "1"))) == 4
    assert records["1"].facts["weight_bits"] == 2
    strip(net)
    assert net[1].weight.grad_req == "write"


@pytest.mark.parametrize("cell", [rnn.LSTM, rnn.GRU])
def test_recurrent_layers(cell):
    net = cell(5, input_size=8)
    net.initialize()
    share(net, WeightSharing(bits=3))
    assert len(np.unique(net.effective_weight("l0_i2h_weight").asnumpy())) == 8
    assert np.isfinite(net(mx.nd.ones((3, 2, 8))).asnumpy()).all()


# ---------------------------------------------------------------- several layers, several networks
def test_one_codebook_for_layers_and_networks_together():
    first, second = network(0), network(1)
    share([first, second], WeightSharing(bits=3), layers=["1", "2"], together=True)
    values = {v for net in (first, second) for i in "12" for v in np.unique(weight(net, i))}
    assert len(values) <= 8
    assert first[1].weight_codebook is second[2].weight_codebook
    train(first, 1)
    assert len({v for net in (first, second) for i in "12" for v in np.unique(weight(net, i))}) <= 8
    with pytest.raises(ConfigError, match="several networks share one codebook: give together"):
        share([first, second])


def test_tied_layers_use_one_parameter():
    net = network()
    square = nn.HybridSequential()
    square.add(nn.Dense(12, in_units=12), nn.Dense(12, in_units=12))
    square.initialize(mx.init.Normal(1))
    mean = (square[0].weight.data() + square[1].weight.data()).asnumpy() / 2
    assert tie([net, square], lambda layer: layer.block.weight.shape == (12, 12)) == ["2", "0", "1"]
    assert net[2].weight is square[0].weight is square[1].weight
    square(mx.nd.ones((1, 12)))
    graph = optimize(trace(square, (1, 12)))
    assert sum(c.data.shape == (12, 12) for c in graph.constants.values()) == 1
    share(square, WeightSharing(bits=2))
    assert square[0].weight_codebook is square[1].weight_codebook
    np.testing.assert_array_equal(weight(square, "0"), weight(square, "1"))
    strip(square)
    assert square[0].weight.grad_req == "write"
    alone = network()
    both = nn.HybridSequential()
    both.add(nn.Dense(3, in_units=2), nn.Dense(3, in_units=2))
    both.initialize(mx.init.Normal(1))
    mean = (both[0].weight.data() + both[1].weight.data()).asnumpy() / 2
    tie(both, None)
    np.testing.assert_allclose(both[1].weight.data().asnumpy(), mean, rtol=1e-6)
    with pytest.raises(ConfigError, match=r"layers '0' .* and '1' .* have different weights"):
        tie(alone, ["0", "1"])
    with pytest.raises(ConfigError, match="two layers or more, got \\['3'\\]"):
        tie(alone, "3")
    share(both, WeightSharing(bits=1))
    with pytest.raises(ConfigError, match="layer '0' is compressed already; tie first"):
        tie(both, None)


# ---------------------------------------------------------------- bad input
def test_a_codebook_larger_than_its_layer_is_refused_and_nothing_changes():
    net = network()
    before = net[3].weight.data().asnumpy()
    with pytest.raises(ConfigError, match=r"layer '3': a codebook of 2\^6 = 64 values is larger "
                       r"than the 48 weights"):  # fmt: skip
        share(net, WeightSharing(bits=6))
    assert type(net[0]) is nn.Conv2D
    np.testing.assert_array_equal(net[3].weight.data().asnumpy(), before)
    with pytest.raises(ConfigError, match="27 weights of channel 0"):
        share(net, WeightSharing(bits=5, granularity=PerChannel()), layers="0")


def test_fewer_different_weights_than_values():
    net = network()
    net[1].weight.set_data(mx.nd.array(RANDOM.choice([0.5, -1, 2], (12, 96))))
    records = share(net, WeightSharing(bits=4), layers="1")
    assert records["1"].facts["shared_values"] == 3
    assert np.unique(weight(net, "1")).tolist() == [-1, 0.5, 2]


def test_a_layer_of_zeros():
    net = network()
    net[1].weight.set_data(mx.nd.zeros((12, 96)))
    records = share(net, WeightSharing(bits=4), layers="1")
    assert records["1"].facts["sparsity"] == 1
    assert records["1"].facts["shared_values"] == 0
    assert not weight(net, "1").any()
    train(net, 1)
    assert not weight(net, "1").any()


def test_weights_without_values_or_not_finite():
    net = nn.Dense(8, in_units=8)
    with pytest.raises(DataError, match="has no values yet: call net.initialize"):
        share(net, WeightSharing(bits=2))
    net.initialize()
    net.weight.set_data(mx.nd.full((8, 8), np.nan))
    with pytest.raises(DataError, match="not finite"):
        share(net, WeightSharing(bits=2))


# ---------------------------------------------------------------- by rate
def batches():
    return [(X, Y), (X[:3], Y[:3])]


def test_rate_makes_zeros_that_stay():
    net = network()
    records = share(net, WeightSharing(bits=4, rate=0.3), layers="1")
    zeros = weight(net, "1") == 0
    assert 0.2 < zeros.mean() < 0.98
    assert records["1"].facts["sparsity"] == pytest.approx(zeros.mean())
    train(net)
    np.testing.assert_array_equal(weight(net, "1") == 0, zeros)


def test_curvature_is_the_mean_squared_gradient():
    net = network()
    found = curvature(net, [(X, Y)])
    loss = mx.gluon.loss.SoftmaxCrossEntropyLoss()
    with mx.autograd.record():
        value = loss(net(X), Y).mean()
    value.backward()
    expected = 5 * net[1].weight.grad().asnumpy() ** 2
    np.testing.assert_allclose(found["1", "weight"], expected, rtol=1e-5)
    with pytest.raises(DataError, match="at least one batch"):
        curvature(net, [])


def test_pruning_by_rate_fits_its_budget():
    net = network()
    records = prune_by_rate(net, 400, curvature(net, batches()), value_bits=3)
    total = sum(
        r.weights * (1 - r.facts["sparsity"]) * 3
        + sum(
            -r.weights * p * np.log2(p) for p in (r.facts["sparsity"], 1 - r.facts["sparsity"]) if p
        )
        for r in records.values()
    )
    assert 0.9 * 3200 < total <= 3200
    kept = weight(net, "1") != 0
    train(net)
    np.testing.assert_array_equal(weight(net, "1") != 0, kept)
    with pytest.raises(ConfigError, match="no curvature is given for 2.weight"):
        prune_by_rate(net, 400, {("1", "weight"): np.ones((12, 96))}, layers=["1", "2"])
    with pytest.raises(ConfigError, match="budget = 0 bytes must be a positive number"):
        prune_by_rate(net, 0, {})


def test_rounded_biases_are_small_integers():
    net = network()
    net[1].bias.set_data(mx.nd.array(RANDOM.standard_normal(12)))
    steps = round_biases(net, bits=5)
    codes = net[1].bias.data().asnumpy() / steps["1"]
    assert np.array_equal(codes, np.rint(codes))
    assert 7 < np.abs(codes).max() <= 15
    before = net[1].bias.data().asnumpy()
    train(net)
    np.testing.assert_array_equal(net[1].bias.data().asnumpy(), before)
    with pytest.raises(ConfigError, match="bits = 1 of a bias must be an integer from 2 to 16"):
        round_biases(net, bits=1)
