"""Training that gives NaN stops, names step and layer, and leaves the weights as they were."""

import mxnet as mx
import numpy as np
import pytest
from mxnet.gluon import Trainer, nn
from mxnet.gluon.contrib.estimator import Estimator

from gluonzip.errors import ConfigError, DivergedError
from gluonzip.gluon import Scheduled, StopAtNan
from gluonzip.gluon.finite import origin
from gluonzip.gluon.state import parameter_values
from gluonzip.training import Checkpoints, Training, fit

X = np.random.default_rng(0).standard_normal((16, 4)).astype(np.float32)
Y = np.arange(16) % 2


class Root(nn.HybridBlock):
    """The root of its input: NaN below 0, an infinite slope at 0."""

    def hybrid_forward(self, F, x):
        return F.sqrt(x)


def network(middle, hybrid):
    mx.random.seed(0)
    net = nn.HybridSequential()
    net.add(nn.Dense(5), middle, nn.BatchNorm(), nn.Dense(2))
    net.initialize(mx.init.Xavier())
    net.hybridize(hybrid)
    return net


@pytest.mark.parametrize("hybrid", [False, True])
def test_the_layer_is_named(hybrid):
    net = network(Root(), hybrid)
    with pytest.raises(
        DivergedError,
        match=r"the loss is NaN or infinite at step 0 \(epoch 0, batch 0\): the first output that "
        r"is not finite is that of layer '1' \(Root\)\. Training stopped before the update",
    ):
        fit(net, [(X, Y)], Training(1))


@pytest.mark.parametrize("hybrid", [False, True])
def test_a_gradient_alone_may_be_at_fault(hybrid):
    net = nn.HybridSequential()
    net.add(nn.Dense(4, in_units=4, use_bias=False), Root(), nn.Dense(2, in_units=4))
    net.initialize(mx.init.Zero())
    net.hybridize(hybrid)
    with pytest.raises(DivergedError, match=r"a gradient is NaN .* of '0.weight' \(the loss fun"):
        fit(net, [(X, Y)], Training(1))


def test_weights_and_the_last_checkpoint_stay(tmp_path):
    net = network(nn.Activation("relu"), True)
    bad = X.copy()
    bad[3, 2] = np.inf
    checkpoints = Checkpoints(tmp_path, every=2)
    data = [(X, Y), (X, Y), (X, Y), (bad, Y)]
    with pytest.raises(
        DivergedError,
        match=r"at step 3 \(epoch 0, batch 3\): the batch's inputs are not finite.*the last good "
        r"checkpoint is .*step-000000002\.ckpt",
    ):
        fit(net, data, Training(2, 0.1), checkpoints=checkpoints)
    weights = [v for k, v in parameter_values(net).items() if "running" not in k]
    assert all(np.isfinite(value).all() for value in weights)
    history = fit(network(nn.Activation("relu"), True), data[:3] + [(X, Y)], Training(2, 0.1),
                  checkpoints=checkpoints)  # fmt: skip
    assert len(history) == 2


def test_a_loss_that_fails_by_itself():
    class Broken(mx.gluon.loss.Loss):
        def __init__(self):
            super().__init__(None, 0)

        def hybrid_forward(self, F, outputs, labels):
            return F.log(0 * outputs.sum(axis=1) - 1)

    with pytest.raises(DivergedError, match="the loss function"):
        fit(network(nn.Activation("relu"), False), [(X, Y)], Training(1), loss=Broken())


def test_spoiled_weights_are_named():
    net = network(nn.Activation("relu"), False)
    net(mx.nd.array(X))
    net[3].bias.set_data(mx.nd.array([0, np.nan]))
    with pytest.raises(DivergedError, match="parameter '3.bias' is not finite"):
        fit(net, [(X, Y)], Training(1))


def test_batch_norms_are_not_disturbed_by_the_search():
    net = network(Root(), False)
    net(mx.nd.array(X))
    before = parameter_values(net)["2.running_mean"]
    assert "layer '1' (Root)" in origin(net, mx.nd.array(X))
    np.testing.assert_array_equal(parameter_values(net)["2.running_mean"], before)


def test_the_estimator_stops_before_the_update():
    net = network(nn.Activation("relu"), True)
    net(mx.nd.array(X))
    bad = X.copy()
    bad[0] = np.nan
    loop = Estimator(
        net=net,
        loss=mx.gluon.loss.SoftmaxCrossEntropyLoss(),
        trainer=Trainer(net.collect_params(), "sgd"),
        context=[mx.cpu()],
    )
    both = mx.gluon.data.ArrayDataset(np.concatenate([X, bad]), np.tile(Y, 2))
    data = mx.gluon.data.DataLoader(both, batch_size=16)
    with pytest.raises(DivergedError, match="at step 1: the batch's inputs are not finite"):
        loop.fit(data, epochs=1, event_handlers=[StopAtNan()])
    assert np.isfinite(net[0].weight.data().asnumpy()).all()


def test_parameters_that_come_too_late_are_told():
    net = network(nn.Activation("relu"), False)

    def add(_):
        with net.name_scope():
            net.add(nn.Dense(2, in_units=2))
        net[4].initialize()

    with pytest.raises(ConfigError, match="was added while training.*add it before fit"):
        fit(net, [(X, Y)], Training(1), handlers=[Scheduled(1.0, add)])
