"""The network with fake quantizers in MXNet, its graph, and the engine in int8: one answer."""

import mxnet as mx
import numpy as np
import pytest
from mxnet.gluon import nn

from gluonzip.gluon import prune, quantize, trace
from gluonzip.graph import interpret
from gluonzip.passes import optimize
from gluonzip.runtime import Engine
from gluonzip.spec import PerChannel, WeightQuantization

SHAPE = (1, 1, 28, 28)


def lenet():
    net = nn.HybridSequential()
    net.add(
        nn.Conv2D(20, 5, activation="relu"),
        nn.MaxPool2D(2, 2),
        nn.Conv2D(50, 5, activation="relu"),
        nn.MaxPool2D(2, 2),
        nn.Dense(100, activation="relu"),
        nn.Dense(10),
    )
    return net


def with_batch_norm():
    net = nn.HybridSequential()
    net.add(
        nn.Conv2D(16, 3, 2, 1, use_bias=False),
        nn.BatchNorm(),
        nn.Activation("relu"),
        nn.Conv2D(16, 3, 1, 1, groups=16, use_bias=False),
        nn.BatchNorm(),
        nn.Activation("relu"),
        nn.GlobalAvgPool2D(),
        nn.Dense(10),
    )
    return net


@pytest.mark.parametrize("granularity", [None, PerChannel()])
@pytest.mark.parametrize("make", [lenet, with_batch_norm])
def test_one_answer(make, granularity):
    mx.random.seed(11)
    rng = np.random.default_rng(2)
    net = make()
    net.initialize(mx.init.Xavier(magnitude=4))
    patterns = rng.standard_normal((300, 4)) @ rng.standard_normal((4, 28 * 28))
    x = np.abs(patterns).reshape(300, *SHAPE[1:]).astype("float32")
    with mx.autograd.record():  # gives the batch norms statistics
        for _ in range(3):
            net(mx.nd.array(x))
    prune(net, sparsity=0.5)
    what = WeightQuantization(**({"granularity": granularity} if granularity else {}))
    quantize(net, weights=what, data=x)

    simulated = net(mx.nd.array(x)).asnumpy()
    graph = optimize(trace(net, SHAPE))
    (integers,) = interpret(graph, x)
    deployed = Engine.from_graph(graph)(x)

    step = np.abs(simulated).max() / 127
    weights = [graph.constants[n.inputs[1]] for n in graph.nodes if n.op in ("conv2d", "dense")]
    assert weights
    assert all(w.quantized for w in weights)
    np.testing.assert_allclose(deployed, integers, rtol=0, atol=1e-5 * np.abs(integers).max())
    assert np.abs(deployed - simulated).max() < 3 * step  # a code next to it, here and there
    # An untrained network prefers one class: compare what sets the images apart.
    centre = simulated.mean(0)
    same = (deployed - centre).argmax(1) == (simulated - centre).argmax(1)
    assert same.mean() > 0.99
    assert len(np.unique((simulated - centre).argmax(1))) > 4
