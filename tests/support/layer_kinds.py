"""One small network of every kind of weighted layer, with an input for it."""

import mxnet as mx
import numpy as np
from mxnet.gluon import nn, rnn

KINDS = {
    "Dense": (lambda: nn.Dense(6, in_units=8), (4, 8)),
    "Conv1D": (lambda: nn.Conv1D(6, 3, in_channels=4), (2, 4, 9)),
    "Conv2D": (lambda: nn.Conv2D(6, 3, in_channels=4, padding=1), (2, 4, 9, 9)),
    "Conv2D depthwise": (lambda: nn.Conv2D(8, 3, in_channels=8, groups=8), (2, 8, 9, 9)),
    "Conv3D": (lambda: nn.Conv3D(6, 2, in_channels=4), (2, 4, 5, 5, 5)),
    "Conv1DTranspose": (lambda: nn.Conv1DTranspose(6, 3, in_channels=4), (2, 4, 9)),
    "Conv2DTranspose": (lambda: nn.Conv2DTranspose(6, 3, 2, in_channels=4), (2, 4, 5, 5)),
    "Embedding": (lambda: nn.Embedding(10, 8), (4, 5)),
    "LSTM": (lambda: rnn.LSTM(5, input_size=8), (3, 2, 8)),
    "GRU": (lambda: rnn.GRU(5, input_size=8), (3, 2, 8)),
}


def layer_network(kind, seed=0):
    """(network, input): a HybridSequential with the layer as its only child."""
    make, shape = KINDS[kind]
    mx.random.seed(seed)
    net = nn.HybridSequential()
    net.add(make())
    net.initialize(mx.init.Normal(0.5))
    random = np.random.default_rng(1)
    x = random.integers(0, 10, shape) if kind == "Embedding" else random.standard_normal(shape)
    x = mx.nd.array(x, dtype="float32")
    net(x)
    return net, x
