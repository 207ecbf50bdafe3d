"""The Distiller: hand-written loops, the Estimator, engines, several teachers, itself."""

import mxnet as mx
import numpy as np
import pytest
from mxnet.gluon import Trainer, nn
from mxnet.gluon import loss as gluon_loss
from mxnet.gluon.contrib.estimator import Estimator

from gluonzip.errors import ConfigError, PatternError, ShapeError, UnsupportedError
from gluonzip.gluon import Scheduled, prune, quantize, sparsity
from gluonzip.gluon.distill import (
    AttentionLoss,
    DistillationLoss,
    DistillationProcessor,
    Distiller,
    Feature,
    HintLoss,
    RelationalLoss,
)
from gluonzip.schedule import Ramp

X = np.random.default_rng(0).standard_normal((24, 1, 8, 8)).astype(np.float32)
Y = np.arange(24) % 3


def network(seed, width, classes=3):
    mx.random.seed(seed)
    net = nn.HybridSequential()
    body = nn.HybridSequential()
    body.add(nn.Conv2D(width, 3, activation="relu"), nn.BatchNorm())
    net.add(body, nn.GlobalAvgPool2D(), nn.Dense(classes))
    net.initialize(mx.init.Xavier())
    net.hybridize()
    return net


@pytest.fixture
def pair():
    teacher, student = network(1, 8), network(2, 4)
    for net in (teacher, student):
        net(mx.nd.array(X))
    return teacher, student


def train(distiller, steps=3, schedules=()):
    """A hand-written loop; the mean losses."""
    trainer = Trainer(distiller.collect_params(), "adam", {"learning_rate": 0.02})
    x, y = mx.nd.array(X), mx.nd.array(Y)
    history = []
    for _ in range(steps):
        for schedule in schedules:
            schedule.step()
        lesson = distiller.teach(x)
        with mx.autograd.record():
            loss = distiller.loss(distiller.student(x), lesson, y)
        loss.backward()
        trainer.step(len(x))
        history.append(float(loss.mean().asscalar()))
    return history


def test_the_student_approaches_its_teacher_and_the_teacher_stays(pair):
    teacher, student = pair
    before = teacher(mx.nd.array(X)).asnumpy()
    history = train(Distiller(student, teacher, loss=DistillationLoss(2, 1.0)), 60)
    assert history[-1] < 0.2 * history[0]
    np.testing.assert_array_equal(teacher(mx.nd.array(X)).asnumpy(), before)


def test_features_and_their_regressor_are_trained(pair):
    teacher, student = pair
    features = [
        Feature("0", "0", HintLoss(), weight=5.0),
        Feature("0", "0", AttentionLoss(), name="attention"),
        Feature("1", "1", RelationalLoss(), 0.1),
    ]
    distiller = Distiller(
        student, teacher, loss=DistillationLoss(2, 1.0), features=features, sample=X
    )
    names = [name for name in distiller.collect_params() if "hint" in name]
    assert len(names) == 2
    before = distiller.loss_blocks()["0"].regressor.weight.data().asnumpy().copy()
    history = train(distiller, 40)
    assert history[-1] < 0.5 * history[0]
    assert np.abs(distiller.loss_blocks()["0"].regressor.weight.data().asnumpy() - before).max() > 0
    lesson = distiller.teach(mx.nd.array(X))
    assert [f.shape for f in lesson.features] == [(24, 8, 6, 6), (24, 8, 6, 6), (24, 8, 1, 1)]
    distiller.set_weight("attention", 0.0)
    with pytest.raises(ConfigError, match="no part 'hint'; there are: 'scores', '0', 'attention'"):
        distiller.set_weight("hint", 1.0)
    distiller.close()
    assert "forward" not in vars(student)


def test_the_loss_is_the_weighted_sum_of_its_parts(pair):
    teacher, student = pair
    feature = Feature("0", "0", AttentionLoss(), weight=3.0, name="a")
    distiller = Distiller(student, teacher, features=[feature], sample=X)
    x, y = mx.nd.array(X), mx.nd.array(Y)
    lesson, outputs = distiller.teach(x), student(x)
    whole = distiller.loss(outputs, lesson, y).asnumpy()
    scores = DistillationLoss(4, 0.7)(outputs, teacher(x), y).asnumpy()
    attention = AttentionLoss()(student[0](x), teacher[0](x)).asnumpy()
    np.testing.assert_allclose(whole, scores + 3 * attention, rtol=1e-4)
    distiller.set_weight("scores", 0.0)
    distiller.set_weight("a", 0.0)
    with pytest.raises(ConfigError, match="all weights of the distiller are 0"):
        distiller.loss(outputs, lesson, y)


def test_a_network_teaches_its_own_compressed_self(pair):
    _, net = pair
    x = mx.nd.array(X)
    dense = net(x).asnumpy()
    distiller = Distiller(net, "self", loss=DistillationLoss(2, 1.0), sample=X)
    schedule = Scheduled(Ramp(0, 0.5, 0, 4), lambda share: prune(net, sparsity=share))
    alphas = Scheduled(Ramp(1.0, 0.5, 0, 10), distiller.set_alpha)
    train(distiller, 5, [schedule, alphas])
    quantize(net, data=[x])
    train(distiller, 20)
    assert sparsity(net).total == pytest.approx(0.5, abs=0.05)
    assert distiller.alpha == pytest.approx(0.8)
    np.testing.assert_allclose(distiller.teach(x).outputs.asnumpy(), dense, rtol=1e-5)


@pytest.mark.parametrize(("engine", "tolerance"), [("fp32", 1e-5), ("int8", 0.1)])
def test_the_engine_teaches_the_same(pair, engine, tolerance):
    teacher, student = pair
    features = [
        Feature("1", "1", RelationalLoss()),
        Feature("0", "0", AttentionLoss()),
        Feature("0", "0", HintLoss(), name="hint"),
    ]
    x = mx.nd.array(X)
    with Distiller(student, teacher, features=features, sample=X) as plain:
        expected = plain.teach(x)
    fast = Distiller(
        student, teacher, features=features, sample=X, engine=engine, calibration=[X], threads=1
    )
    with mx.autograd.record():  # no gradients, and no complaint
        got = fast.teach(x)
    for a, b in zip(
        (got.outputs, *got.features), (expected.outputs, *expected.features), strict=True
    ):
        span = np.abs(b.asnumpy()).max()
        np.testing.assert_allclose(a.asnumpy(), b.asnumpy(), atol=tolerance * span)
    train(fast, 2)


def test_several_teachers(pair):
    teacher, student = pair
    other = network(5, 6)
    other(mx.nd.array(X))
    feature = Feature("1", "1", RelationalLoss(), of=1)
    distiller = Distiller(student, [teacher, other], features=[feature], sample=X)
    lesson = distiller.teach(mx.nd.array(X))
    assert len(lesson.outputs) == 2
    np.testing.assert_allclose(
        lesson.features[0].asnumpy(), other[1](other[0](mx.nd.array(X))).asnumpy(), rtol=1e-5
    )
    assert np.isfinite(train(distiller)).all()


@pytest.mark.parametrize("cached", [False, True])
def test_the_estimator(pair, cached, tmp_path):
    teacher, student = pair
    distiller = Distiller(student, teacher, loss=DistillationLoss(2, 1.0))
    lessons = distiller.remember(tmp_path / "cache", X) if cached else None
    arrays = [X, Y.astype(np.float32), *([np.arange(24)] if cached else [])]
    data = mx.gluon.data.DataLoader(mx.gluon.data.ArrayDataset(*arrays), 8, shuffle=True)
    loop = Estimator(
        net=student,
        loss=gluon_loss.SoftmaxCrossEntropyLoss(),
        trainer=Trainer(distiller.collect_params(), "adam", {"learning_rate": 0.02}),
        context=[mx.cpu()],
        batch_processor=DistillationProcessor(distiller, lessons),
    )
    x = mx.nd.array(X)
    gap = [np.abs((student(x) - teacher(x)).asnumpy()).mean()]
    loop.fit(data, epochs=15)
    gap.append(np.abs((student(x) - teacher(x)).asnumpy()).mean())
    assert gap[1] < 0.7 * gap[0]


def test_a_label_below_zero_is_unknown():
    s, t = (mx.nd.random.normal(shape=(4, 3)) for _ in range(2))
    got = DistillationLoss(2, 0.4)(s, t, mx.nd.array([0, -1, 2, -1])).asnumpy()
    known = DistillationLoss(2, 0.4)(s, t, mx.nd.array([0, 0, 2, 0])).asnumpy()
    teacher = 0.4 * DistillationLoss(2, 1.0)(s, t).asnumpy()
    np.testing.assert_allclose(got[[0, 2]], known[[0, 2]], rtol=1e-6)
    np.testing.assert_allclose(got[[1, 3]], teacher[[1, 3]], rtol=1e-5)


# ---------------------------------------------------------------- what is refused
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"teacher": "myself"}, ConfigError, "teacher = 'myself' is unknown"),
        ({"teacher": []}, ConfigError, "names no teacher"),
        ({"teacher": 3}, ConfigError, "must be a network or a callable"),
        ({"engine": "int4", "sample": X}, ConfigError, "engine = 'int4' is unknown"),
        ({"engine": "int8"}, ConfigError, "need sample="),
        ({"features": [Feature("0", "0")]}, ConfigError, "need sample="),
        (
            {"features": [Feature("0", "zero")], "sample": X},
            PatternError,
            "tap 'zero' matches none of the 6 layers; candidates: 0",
        ),
        (
            {"features": [Feature("0.*", "0")], "sample": X},
            PatternError,
            r"tap '0\.\*' matches 3 layers, one is needed: 0\.0, 0\.0\.act, 0\.1",
        ),
        (
            {"features": [Feature("0", "2")], "sample": X},
            ShapeError,
            "cannot be matched by a regressor",
        ),
        (
            {"features": [Feature("0", "0", of=1)], "sample": X},
            ConfigError,
            "there is no teacher 1",
        ),
        (
            {"features": [Feature("0", "0"), Feature("0", "0.0")], "sample": X},
            ConfigError,
            "need different names",
        ),
        (
            {"features": [Feature("0", "0", weight=-1)], "sample": X},
            ConfigError,
            "weight of feature '0' = -1",
        ),
        (
            {"teacher": lambda x: x, "features": [Feature("0", "0")], "sample": X},
            UnsupportedError,
            "layers '0' cannot be tapped in a function",
        ),
    ],
)
def test_errors(pair, options, error, message):
    teacher, student = pair
    with pytest.raises(error, match=message):
        Distiller(student, **{"teacher": teacher, **options})


def test_different_classes_are_found_before_training(pair):
    _, student = pair
    with pytest.raises(ShapeError, match="student has 3 classes and the teacher 5"):
        Distiller(student, network(1, 4, classes=5), sample=X)


def test_the_student_cannot_be_its_own_teacher(pair):
    with pytest.raises(ConfigError, match="the teacher is the student itself"):
        Distiller(pair[1], pair[1])


def test_the_estimator_needs_the_same_network_and_rows(pair, tmp_path):
    teacher, student = pair
    distiller = Distiller(student, teacher)
    loop = Estimator(net=teacher, loss=gluon_loss.SoftmaxCrossEntropyLoss(), context=[mx.cpu()])
    batch = (mx.nd.array(X), mx.nd.array(Y))
    with pytest.raises(ConfigError, match="is not the student"):
        DistillationProcessor(distiller).fit_batch(loop, batch)
    loop.net = student
    processor = DistillationProcessor(distiller, distiller.remember(tmp_path / "c", X))
    with pytest.raises(ConfigError, match="third array"):
        processor.fit_batch(loop, batch)
