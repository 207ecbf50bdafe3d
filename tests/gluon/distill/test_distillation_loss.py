"""DistillationLoss against NumPy, and its errors."""

import mxnet as mx
import numpy as np
import pytest

from gluonzip.errors import ConfigError, ShapeError
from gluonzip.gluon import DistillationLoss

rng = np.random.default_rng(0)
S, T = (rng.standard_normal((5, 7)).astype("float32") * 3 for _ in range(2))
LABEL = rng.integers(0, 7, 5)


def log_softmax(x):
    x = x - x.max(1, keepdims=True)
    return x - np.log(np.exp(x).sum(1, keepdims=True))


def expected(s, t, label, temperature, alpha):
    p, q = log_softmax(t / temperature), log_softmax(s / temperature)
    divergence = (np.exp(p) * (p - q)).sum(1)
    cross_entropy = -log_softmax(s)[np.arange(len(s)), label]
    return alpha * temperature**2 * divergence + (1 - alpha) * cross_entropy


@pytest.mark.parametrize("hybrid", [False, True])
@pytest.mark.parametrize(("temperature", "alpha"), [(1, 0.5), (3, 0.7), (4, 0), (0.5, 1)])
def test_value(temperature, alpha, hybrid):
    loss = DistillationLoss(temperature, alpha)
    loss.hybridize(hybrid)
    got = loss(mx.nd.array(S), mx.nd.array(T), mx.nd.array(LABEL)).asnumpy()
    np.testing.assert_allclose(got, expected(S, T, LABEL, temperature, alpha), rtol=2e-5, atol=1e-6)


def test_gradient_at_temperature_against_differences():
    s, t = mx.nd.array(S), mx.nd.array(T)
    s.attach_grad()
    t.attach_grad()
    loss = DistillationLoss(2.0, 0.4)
    with mx.autograd.record():
        total = loss(s, t, mx.nd.array(LABEL)).sum()
    total.backward()
    step = np.zeros_like(S, dtype="float64")
    step[2, 3] = 1e-4
    high, low = (expected(S.astype("float64") + d, T, LABEL, 2.0, 0.4).sum() for d in (step, -step))
    assert s.grad.asnumpy()[2, 3] == pytest.approx((high - low) / 2e-4, rel=1e-3)
    assert np.all(t.grad.asnumpy() == 0)


def test_dense_labels_and_sample_weights():
    onehot = np.eye(7, dtype="float32")[LABEL]
    weight = np.arange(5, dtype="float32").reshape(5, 1)
    loss = DistillationLoss(2.0, 0.4, sparse_label=False)
    got = loss(*map(mx.nd.array, (S, T, onehot, weight))).asnumpy()
    np.testing.assert_allclose(got, expected(S, T, LABEL, 2.0, 0.4) * weight[:, 0], rtol=2e-5)


@pytest.mark.parametrize("hybrid", [False, True])
def test_alpha_one_needs_no_label(hybrid):
    loss, weight = DistillationLoss(2.0, 1.0), np.arange(5, dtype="float32").reshape(5, 1)
    loss.hybridize(hybrid)
    got = loss(mx.nd.array(S), mx.nd.array(T)).asnumpy()
    np.testing.assert_allclose(got, expected(S, T, LABEL, 2.0, 1.0), rtol=2e-5, atol=1e-6)
    weighted = DistillationLoss(2.0, 1.0)(*map(mx.nd.array, (S, T)), None, mx.nd.array(weight))
    np.testing.assert_allclose(weighted.asnumpy(), got * weight[:, 0], rtol=2e-5, atol=1e-6)
    with pytest.raises(ConfigError, match=r"alpha = 0.5 needs labels"):
        DistillationLoss()(mx.nd.array(S), mx.nd.array(T))


@pytest.mark.parametrize("temperature", [0, -1, float("nan"), float("inf"), "3", True])
def test_unusable_temperature(temperature):
    with pytest.raises(ConfigError, match=r"temperature = .* is not usable"):
        DistillationLoss(temperature=temperature)


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan"), None])
def test_unusable_alpha(alpha):
    with pytest.raises(ConfigError, match=r"alpha = .* from 0 to 1"):
        DistillationLoss(alpha=alpha)


def test_class_counts_must_agree():
    with pytest.raises(ShapeError, match="student has 7 classes and the teacher 6"):
        DistillationLoss()(mx.nd.array(S), mx.nd.array(T[:, :6]), mx.nd.array(LABEL))
    with pytest.raises(ShapeError, match="differ in shape"):
        DistillationLoss()(mx.nd.array(S), mx.nd.array(T[:4]), mx.nd.array(LABEL))
