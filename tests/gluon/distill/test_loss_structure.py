"""Regressors, several outputs, and what the losses refuse."""

import mxnet as mx
import numpy as np
import pytest

from gluonzip.errors import ConfigError, ShapeError
from gluonzip.gluon.distill import losses as L

ones = mx.nd.ones


def test_a_hint_learns_its_regressor():
    mx.random.seed(0)
    student, teacher = mx.nd.random.normal(shape=(8, 3, 6, 6)), ones((8, 5, 3, 3)) * 2
    loss = L.HintLoss()
    loss.build(student, teacher)
    trainer = mx.gluon.Trainer(loss.collect_params(), "adam", {"learning_rate": 0.1})
    values = []
    for _ in range(60):
        with mx.autograd.record():
            value = loss(student, teacher)
        value.backward()
        trainer.step(8)
        values.append(value.mean().asscalar())
    assert values[-1] < 0.05 * values[0]


def test_a_hint_of_equal_shapes_has_no_parameters():
    loss = L.HintLoss()
    loss.build(ones((2, 3)), ones((2, 3)))
    assert not loss.collect_params().keys()


@pytest.mark.parametrize("hybrid", [False, True])
def test_a_dense_hint(hybrid):
    loss = L.HintLoss(channels=4, spatial=False)
    loss.initialize()
    loss.hybridize(hybrid)
    x, y = mx.nd.random.normal(shape=(2, 3)), ones((2, 4))
    loss.build(x, y)
    weight, bias = (p.data().asnumpy() for p in loss.collect_params().values())
    expected = 0.5 * ((x.asnumpy() @ weight.T + bias - 1) ** 2).mean(1)
    np.testing.assert_allclose(loss(x, y).asnumpy(), expected, rtol=1e-5)


def test_outputs_one_by_one():
    loss = L.OutputsLoss([L.DistillationLoss(1, 1.0), None, L.LogitsLoss()], weights=[1, 0, 3])
    student = [mx.nd.random.normal(shape=(2, 4)) for _ in range(3)]
    teacher = [mx.nd.random.normal(shape=(2, 4)) for _ in range(3)]
    got = loss(student, teacher)
    expected = L.DistillationLoss(1, 1.0)(student[0], teacher[0])
    expected = expected + 3 * L.LogitsLoss()(student[2], teacher[2])
    np.testing.assert_allclose(got.asnumpy(), expected.asnumpy(), rtol=1e-6)
    with pytest.raises(ShapeError, match="the teacher has 2 outputs, but 3 losses"):
        loss(student, teacher[:2])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: L.DecoupledLoss(0), "temperature = 0 is not usable; it must be above 0"),
        (lambda: L.DecoupledLoss(others=-1), "others = -1"),
        (lambda: L.AttentionLoss(0.5), "power = 0.5"),
        (lambda: L.HardLabelLoss(2), "alpha = 2 .* from 0 to 1"),
        (lambda: L.HintLoss(0), "channels = 0"),
        (lambda: L.SeveralTeachersLoss(L.LogitsLoss(), [0, 0]), "at least one must be above 0"),
        (lambda: L.SeveralTeachersLoss(L.LogitsLoss(), combine="max"), "combine = 'max'"),
        (lambda: L.OutputsLoss([None]), "at least one loss"),
        (lambda: L.OutputsLoss([L.LogitsLoss()], [1, 2]), "2 weights for 1 losses"),
        (lambda: L.DecoupledLoss(alpha=1.0)(ones((1, 2)), ones((1, 2))), "needs labels"),
    ],
)
def test_arguments(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: L.DistillationLoss(axis=1, alpha=1)(ones((1, 3, 2, 2)), ones((1, 4, 2, 2))),
            "student has 3 classes and the teacher 4",
        ),
        (
            lambda: L.SeveralTeachersLoss(L.LogitsLoss(), [1, 1])(ones((1, 2)), [ones((1, 2))]),
            "1 teachers but 2 weights",
        ),
        (
            lambda: L.SeveralTeachersLoss(L.LogitsLoss())(ones((1, 2)), [ones((1, 3))]),
            "2 classes and the teacher 3",
        ),
        (lambda: L.HintLoss()(ones((1, 2)), ones((1, 3))), "channels=3"),
        (lambda: L.HintLoss()(ones((1, 2)), ones((2, 2))), "feed both the same batch"),
        (lambda: L.HintLoss().build(ones((1, 2)), ones((1, 3, 4, 4))), "cannot be matched"),
        (
            lambda: L.AttentionLoss()(ones((1, 2, 4, 4)), ones((1, 2, 2, 2))),
            "layers of equal resolution",
        ),
        (lambda: L.RelationalLoss()(ones((1, 2)), ones((1, 2))), "a batch of 1"),
    ],
)
def test_shapes(call, message):
    with pytest.raises(ShapeError, match=message):
        call()
