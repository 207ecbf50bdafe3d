"""Learned step sizes against the formulas of LSQ (arXiv:1902.08153) and against the engine."""

import copy

import mxnet as mx
import numpy as np
import pytest
from mxnet.gluon import nn

from gluonzip.errors import ConfigError
from gluonzip.gluon import calibrate, clone, prune, quantize, share, strip, trace
from gluonzip.gluon.learned_scale import LearnedScale, first_scale, values_of_a_sample
from gluonzip.gluon.state import compression_state, restore_compression
from gluonzip.gluon.weight_schemes import quantize_weight
from gluonzip.graph import interpret
from gluonzip.passes import optimize
from gluonzip.runtime import Engine
from gluonzip.spec import ActivationQuantization, PerChannel, WeightQuantization, WeightSharing

rng = np.random.default_rng(8)
SHAPE = (1, 1, 12, 12)
WEIGHTS = WeightQuantization(4, PerChannel(), scale="learned")
INPUTS = ActivationQuantization(observer="mse", scale="learned")


def lsq_gradient(x, scale, limit, upstream):
    """dL/dscale of clip-round-rescale, equation 3 of the paper, without its gradient scale."""
    v = x / scale
    inside = np.abs(v) <= limit
    return (upstream * np.where(inside, np.rint(v) - v, np.sign(v) * limit)).sum()


@pytest.mark.parametrize("hybrid", [False, True])
@pytest.mark.parametrize("growth", [0.0, 0.3, -0.9])
def test_gradients_are_those_of_the_paper(hybrid, growth):
    class Quantizer(mx.gluon.HybridBlock):
        def hybrid_forward(self, F, w, start, growth):
            scale = LearnedScale(start, growth, w_count)
            return quantize_weight(F, w, WeightQuantization(4), (1,), 0, scale=scale)

    w = rng.standard_normal((9, 11)).astype("float32")
    w_count = float(w.size)
    start = np.float32(0.2)
    scale = start * (1 + growth if growth > 0 else np.exp(growth))
    block = Quantizer()
    block.hybridize(hybrid)
    arrays = [mx.nd.array(w), mx.nd.array([[start]]), mx.nd.array([[growth]])]
    for array in arrays:
        array.attach_grad()
    upstream = rng.standard_normal(w.shape).astype("float32")
    with mx.autograd.record():
        y = block(*arrays)
    y.backward(mx.nd.array(upstream))
    expected = np.rint(np.clip(w / scale, -7, 7)) * scale
    np.testing.assert_allclose(y.asnumpy(), expected, rtol=1e-5, atol=1e-6)
    inside = np.abs(w / scale) <= 7
    assert 0.1 < inside.mean() < 1
    np.testing.assert_allclose(arrays[0].grad.asnumpy(), upstream * inside, rtol=1e-5)
    # A step of SGD moves the scale as LSQ does: slope * d(growth) = dL/dscale / sqrt(n * limit).
    slope = start * min(1.0, np.exp(growth))
    wanted = lsq_gradient(w.astype("f8"), scale, 7, upstream) / np.sqrt(w.size * 7)
    assert slope * float(arrays[2].grad.asscalar()) == pytest.approx(wanted, rel=1e-3)
    assert (arrays[1].grad.asnumpy() == 0).all()


@pytest.mark.parametrize("growth", [-200.0, -40.0, 3.0, 1e6])
def test_a_scale_is_positive_and_finite_whatever_the_optimizer_did(growth):
    learned = LearnedScale(mx.nd.array([0.01]), mx.nd.array([growth]), 100.0)
    scale = learned.value(mx.nd).asscalar()
    assert learned.with_gradient(mx.nd, None, 127).asscalar() == scale
    assert 0 < scale < np.inf
    assert 1 / scale < np.inf


def test_values_of_a_sample():
    assert values_of_a_sample(mx.nd, mx.nd.zeros((5, 3, 4))).asnumpy().tolist() == [12]


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_a_scale_starts_at_the_least_error(bits):
    w = rng.standard_normal((4, 300)).astype("float32")
    w[2] = 0
    w[3, 0] = 30  # an outlier
    limit = 2 ** (bits - 1) - 1
    found = first_scale(w, WeightQuantization(bits, PerChannel(), "learned"), 0)
    assert found.shape == (4, 1)
    assert found[2, 0] == 1

    def error(row, scale):
        return np.square(row - np.clip(np.rint(row / scale), -limit, limit) * scale).sum()

    for row, scale in zip(w, found[:, 0], strict=True):
        if row.any():
            trials = np.abs(row).max() / limit * np.linspace(0.01, 1, 100)
            assert error(row, scale) <= min(error(row, t) for t in trials) * 1.001


def network():
    mx.random.seed(3)
    net = nn.HybridSequential()
    net.add(
        nn.Conv2D(8, 3, use_bias=False),
        nn.BatchNorm(),
        nn.Activation("relu"),
        nn.MaxPool2D(2),
        nn.Dense(16, activation="relu"),
        nn.Dense(4),
    )
    net.initialize(mx.init.Xavier(magnitude=3))
    return net


def digits(n=64):
    y = rng.integers(0, 4, n)
    x = rng.standard_normal((n, *SHAPE[1:])).astype("float32") * 0.4
    for image, label in zip(x, y, strict=True):
        image[0, :, 3 * label : 3 * label + 3] += 1
    return mx.nd.array(x), mx.nd.array(y)


def train(net, x, y, steps=15, optimizer="adam", **options):
    options = options or {"learning_rate": 0.01}
    trainer = mx.gluon.Trainer(net.collect_params(), optimizer, options)
    loss_of = mx.gluon.loss.SoftmaxCrossEntropyLoss()
    losses = []
    for _ in range(steps):
        with mx.autograd.record():
            loss = loss_of(net(x), y)
        loss.backward()
        trainer.step(len(x))
        losses.append(float(loss.mean().asscalar()))
    return losses


def scales(net):
    return {
        k: p.data().asnumpy() for k, p in net._collect_params_with_prefix().items() if "scale" in k
    }


@pytest.mark.parametrize("hybrid", [False, True])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_scales_train_with_masks_and_the_engine_has_them(hybrid, optimizer, tmp_path):
    net, (x, y) = network(), digits()
    net(x)
    prune(net, sparsity=0.5)
    quantize(net, weights=WEIGHTS, activations=INPUTS, data=[x])
    net.hybridize(hybrid)
    options = {"learning_rate": 0.02}
    if optimizer == "sgd":
        options |= {"momentum": 0.9, "wd": 1e-3}
    zeros = net[0].weight_mask.data().asnumpy() == 0
    losses = train(net, x, y, 20, optimizer, **options)
    assert losses[-1] < losses[0] / 2
    growths = [v for k, v in scales(net).items() if k.endswith("growth")]
    assert len(growths) == 6
    assert all(g.any() for g in growths)
    assert (net[0].effective_weight().asnumpy()[zeros] == 0).all()

    simulated = net(x).asnumpy()
    graph = trace(net, SHAPE)
    learned = net[0].weight_scale.data().asnumpy().ravel()
    growth = net[0].weight_scale_growth.data().asnumpy().ravel()
    expected = learned * (np.exp(np.minimum(growth, 0)) + np.maximum(growth, 0))
    np.testing.assert_allclose(graph.constants["0.weight_scale"].data, expected, rtol=1e-6)
    np.testing.assert_allclose(interpret(graph, x.asnumpy())[0], simulated, rtol=1e-3, atol=1e-4)
    deployed = Engine.from_graph(optimize(graph))(x.asnumpy())
    assert np.abs(deployed - simulated).max() < 0.02 * np.abs(simulated).max()

    net.save_parameters(str(tmp_path / "net.params"))
    other = network()
    other(x)
    prune(other, sparsity=0.5)
    quantize(other, weights=WEIGHTS, activations=INPUTS)
    other.load_parameters(str(tmp_path / "net.params"))
    np.testing.assert_array_equal(other(x).asnumpy(), simulated)
    np.testing.assert_array_equal(clone(net)(x).asnumpy(), simulated)
    if hybrid:
        net(x)
        net.export(str(tmp_path / "net"))
        files = [str(tmp_path / name) for name in ("net-symbol.json", "net-0000.params")]
        imported = mx.gluon.SymbolBlock.imports(files[0], ["data"], files[1])
        np.testing.assert_array_equal(imported(x).asnumpy(), simulated)


def test_state_brings_learned_scales_back():
    net, (x, y) = network(), digits(16)
    net(x)
    quantize(net, weights=WEIGHTS, activations=INPUTS, data=[x])
    train(net, x, y, 3)
    other = network()
    other(x)
    restore_compression(other, copy.deepcopy(compression_state(net)))
    values = net._collect_params_with_prefix()
    for name, parameter in other._collect_params_with_prefix().items():
        assert parameter.grad_req == values[name].grad_req, name
        parameter.set_data(values[name].data())
    np.testing.assert_array_equal(other(x).asnumpy(), net(x).asnumpy())


def test_layers_that_share_a_weight_share_its_scale():
    first = nn.Dense(6, in_units=6)
    net = nn.HybridSequential()
    net.add(first, nn.Dense(6, in_units=6, params=first.params))
    net.initialize(mx.init.Xavier())
    x = mx.nd.array(rng.standard_normal((5, 6)))
    quantize(net, weights=WEIGHTS, activations=INPUTS, data=[x])
    assert net[0].weight_scale_growth is net[1].weight_scale_growth
    assert net[0].input_scale is net[1].input_scale  # Gluon shares all of `params`
    train(net, x, mx.nd.array([0, 1, 2, 3, 0]), 3)
    assert net[0].weight_scale_growth.data().asnumpy().any()
    graph = trace(net, (1, 6))
    np.testing.assert_allclose(
        interpret(graph, x.asnumpy())[0], net(x).asnumpy(), rtol=1e-5, atol=1e-6
    )


def test_layers_that_share_an_input_scale_are_calibrated_together():
    first = nn.Dense(6, in_units=6)
    net = nn.HybridSequential()
    net.add(first, nn.Dense(6, in_units=6, params=first.params))
    net.initialize(mx.init.Constant(0.001))
    x = mx.nd.array(rng.standard_normal((5, 6)))
    ranges = quantize(net, activations=ActivationQuantization()) and calibrate(net, x)
    assert ranges == dict.fromkeys("01", pytest.approx(float(np.abs(x.asnumpy()).max())))


def test_with_a_codebook_and_baked_in():
    net, (x, y) = network(), digits(16)
    net(x)
    share(net, WeightSharing(3))
    quantize(net, weights=WEIGHTS, activations=None)
    train(net, x, y, 3)
    answer = net(x).asnumpy()
    strip(net)
    assert not scales(net)
    np.testing.assert_array_equal(net(x).asnumpy(), answer)


def test_quantizing_again_replaces_the_scales():
    net, (x, _) = network(), digits(16)
    net(x)
    quantize(net, weights=WEIGHTS, activations=INPUTS, data=[x])
    before = scales(net)
    quantize(net, weights=WeightQuantization(2, scale="learned"), activations=INPUTS, data=[x])
    assert net[0].weight_scale.shape == (1, 1, 1, 1)
    assert before["0.weight_scale"].shape == (8, 1, 1, 1)
    records = quantize(net)
    assert not [k for k in scales(net) if k.endswith("growth")]
    assert "learned_scales" not in records["0"].facts


@pytest.mark.parametrize("kind", [WeightQuantization, ActivationQuantization])
def test_unknown_ways_to_a_scale(kind):
    with pytest.raises(ConfigError, match="scale = 'guessed' is unknown; use '.*' or 'learned'"):
        kind(scale="guessed")
