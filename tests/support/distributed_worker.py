"""One worker of a cluster: prunes, quantizes and distils on its share; writes what it has.

python distributed_worker.py FOLDER
"""

import json
import sys
from pathlib import Path

import mxnet as mx
import numpy as np
from mxnet.gluon import nn

from gluonzip.gluon import Distiller, Scheduled, calibrate, prune, quantize
from gluonzip.gluon.state import parameter_values
from gluonzip.schedule import Ramp, Steps
from gluonzip.training import Batches, Checkpoints, Cluster, Training, accuracy, fit


def blobs(count, draw, **options):
    rng = np.random.default_rng(draw)
    labels = rng.integers(0, 4, count)
    points = np.eye(4)[labels] * 2.5 + rng.normal(size=(count, 4))
    return Batches(points.reshape(count, 4, 1, 1), labels, **options)


def build(seed):
    mx.random.seed(seed)
    net = nn.HybridSequential()
    # The second convolution's weights take a layout of oneDNN's when it runs.
    net.add(nn.Conv2D(8, 1, activation="relu"), nn.BatchNorm(), nn.Conv2D(16, 1), nn.Dense(4))
    net.initialize(mx.init.Xavier())
    net.hybridize()
    net(mx.nd.zeros((1, 4, 1, 1)))
    return net


def run(folder=None, cluster=None):
    """Trains as one of a cluster's workers, or alone. Returns the network and its accuracy."""
    rank, workers = (0, 1) if cluster is None else cluster.shard
    net = build(seed=10 + rank)  # different first weights: the cluster must make them equal
    data = blobs(256, 1, batch_size=32 // workers, shuffle=True, seed=5, shard=(rank, workers))
    own = data.images[data.shard[0] :: 2]  # each worker sees other data to calibrate on

    def quantized(on):
        if on:
            quantize(net, data=[own])

    handlers = [
        Scheduled(Ramp(0, 0.5, 0, 20, power=3), lambda s: prune(net, sparsity=s), every=5),
        Scheduled(Steps(((4, 1.0),)), quantized, unit="epoch"),
    ]
    teacher = build(seed=3)
    fit(teacher, blobs(256, 1, batch_size=32, seed=5), Training(4, 0.02))
    fit(
        net,
        data,
        Training(8, 0.02),
        distiller=Distiller(net, teacher),
        handlers=handlers,
        cluster=cluster,
        checkpoints=folder and Checkpoints(Path(folder) / "run"),
    )
    calibrate(net, [own])
    if cluster is not None:
        cluster.synchronize(net)
    return net, accuracy(net, blobs(1000, 2, batch_size=250))


if __name__ == "__main__":
    target, me = Path(sys.argv[1]), Cluster()
    trained, right = run(target, me)
    np.savez(target / f"worker-{me.rank}.npz", **parameter_values(trained))
    (target / f"worker-{me.rank}.json").write_text(json.dumps({"accuracy": right}))
    me.barrier()
