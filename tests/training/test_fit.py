"""The training loop learns, follows its schedule, listens to teachers, and repeats."""

import mxnet as mx
import numpy as np
import pytest
from mxnet.gluon import nn

from gluonzip.gluon import DistillationLoss
from gluonzip.training import Batches, Training, accuracy, fit, predict, snapshot


def network(seed=0):
    mx.random.seed(seed)
    net = nn.HybridSequential()
    net.add(nn.Dense(16, activation="relu"), nn.BatchNorm(), nn.Dense(3))
    net.initialize(mx.init.Xavier())
    net.hybridize()
    return net


def blobs(seed=0, **options):
    """Three clouds of points."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, 240)
    points = np.eye(3)[labels] * 3 + rng.normal(size=(240, 3))
    return Batches(points, labels, 32, shuffle=True, **options)


def test_it_learns_and_repeats():
    results = []
    for _ in range(2):
        net = network()
        history = fit(net, blobs(), Training(6, 0.01))
        results.append((history, accuracy(net, blobs())))
    history, right = results[0]
    assert results[0] == results[1]
    assert len(history) == 6
    assert history[-1] < history[0] / 2
    assert right > 0.9


def test_the_learning_rate_falls_along_a_cosine():
    training = Training(1, learning_rate=0.1, final=0.01)
    assert training.rate(0.0) == pytest.approx(0.1)
    assert training.rate(0.5) == pytest.approx(0.0505)
    assert training.rate(1.0) == training.rate(2.0) == pytest.approx(0.001)


def test_a_student_follows_its_teacher_without_labels():
    teacher, student = network(1), network(2)
    fit(teacher, blobs(), Training(5, 0.01))
    wrong = Batches(blobs().images, np.zeros(240), 32)
    fit(student, wrong, Training(8, 0.01), teacher=teacher, loss=DistillationLoss(2.0, 1.0))
    test = Batches(blobs(5).images, blobs(5).labels)
    answers = [predict(net, test)[0].argmax(axis=1) for net in (student, teacher)]
    assert np.mean(answers[0] == answers[1]) > 0.9


def test_each_epoch_is_announced():
    seen = []
    fit(network(), blobs(), Training(3), on_epoch=seen.append)
    assert seen == [0, 1, 2]


def test_a_snapshot_is_independent_and_equal():
    net, data = network(), blobs()
    fit(net, data, Training(1, 0.01))
    x = mx.nd.array(data.images)
    copied = snapshot(net, x[:2])
    before = net(x).asnumpy()
    np.testing.assert_allclose(copied(x).asnumpy(), before, atol=1e-6)
    fit(net, data, Training(1, 0.01))
    np.testing.assert_allclose(copied(x).asnumpy(), before, atol=1e-6)
    assert np.abs(net(x).asnumpy() - before).max() > 1e-3
