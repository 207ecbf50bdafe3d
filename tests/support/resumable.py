"""A training run with everything in it that a checkpoint must hold; killed when asked to.

    python resumable.py FOLDER OUTPUT [KILL_AT_STEP]

Prunes step by step, quantizes half-way, distils from its own dense self, with momentum, dropout,
batch norm, augmentation, shuffling; writes all parameters to OUTPUT.
"""

import os
import signal
import sys

import mxnet as mx
import numpy as np
from mxnet.gluon import nn

from gluonzip.gluon import Distiller, Feature, Scheduled, prune, quantize
from gluonzip.gluon.state import parameter_values
from gluonzip.schedule import Ramp, Steps
from gluonzip.training import Augment, Batches, Checkpoints, Training, fit

STEPS = 24


def build():
    mx.random.seed(4)
    net = nn.HybridSequential()
    net.add(nn.Conv2D(6, 3, activation="relu"), nn.BatchNorm(), nn.MaxPool2D())
    net.add(nn.Dropout(0.3), nn.Dense(16, activation="relu"), nn.Dense(4))
    net.initialize(mx.init.Xavier())
    net.hybridize(static_alloc=True)
    return net


def data(augment=True):
    rng = np.random.default_rng(9)
    images = rng.standard_normal((64, 1, 10, 10)).astype(np.float32)
    options = {"augment": Augment(1, 5, 0.05) if augment else None}
    return Batches(images, np.arange(64) % 4, 16, shuffle=True, seed=2, **options)


def run(folder, kill_at=None, every=3):
    net, batches = build(), data()
    sample = batches.images[:16]
    net(mx.nd.array(sample))
    features = [Feature("0", "0")]
    distiller = Distiller(net, "self", features=features, sample=sample)
    steps = []

    def kill(step):
        steps.append(step)
        if step == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def quantized(on):
        if on:
            quantize(net, layers=[nn.Conv2D, nn.Dense], data=[sample])

    handlers = [
        Scheduled(Ramp(0, 0.6, 0, 12, power=3), lambda s: prune(net, sparsity=s), every=2),
        Scheduled(Steps(((3, 1.0),)), quantized, unit="epoch"),
        Scheduled(Ramp(1.0, 0.3, 0, 20), distiller.set_alpha),
        Scheduled(lambda t: t, kill),
    ]
    checkpoints = folder and Checkpoints(folder, every=every, seed=1)
    training = Training(6, 0.02, optimizer="nag", weight_decay=1e-3)
    fit(net, batches, training, distiller=distiller, handlers=handlers, checkpoints=checkpoints)
    return net, steps


if __name__ == "__main__":
    trained, _ = run(sys.argv[1], int(sys.argv[3]) if len(sys.argv) > 3 else None)
    np.savez(sys.argv[2], **parameter_values(trained))
