"""Compressed networks under MXNet's own training loop, the Gluon Estimator."""

import mxnet as mx
import numpy as np
import pytest
from mxnet.gluon import Trainer, loss, nn
from mxnet.gluon.contrib.estimator import Estimator

from gluonzip.gluon import prune, quantize, sparsity


@pytest.mark.parametrize("hybrid", [False, True])
def test_the_estimator_trains_and_zeros_stay(hybrid):
    mx.random.seed(3)
    generator = np.random.default_rng(3)
    x = generator.standard_normal((128, 8)).astype(np.float32)
    labels = (x @ generator.standard_normal((8, 3))).argmax(axis=1).astype(np.float32)
    net = nn.HybridSequential()
    net.add(nn.Dense(32, in_units=8, activation="relu"), nn.Dense(3, in_units=32))
    net.initialize(mx.init.Xavier())
    prune(net, sparsity=0.5)
    quantize(net, data=[x])
    if hybrid:
        net.hybridize()
    zeros = net[0].effective_weight().asnumpy() == 0
    before = net[0].weight.data().asnumpy().copy()

    data = mx.gluon.data.DataLoader(mx.gluon.data.ArrayDataset(x, labels), batch_size=32)
    loop = Estimator(
        net=net,
        loss=loss.SoftmaxCrossEntropyLoss(),
        train_metrics=[mx.metric.Accuracy()],
        trainer=Trainer(net.collect_params(), "adam", {"learning_rate": 0.01}),
        context=[mx.cpu()],
    )
    loop.fit(data, epochs=12)

    assert (net[0].weight.data().asnumpy() != before).any()
    assert (net[0].effective_weight().asnumpy()[zeros] == 0).all()
    assert sparsity(net).total >= 0.5
    assert (net(mx.nd.array(x)).asnumpy().argmax(axis=1) == labels).mean() > 0.8
