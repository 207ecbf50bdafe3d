"""Scheduled actions: hand-written loops, the Estimator, checkpoints."""

import math

import mxnet as mx
import numpy as np
import pytest
from mxnet.gluon import Trainer, loss, nn
from mxnet.gluon.contrib.estimator import Estimator

from gluonzip.errors import ConfigError
from gluonzip.gluon import Scheduled, prune, sparsity
from gluonzip.schedule import Ramp, Steps


def test_values_are_applied_when_they_change():
    seen = []
    handler = Scheduled(Steps(((2, 0.5), (4, 0.75))), seen.append)
    values = [handler.step() for _ in range(6)]
    assert values == [0, 0, 0.5, 0.5, 0.75, 0.75]
    assert seen == [0, 0.5, 0.75]


def test_every_so_many_steps():
    seen = []
    handler = Scheduled(lambda t: t, seen.append, every=3)
    for _ in range(8):
        handler.step()
        handler.epoch()
    assert seen == [0, 3, 6]


def test_resumed_it_goes_on_where_it_stood():
    first, second = [], []
    handler = Scheduled(lambda t: t, first.append, unit="epoch")
    for _ in range(3):
        handler.epoch()
    resumed = Scheduled(lambda t: t, second.append, unit="epoch")
    resumed.load_state(handler.state())
    assert resumed.value == 2
    resumed.epoch()
    assert (first, second) == ([0, 1, 2], [3])


def test_pruning_in_the_estimator():
    generator = np.random.default_rng(0)
    x = generator.standard_normal((64, 8)).astype(np.float32)
    labels = (x[:, 0] > 0).astype(np.float32)
    net = nn.HybridSequential()
    net.add(nn.Dense(16, in_units=8), nn.Dense(2, in_units=16))
    net.initialize()
    net.hybridize()
    seen = []

    def apply(share):
        seen.append(round(share, 3))
        prune(net, sparsity=share)

    handler = Scheduled(Ramp(0, 0.5, begin=0, end=4), apply)
    loop = Estimator(
        net=net,
        loss=loss.SoftmaxCrossEntropyLoss(),
        trainer=Trainer(net.collect_params(), "sgd"),
        context=[mx.cpu()],
    )
    data = mx.gluon.data.DataLoader(mx.gluon.data.ArrayDataset(x, labels), batch_size=16)
    loop.fit(data, epochs=2, event_handlers=[handler])
    assert seen == [0, 0.125, 0.25, 0.375, 0.5]
    assert sparsity(net).total == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"unit": "day"}, "unit = 'day' is unknown"),
        ({"every": 0}, "every = 0"),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(ConfigError, match=message):
        Scheduled(1.0, print, **arguments)


def test_a_schedule_that_gives_nan():
    with pytest.raises(ConfigError, match="gives NaN at step 0"):
        Scheduled(lambda t: math.nan, print).step()
