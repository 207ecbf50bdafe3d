"""Gradients of fake quantizers and masks against their formulas; training with both."""

import warnings

import mxnet as mx
import numpy as np
import pytest
from mxnet.gluon import nn
from mxnet.gluon.contrib.estimator import estimator

from gluonzip.gluon import DistillationLoss, prune, quantize, sparsity
from gluonzip.gluon.fake_quantize import fake_quantize
from gluonzip.gluon.precision import in_float32
from gluonzip.gluon.weight_schemes import quantize_weight
from gluonzip.spec import PerChannel, WeightQuantization

rng = np.random.default_rng(5)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_forward_rounds_ties_to_even_and_clips(dtype):
    values = [0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 0.5 + 2**-11, 126.5, 127.5, 200, -200]
    x, one = mx.nd.array(values, dtype=dtype), mx.nd.array([1.0])
    got = in_float32(mx.nd, x, dtype, lambda x: fake_quantize(mx.nd, x, one, 8)).asnumpy()
    assert got.dtype == dtype
    assert got.tolist() == [0, 2, 2, 0, -2, -2, 1, 126, 127, 127, -127]


def test_codes_are_those_of_the_specification():
    x = (rng.standard_normal(20000) * 3).astype("float32")
    x[:5000] = (rng.integers(-300, 300, 5000) * np.float32(0.5)) * np.float32(0.02)  # near ties
    scale = np.float32(0.02)
    expected = np.rint(np.clip(x * (np.float32(1) / scale), -127, 127)) * scale
    got = fake_quantize(mx.nd, mx.nd.array(x), mx.nd.array([scale]), 8).asnumpy()
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("hybrid", [False, True])
def test_gradient_is_one_inside_the_range_and_zero_outside(hybrid):
    class Quantizer(mx.gluon.HybridBlock):
        def hybrid_forward(self, F, x, scale):
            return fake_quantize(F, x, scale, 8)

    block = Quantizer()
    block.hybridize(hybrid)
    scale = np.float32(0.01)
    x = mx.nd.array(rng.uniform(-2, 2, (40, 50)))
    x.attach_grad()
    upstream = mx.nd.array(rng.standard_normal((40, 50)))
    with mx.autograd.record():
        y = block(x, mx.nd.array([scale]))
    y.backward(upstream)
    inside = np.abs(x.asnumpy()) <= 127 * scale
    assert 0.3 < inside.mean() < 0.9
    np.testing.assert_allclose(x.grad.asnumpy(), upstream.asnumpy() * inside, rtol=1e-6)


@pytest.mark.parametrize("granularity", [None, PerChannel(0)])
def test_weight_gradient_passes_unchanged(granularity):
    what = WeightQuantization(bits=4, **({"granularity": granularity} if granularity else {}))
    w = mx.nd.array(rng.standard_normal((6, 5)))
    w.attach_grad()
    upstream = mx.nd.array(rng.standard_normal((6, 5)))
    with mx.autograd.record():
        y = quantize_weight(mx.nd, w, what, w.shape, 0)
    y.backward(upstream)
    # max|w| is never clipped and the scale takes no gradient.
    np.testing.assert_allclose(w.grad.asnumpy(), upstream.asnumpy(), rtol=1e-6)
    assert len(np.unique(y.asnumpy()[0])) <= 5
    assert np.abs(y.asnumpy()).max() == pytest.approx(np.abs(w.asnumpy()).max(), rel=1e-6)


def network():
    mx.random.seed(2)
    net = nn.HybridSequential()
    net.add(
        nn.Conv2D(6, 3, activation="relu"),
        nn.MaxPool2D(2),
        nn.Dense(16, activation="relu"),
        nn.Dense(3),
    )
    net.initialize(mx.init.Xavier())
    return net


def problem(n=96):
    """Images whose class is the third of the columns that is bright."""
    y = rng.integers(0, 3, n)
    x = rng.standard_normal((n, 1, 9, 9)).astype("float32") * 0.3
    for image, label in zip(x, y, strict=True):
        image[0, :, 3 * label : 3 * label + 3] += 1
    return mx.nd.array(x), mx.nd.array(y)


@pytest.mark.parametrize("hybrid", [False, True])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_masks_hold_while_training(hybrid, optimizer):
    net = network()
    x, y = problem()
    net(x)
    net.hybridize(hybrid)
    options = {"learning_rate": 0.02, "wd": 1e-3}
    if optimizer == "sgd":
        options |= {"learning_rate": 0.1, "momentum": 0.9}
    trainer = mx.gluon.Trainer(net.collect_params(), optimizer, options)
    loss_of = mx.gluon.loss.SoftmaxCrossEntropyLoss()

    def steps(trainer, count):
        for _ in range(count):
            with mx.autograd.record():
                loss = loss_of(net(x), y)
            loss.backward()
            trainer.step(len(x))
        return float(loss.mean().asscalar())

    steps(trainer, 3)  # momentum from before the masks must not leak
    prune(net, sparsity=0.6)
    quantize(net, data=[x])
    zeros = {k: p.data().asnumpy() == 0 for k, p in net.collect_params(".*mask").items()}
    before = steps(trainer, 1)
    assert steps(trainer, 25) < before / 2
    assert sparsity(net).total >= 0.6 - 0.01
    for key, parameter in net.collect_params(".*mask").items():
        np.testing.assert_array_equal(parameter.data().asnumpy() == 0, zeros[key])
    for block in net:
        if hasattr(block, "weight_mask"):
            dead = block.weight_mask.data().asnumpy() == 0
            assert (block.effective_weight().asnumpy()[dead] == 0).all()
    assert (net(x).asnumpy().argmax(1) == y.asnumpy()).mean() > 0.9


def test_estimator_trains_a_compressed_network():
    net = network()
    x, y = problem(64)
    net(x)
    prune(net, sparsity=0.5)
    quantize(net, data=[x])
    net.hybridize()
    loader = mx.gluon.data.DataLoader(mx.gluon.data.ArrayDataset(x, y), batch_size=16)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = mx.gluon.Trainer(net.collect_params(), "adam", {"learning_rate": 0.01})
        fitter = estimator.Estimator(
            net,
            mx.gluon.loss.SoftmaxCrossEntropyLoss(),
            train_metrics=mx.metric.Accuracy(),
            trainer=trainer,
            context=mx.cpu(),
        )
        before = float(mx.gluon.loss.SoftmaxCrossEntropyLoss()(net(x), y).mean().asscalar())
        fitter.fit(loader, epochs=5)
    after = float(mx.gluon.loss.SoftmaxCrossEntropyLoss()(net(x), y).mean().asscalar())
    assert after < 0.7 * before
    assert sparsity(net).total >= 0.5 - 0.01


def test_distilling_into_a_compressed_student():
    teacher, student = network(), network()
    x, _ = problem(32)
    teacher(x)
    student(x)
    prune(student, sparsity=0.5)
    scores = teacher(x)
    trainer = mx.gluon.Trainer(student.collect_params(), "adam", {"learning_rate": 0.01})
    loss_of = DistillationLoss(temperature=3, alpha=1)
    losses = []
    for _ in range(15):
        with mx.autograd.record():
            loss = loss_of(student(x), scores)
        loss.backward()
        trainer.step(len(x))
        losses.append(float(loss.mean().asscalar()))
    assert losses[-1] < losses[0] / 3
