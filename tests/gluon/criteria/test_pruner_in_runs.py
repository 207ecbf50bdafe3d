"""The Pruner in gluonzip's own training, killed and resumed; on two devices; with codebooks."""

import mxnet as mx
import numpy as np
import pytest
from mxnet.gluon import nn

from gluonzip.errors import ConfigError, DataError
from gluonzip.gluon import (
    L1Penalty,
    Movement,
    Pruner,
    loss_gradients,
    polynomial,
    prune,
    share,
    sparsity,
)
from gluonzip.training import Batches, Checkpoints, Training, fit

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 3, 80)
POINTS = (np.repeat(np.eye(3)[LABELS] * 2, 4, axis=1) + RNG.normal(size=(80, 12))).astype("float32")


def network():
    mx.random.seed(1)
    net = nn.HybridSequential()
    net.add(nn.Dense(20, in_units=12, activation="relu"), nn.Dense(3, in_units=20))
    net.initialize(mx.init.Xavier())
    return net


def run(folder, criterion, masks, stop=None):
    net = network()
    pruner = Pruner(
        net, sparsity=0.7, schedule=polynomial(3, 15), every=2, criterion=criterion, masks=masks
    )
    data = Batches(POINTS, LABELS, 16, shuffle=True, seed=2)
    checkpoints = Checkpoints(folder, every=3)
    handlers = [pruner] + ([Bomb(stop)] if stop else [Bomb(10**6)])
    fit(net, data, Training(epochs=4), handlers=handlers, checkpoints=checkpoints)
    pruner.finish()
    return [net[i].effective_weight().asnumpy() for i in (0, 1)]


class Bomb:
    def __init__(self, at):
        self.left = at

    def epoch(self):
        pass

    def step(self):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt

    def state(self):
        return {}

    def load_state(self, state):
        pass


@pytest.mark.parametrize("criterion", ["magnitude", "movement"])
@pytest.mark.parametrize("masks", ["frozen", "recomputed", "soft"])
def test_a_killed_run_goes_on_exactly(tmp_path, criterion, masks):
    straight = run(tmp_path / "a", criterion, masks)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "b", criterion, masks, stop=12)
    resumed = run(tmp_path / "b", criterion, masks)
    for one, other in zip(straight, resumed, strict=True):
        np.testing.assert_array_equal(one, other)
    assert (straight[0] == 0).mean() == pytest.approx(0.7, abs=0.01)


def test_two_devices():
    contexts = [mx.cpu(0), mx.cpu(1)]
    net, twin = network(), network()
    net.collect_params().reset_ctx(contexts)
    loss_of = mx.gluon.loss.SoftmaxCrossEntropyLoss()
    data = [(POINTS[:40], LABELS[:40]), (POINTS[40:], LABELS[40:])]
    expected = loss_gradients(twin, data)
    for name, gradient in loss_gradients(net, data).items():
        np.testing.assert_allclose(gradient, expected[name], rtol=1e-4, atol=1e-6)
    movements = Movement(net), Movement(twin)
    with mx.autograd.record():
        losses = [
            loss_of(net(mx.nd.array(x, ctx=c)), mx.nd.array(y, ctx=c)) + L1Penalty(0.1)(net, c)
            for (x, y), c in zip(data, contexts, strict=True)
        ]
        whole = loss_of(twin(mx.nd.array(POINTS)), mx.nd.array(LABELS)) + L1Penalty(0.1)(twin)
    for loss in (*losses, whole):
        loss.backward()
    for movement in movements:
        movement.step()
    for name in movements[0]:
        np.testing.assert_allclose(movements[0][name], movements[1][name], rtol=1e-4, atol=1e-4)
    prune(net, sparsity=0.5)
    for context in contexts:
        assert (net[0].weight_mask.data(context).asnumpy() == 0).mean() == 0.5
        assert (net[0].weight.data(context).asnumpy() == 0).mean() == 0.5


def test_movement_that_is_not_finite_names_the_weight():
    net = network()
    movement = Movement(net)
    net[1].weight.grad()[:] = np.nan
    movement.step()
    with pytest.raises(DataError, match=r"movement of '1.weight' is not finite"):
        prune(net, sparsity=0.5, criterion="movement", movement=movement)


def test_weights_with_a_codebook_prune_by_its_values():
    net = network()
    share(net)
    values = net[0].effective_weight().asnumpy()
    with pytest.raises(ConfigError, match="layer '0' takes its weights from a codebook"):
        Pruner(net, sparsity=0.5, masks="soft").step()
    prune(net, sparsity=0.5, layers="0")
    now = net[0].effective_weight().asnumpy()
    assert (now == 0).mean() >= 0.5
    kept = now != 0
    np.testing.assert_array_equal(now[kept], values[kept])
    assert np.abs(values[~kept]).max() <= np.abs(values[kept]).min()
    assert sparsity(net)["0"] == (now == 0).mean()
