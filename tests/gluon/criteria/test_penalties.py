"""Soft penalties: values by NumPy formulas, gradients by finite differences, use in training."""

import mxnet as mx
import numpy as np
import pytest
from mxnet.gluon import Trainer, nn
from mxnet.gluon.contrib.estimator import Estimator

from gluonzip.errors import ConfigError, DataError, PatternError, UnsupportedError
from gluonzip.gluon import BatchNormL1, GroupLasso, L1Penalty, PenalizedLoss, prune, quantize
from gluonzip.gluon import prune_channels as smaller

RNG = np.random.default_rng(11)
SOFTMAX = mx.gluon.loss.SoftmaxCrossEntropyLoss()


def network(open_mask=True):
    mx.random.seed(2)
    net = nn.HybridSequential()
    net.add(
        nn.Conv2D(4, 3, in_channels=2),
        nn.BatchNorm(in_channels=4),
        nn.Conv2DTranspose(6, 2, in_channels=4, groups=2),
        nn.BatchNorm(in_channels=6, scale=False),
        nn.Dense(3, in_units=6 * 5 * 5),
    )
    net.initialize(mx.init.Normal(0.3))
    net[1].gamma.set_data(mx.nd.array(RNG.standard_normal(4)))
    if open_mask:
        prune(net, sparsity=0.0, layers="2")
    return net


def value(parameter):
    return parameter.data().asnumpy().astype(np.float64)


def filters(net):
    """By the definitions of the layers: rows of a filter, groups of the transposed one apart."""
    conv, deconv, dense = (value(net[i].weight) for i in (0, 2, 4))
    grouped = [deconv[2 * g : 2 * g + 2, o].ravel() for g in (0, 1) for o in range(3)]
    return [f.ravel() for f in conv] + grouped + list(dense)


FORMULAS = {
    "l1": (L1Penalty(0.3), lambda net: 0.3 * sum(np.abs(f).sum() for f in filters(net))),
    "group": (
        GroupLasso(0.2),
        lambda net: 0.2 * sum(np.sqrt(f.size) * np.linalg.norm(f) for f in filters(net)),
    ),
    "norms": (BatchNormL1(0.5), lambda net: 0.5 * np.abs(value(net[1].gamma)).sum()),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_values(name):
    net = network()
    penalty, formula = FORMULAS[name]
    found = penalty(net)
    assert found.shape == (1,)
    assert float(found.asscalar()) == pytest.approx(formula(net), rel=1e-5)


@pytest.mark.parametrize("hybrid", [False, True])
@pytest.mark.parametrize("name", FORMULAS)
def test_gradients_by_differences_of_the_formula(name, hybrid):
    net = network()
    net.hybridize(hybrid)
    penalty, formula = FORMULAS[name]
    net(mx.nd.ones((1, 2, 6, 6)))
    with mx.autograd.record():
        loss = penalty(net) + 0 * net(mx.nd.ones((1, 2, 6, 6))).sum()
    loss.backward()
    for parameter in (net[0].weight, net[1].gamma, net[2].weight, net[4].weight):
        base, got = value(parameter), parameter.grad().asnumpy()
        for flat in RNG.choice(base.size, 4, replace=False):
            at = np.unravel_index(flat, base.shape)
            if abs(base[at]) < 0.01:
                continue  # |w| has a corner at 0
            sides = []
            for step in (1e-3, -1e-3):
                moved = base.copy()
                moved[at] += step
                parameter.set_data(mx.nd.array(moved))
                sides.append(formula(net))
            parameter.set_data(mx.nd.array(base))
            assert got[at] == pytest.approx((sides[0] - sides[1]) / 2e-3, rel=1e-2, abs=1e-4)


@pytest.mark.parametrize("penalty", [L1Penalty(1.0), GroupLasso(1.0)])
def test_zeros_have_a_gradient_of_zero(penalty):
    net = network()
    net[0].weight.set_data(mx.nd.zeros((4, 2, 3, 3)))
    with mx.autograd.record():
        loss = penalty(net)
    loss.backward()
    assert (net[0].weight.grad().asnumpy() == 0).all()


def test_the_gradient_adds_to_that_of_a_vector_of_losses_once_a_sample():
    net, x, y = network(), mx.nd.ones((5, 2, 6, 6)), mx.nd.zeros(5)
    gradients = []
    for term in (0.0, L1Penalty(0.1)):
        with mx.autograd.record():
            loss = SOFTMAX(net(x), y)
            loss = loss + (term if term == 0.0 else term(net))
        assert loss.shape == (5,)
        loss.backward()
        gradients.append(net[4].weight.grad().asnumpy() / 5)  # as trainer.step(5) does
    difference = gradients[1] - gradients[0]
    np.testing.assert_allclose(difference, 0.1 * np.sign(value(net[4].weight)), atol=1e-5)


def test_shared_weights_count_once_and_masked_ones_not_at_all():
    net = nn.HybridSequential()
    first = nn.Dense(4, in_units=4)
    net.add(first, nn.Dense(4, in_units=4, params=first.params))
    net.initialize(mx.init.One())
    assert float(L1Penalty(1)(net).asscalar()) == 16
    assert float(L1Penalty(1, layers="1")(net).asscalar()) == 16
    prune(net, sparsity=0.5)
    first.weight.set_data(mx.nd.ones((4, 4)))  # what an optimizer does behind the mask
    assert float(L1Penalty(1)(net).asscalar()) == 8


def test_a_transposed_convolution_that_mxnet_cannot_train_with_a_penalty():
    net = network(open_mask=False)
    with mx.autograd.record(), pytest.raises(UnsupportedError, match="convolution '2'; give the"):
        L1Penalty(1)(net)
    with mx.autograd.record():
        L1Penalty(1, layers=["0", "4"])(net).backward()


def test_bad_arguments():
    with pytest.raises(ConfigError, match="strength = -1 is not usable"):
        L1Penalty(-1)
    with pytest.raises(PatternError, match="'conv' matches nothing"):
        L1Penalty(1, layers="conv")(network())
    with pytest.raises(PatternError, match=r"'9' matches no batch norm; there are: 1"):
        BatchNormL1(1, layers="9")(network())
    with pytest.raises(ConfigError, match="BatchNormL1 finds nothing to penalize"):
        dense = nn.Dense(2, in_units=2)
        BatchNormL1(1)(dense)
    with pytest.raises(DataError, match="'dense.*weight' has no values yet: call net.initialize"):
        L1Penalty(1)(dense)
    with pytest.raises(ConfigError, match="at least one penalty"):
        PenalizedLoss(SOFTMAX, dense)


def clouds():
    labels = RNG.integers(0, 3, 96)
    x = np.repeat(np.eye(3)[labels] * 2, 4, axis=1) + RNG.normal(size=(96, 12))
    return x.astype(np.float32), labels.astype(np.float32)


@pytest.mark.parametrize("hybrid", [False, True])
def test_the_estimator_trains_with_penalties_and_neurons_die(hybrid):
    x, y = clouds()
    mx.random.seed(0)
    net = nn.HybridSequential()
    net.add(nn.Dense(24, in_units=12), nn.BatchNorm(in_channels=24), nn.Activation("relu"))
    net.add(nn.Dense(3, in_units=24))
    net.initialize(mx.init.Xavier())
    if hybrid:
        net.hybridize()
    loss = PenalizedLoss(SOFTMAX, net, GroupLasso(0.01, layers="0"), BatchNormL1(0.03))
    loss.hybridize(hybrid)
    loop = Estimator(
        net,
        loss,
        train_metrics=[mx.metric.Accuracy()],
        trainer=Trainer(net.collect_params(), "adam", {"learning_rate": 0.02}),
        val_loss=SOFTMAX,
        context=[mx.cpu()],
    )
    data = mx.gluon.data.DataLoader(mx.gluon.data.ArrayDataset(x, y), batch_size=24)
    loop.fit(data, epochs=40)
    assert (net(mx.nd.array(x)).asnumpy().argmax(1) == y).mean() > 0.9
    gamma = np.abs(value(net[1].gamma))
    assert (gamma < 0.05 * gamma.max()).sum() >= 8
    small, record = smaller(net, (96, 12), ratio=0.3, round_to=1, scorer="bn_scale")
    assert len(record.removed["0"]) == 7
    same = small(mx.nd.array(x)).asnumpy().argmax(1) == net(mx.nd.array(x)).asnumpy().argmax(1)
    assert same.mean() > 0.95


def test_penalties_of_a_quantized_network_are_of_its_raw_weights():
    net = network()
    expected = float(L1Penalty(1)(net).asscalar())
    quantize(net, activations=None)
    assert float(L1Penalty(1)(net).asscalar()) == pytest.approx(expected)
