"""Quantization-aware training over time: frozen batch norms, fewer bits, more layers."""

import warnings

import mxnet as mx
import numpy as np
import pytest
from mxnet.gluon import nn
from mxnet.gluon.contrib.estimator import estimator

from gluonzip.errors import ConfigError
from gluonzip.gluon import (
    FreezeBatchNorm,
    LowerBits,
    QuantizeGradually,
    clone,
    freeze_batch_norm,
    prune,
    quantize,
    quantize_share,
    set_bits,
    trace,
)
from gluonzip.graph import interpret
from gluonzip.passes import optimize
from gluonzip.runtime import Engine
from gluonzip.schedule import Ramp, Steps
from gluonzip.spec import ActivationQuantization, PerChannel, Ternary, WeightQuantization
from gluonzip.training import Checkpoints, Training, fit

SHAPE = (1, 1, 9, 9)


def network():
    mx.random.seed(2)
    net = nn.HybridSequential()
    net.add(
        nn.Conv2D(8, 3, use_bias=False),
        nn.BatchNorm(),
        nn.Activation("relu"),
        nn.Conv2D(8, 3, groups=8, use_bias=False),
        nn.BatchNorm(),
        nn.Activation("relu"),
        nn.Dense(3),
    )
    net.initialize(mx.init.Xavier(magnitude=3))
    return net


def problem(n=64, seed=0):
    """Images whose class is the third of the columns that is bright."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    x = rng.standard_normal((n, *SHAPE[1:])).astype("float32") * 0.3
    for image, label in zip(x, y, strict=True):
        image[0, :, 3 * label : 3 * label + 3] += 1
    return mx.nd.array(x), mx.nd.array(y)


def quantized(scale="learned", hybrid=True):
    net, (x, y) = network(), problem()
    net(x)
    weights = WeightQuantization(8, PerChannel(), "learned" if scale == "learned" else "peak")
    quantize(net, weights=weights, activations=ActivationQuantization(scale=scale), data=[x])
    net.hybridize(hybrid)
    return net, x, y


def by_hand(net, x, y, steps, *schedules):
    trainer = mx.gluon.Trainer(net.collect_params(), "adam", {"learning_rate": 0.01})
    loss_of, losses = mx.gluon.loss.SoftmaxCrossEntropyLoss(), []
    for _ in range(steps):
        for schedule in schedules:
            schedule.step()
        with mx.autograd.record():
            loss = loss_of(net(x), y)
        loss.backward()
        trainer.step(len(x))
        losses.append(float(loss.mean().asscalar()))
    return losses


def by_estimator(net, x, y, steps, *schedules):
    loader = mx.gluon.data.DataLoader(mx.gluon.data.ArrayDataset(x, y), batch_size=len(x))
    loss_of = mx.gluon.loss.SoftmaxCrossEntropyLoss()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = mx.gluon.Trainer(net.collect_params(), "adam", {"learning_rate": 0.01})
        fitter = estimator.Estimator(net, loss_of, trainer=trainer, context=mx.cpu())
        first = float(loss_of(net(x), y).mean().asscalar())
        fitter.fit(loader, epochs=steps, event_handlers=list(schedules))
    return [first, float(loss_of(net(x), y).mean().asscalar())]


def by_fit(net, x, y, steps, *schedules):
    return fit(net, [(x, y)], Training(steps, 0.01), handlers=schedules)


LOOPS = pytest.mark.parametrize("train", [by_hand, by_estimator, by_fit])


# ---------------------------------------------------------------- batch norm
def statistics(net):
    return {
        k: p.data().asnumpy()
        for k, p in net._collect_params_with_prefix().items()
        if "running" in k
    }


@LOOPS
def test_statistics_stop_moving_and_all_three_compute_the_same(train):
    net, x, y = quantized()
    losses = train(net, x, y, 6, FreezeBatchNorm(net, after=3))
    assert losses[-1] < losses[0]
    before, gamma = statistics(net), net[1].gamma.data().asnumpy()
    train(net, x, y, 4)
    for name, value in statistics(net).items():
        np.testing.assert_array_equal(value, before[name])
    assert (net[1].gamma.data().asnumpy() != gamma).any()
    # Training mode, inference and the engine compute the same now.
    with mx.autograd.record(train_mode=True):
        training = net(x).asnumpy()
    inference = net(x).asnumpy()
    np.testing.assert_allclose(training, inference, rtol=1e-5, atol=1e-5)
    graph = optimize(trace(net, SHAPE))
    assert "batch_norm" not in {node.op for node in graph.nodes}
    deployed = Engine.from_graph(graph)(x.asnumpy())
    np.testing.assert_allclose(deployed, interpret(graph, x.asnumpy())[0], rtol=1e-4, atol=1e-4)
    assert np.abs(deployed - training).max() < 0.03 * np.abs(training).max()
    assert (deployed.argmax(1) == training.argmax(1)).mean() > 0.98


def test_folding_multiplies_scales_and_leaves_codes():
    """What makes frozen statistics enough: the codes of the weights are those trained with."""
    net, x, y = quantized()
    by_hand(net, x, y, 4, FreezeBatchNorm(net, after=2))
    folded = optimize(trace(net, SHAPE))
    weight = net[0].effective_weight().asnumpy()
    scale = trace(net, SHAPE).constants["0.weight_scale"].data.reshape(-1, 1, 1, 1)
    constant = folded.constants[next(n for n in folded.nodes if n.op == "conv2d").inputs[1]]
    np.testing.assert_array_equal(np.abs(constant.data), np.abs(np.rint(weight / scale)))
    gamma, var = net[1].gamma.data().asnumpy(), net[1].running_var.data().asnumpy()
    expected = scale.ravel() * np.abs(gamma / np.sqrt(var + 1e-5))
    np.testing.assert_allclose(np.ravel(constant.scale), expected, rtol=1e-4)


def test_freezing_by_hand():
    net, (x, y) = network(), problem()
    fixed = nn.BatchNorm(use_global_stats=True)
    net.add(fixed)
    fixed.initialize()
    net(x)
    assert freeze_batch_norm(net) == ["1", "4"]
    assert freeze_batch_norm(net) == []
    before = statistics(net)
    by_hand(net, x, y, 1)
    assert all((statistics(net)[k] == v).all() for k, v in before.items())
    assert freeze_batch_norm(net, False) == ["1", "4"]
    by_hand(net, x, y, 1)
    assert any((statistics(net)[k] != v).any() for k, v in before.items())
    with pytest.raises(ConfigError, match="after = -1 steps is not usable"):
        FreezeBatchNorm(net, after=-1)


def test_a_killed_run_freezes_again(tmp_path):
    def run(epochs_before_the_kill=None):
        net, x, y = quantized("observed")
        handlers = [FreezeBatchNorm(net, after=2, unit="epoch"), Stop(epochs_before_the_kill)]
        checkpoints = Checkpoints(tmp_path) if epochs_before_the_kill is not None else None
        fit(net, [(x, y)], Training(5, 0.01), handlers=handlers, checkpoints=checkpoints)
        return net

    class Stop:
        def __init__(self, at):
            self.at, self.seen = at, 0

        def epoch(self):
            if self.seen == self.at:
                raise KeyboardInterrupt
            self.seen += 1

        def step(self):
            return None

        def state(self):
            return {}

        def load_state(self, state):
            self.at = None

    whole = statistics(run())
    with pytest.raises(KeyboardInterrupt):
        run(3)
    resumed = run(99)
    assert all(resumed[i]._kwargs["use_global_stats"] for i in (1, 4))
    for name, value in statistics(resumed).items():
        np.testing.assert_array_equal(value, whole[name])


# ---------------------------------------------------------------- bits
@LOOPS
@pytest.mark.parametrize("scale", ["observed", "learned"])
def test_bits_fall_on_a_schedule(train, scale):
    net, x, y = quantized(scale)
    prune(net, sparsity=0.3)
    schedules = [
        LowerBits(net, Steps(((2, 6), (4, 4)), start=8)),
        LowerBits(net, Ramp(8, 6, begin=3, end=6), side="activations"),
    ]
    losses = train(net, x, y, 14, *schedules)
    assert losses[-1] < losses[0]
    for layer in (net[0], net[3], net[6]):
        assert layer._weight_quantization.bits == 4
        assert layer._activation_quantization.bits == 6
        for row in layer.effective_weight().asnumpy():
            assert len(np.unique(np.abs(row))) <= 8
    graph = trace(net, SHAPE)
    assert {n.attrs["bits"] for n in graph.nodes if n.op == "fake_quantize"} == {4, 6}
    expected = interpret(graph, x.asnumpy())[0]
    np.testing.assert_allclose(net(x).asnumpy(), expected, rtol=1e-3, atol=1e-3)


def test_set_bits_keeps_ranges_or_calibrates_anew():
    net, x, _ = quantized("observed")
    before = net[0].input_scale.data().asscalar()
    assert set_bits(net, activations=4, layers="0") == ["0"]
    assert net[0].input_scale.data().asscalar() * 7 == pytest.approx(before * 127)
    assert net[3]._activation_quantization.bits == 8
    set_bits(net, activations=8, data=[x * 2])
    assert net[0].input_scale.data().asscalar() == pytest.approx(2 * before, rel=1e-5)
    assert net[0]._weight_quantization.bits == 8


def test_learned_scales_of_weights_start_anew():
    net, x, y = quantized()
    by_hand(net, x, y, 2)
    trained = net[0].weight_scale_growth
    set_bits(net, weights=2)
    assert net[0].weight_scale_growth is trained  # the trainer has it
    assert not trained.data().asnumpy().any()
    weight, scale = net[0].weight.data().asnumpy(), net[0].weight_scale.data().asnumpy()
    assert (np.abs(weight).max(axis=(1, 2, 3)) < 3 * scale.ravel()).all()


def test_wrong_bits():
    net, (x, _) = network(), problem()
    net(x)
    with pytest.raises(ConfigError, match="found no quantizer to change"):
        set_bits(net, weights=4)
    quantize(net, weights=Ternary(), activations=None)
    with pytest.raises(ConfigError, match=r"layer '0' has Ternary\(.*whose bits are fixed"):
        set_bits(net, weights=4)
    quantize(net, activations=None)
    with pytest.raises(ConfigError, match="bits = 9 is not supported"):
        set_bits(net, weights=9)
    with pytest.raises(ConfigError, match="side = 'both' is unknown"):
        LowerBits(net, 4, side="both")


# ---------------------------------------------------------------- share of the layers
@LOOPS
@pytest.mark.parametrize("scale", ["observed", "learned"])
def test_more_and_more_layers_quantize(train, scale):
    net, x, y = quantized(scale)
    seen = []
    more = QuantizeGradually(net, Ramp(0, 1, begin=0, end=6))
    apply = more.apply
    more.apply = lambda share: (apply(share), seen.append([net[i]._quantizing for i in (0, 3, 6)]))
    losses = train(net, x, y, 10, more)
    assert losses[-1] < losses[0]
    assert seen[0] == [False] * 3
    assert seen[-1] == [True] * 3
    assert [True, False, False] in seen
    assert "quantization off" not in repr(net)


@pytest.mark.parametrize("scale", ["observed", "learned"])
@pytest.mark.parametrize("hybrid", [False, True])
def test_layers_that_do_not_quantize_yet_compute_in_float(scale, hybrid):
    net, (x, _) = network(), problem()
    net(x)
    plain = net(x).asnumpy()
    weights = WeightQuantization(4, scale="learned" if scale == "learned" else "peak")
    quantize(net, weights=weights, activations=ActivationQuantization(scale=scale), data=[x])
    net.hybridize(hybrid)
    rounded = net(x).asnumpy()
    assert quantize_share(net, 0) == []
    np.testing.assert_array_equal(net(x).asnumpy(), plain)
    assert "quantization off" in repr(net[0])
    assert quantize_share(net, 0.34) == ["0"]
    between = net(x).asnumpy()
    assert (between != plain).any()
    assert (between != rounded).any()
    np.testing.assert_array_equal(clone(net)(x).asnumpy(), between)
    graph = trace(net, SHAPE)
    np.testing.assert_allclose(interpret(graph, x.asnumpy())[0], between, rtol=1e-3, atol=1e-4)
    assert quantize_share(net, 1) == ["0", "3", "6"]
    np.testing.assert_array_equal(net(x).asnumpy(), rounded)


def test_wrong_shares():
    net, (x, _) = network(), problem()
    net(x)
    with pytest.raises(ConfigError, match="no layer is quantized"):
        quantize_share(net, 0.5)
    quantize(net, data=[x])
    with pytest.raises(ConfigError, match="share = 1.5 of the layers must be between"):
        quantize_share(net, 1.5)
