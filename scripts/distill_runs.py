"""The training runs that bench_distill.py measures; a program, too, for processes of their own.

python scripts/distill_runs.py few SEED | together SEED  [--quick]
python scripts/distill_runs.py resume FOLDER OUTPUT [KILL_AT_STEP]
python scripts/distill_runs.py worker FOLDER EPOCHS | alone FOLDER EPOCHS
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mxnet as mx
import numpy as np
from mxnet.gluon import nn

from gluonzip.gluon import (
    CompiledBlock,
    DistillationLoss,
    Distiller,
    Scheduled,
    calibrate,
    clone,
    prune,
    quantize,
    sparsity,
)
from gluonzip.gluon.state import parameter_values
from gluonzip.model_zoo import Digits, get_model, load_digits
from gluonzip.schedule import Ramp, Steps
from gluonzip.spec import PerChannel, WeightQuantization
from gluonzip.training import Augment, Batches, Checkpoints, Cluster, Training, accuracy, fit

INT8 = WeightQuantization(8, PerChannel())
UNKNOWN = -1


@dataclass(frozen=True)
class Size:
    """How long the runs are."""

    updates: int = 1260
    teacher_epochs: int = 60
    dense_epochs: int = 12
    together_epochs: int = 10


QUICK = Size(315, 30, 3, 3)


# ---------------------------------------------------------------- networks and data
def small_student(seed: int) -> Any:
    """Two convolutions of 4 and 8 channels: 2,202 parameters."""
    net = nn.HybridSequential()
    net.add(nn.Conv2D(4, 5, activation="relu"), nn.MaxPool2D())
    net.add(nn.Conv2D(8, 5, activation="relu"), nn.MaxPool2D(), nn.Dense(10))
    return start(net, seed)


def start(net: Any, seed: int) -> Any:
    """Initialized from a seed, its shapes settled, hybridized."""
    mx.random.seed(seed)
    net.initialize(mx.init.Xavier())
    net.hybridize(static_alloc=True)
    net(mx.nd.zeros((1, 1, 28, 28)))
    return net


def batches(digits: Digits, labels: np.ndarray, count: int, seed: int, **options: Any) -> Batches:
    """The first ``count`` training digits (their order is random for good)."""
    images = digits.train_images[:count]
    options = {"augment": Augment(), "shuffle": True, "seed": seed, **options}
    return Batches(images, labels[:count], options.pop("batch_size", 64), **options)


# ---------------------------------------------------------------- 500 labels
def few_labels(digits: Digits, seed: int, size: Size, labelled: int = 500) -> dict[str, float]:
    """Test accuracies, percent: the student alone, its teacher, the student distilled.

    The labels of all training digits but the first 500 are hidden from everybody. The teacher
    (LeNet-5) learns from the 500, distorted. Both students start from the same weights and make as
    many updates with the same settings, without distortions: one on the 500, the other on all
    4,000, with the teacher's answers (from a cache) and the 500 labels.
    """
    count = len(digits.train_labels)
    known = np.where(np.arange(count) < labelled, digits.train_labels, UNKNOWN)
    teacher = start(get_model("lenet"), seed)
    fit(teacher, batches(digits, known, labelled, seed), Training(size.teacher_epochs, 1e-3))
    alone, distilled = small_student(seed), small_student(seed)
    own = batches(digits, known, labelled, seed, augment=None)
    fit(alone, own, Training(max(1, size.updates // len(own)), 3e-3))
    everything = batches(digits, known, count, seed, augment=None, rows=True)
    epochs = max(1, size.updates // len(everything))
    distiller = Distiller(distilled, teacher, loss=DistillationLoss(temperature=4, alpha=0.7))
    with tempfile.TemporaryDirectory() as folder:
        lessons = distiller.remember(folder, digits.train_images)
        options = {"distiller": distiller, "lessons": lessons}
        fit(distilled, everything, Training(epochs, 3e-3), **options)
    nets = {"alone": alone, "teacher": teacher, "distilled": distilled}
    return {name: 100 * accuracy(net, digits.test()) for name, net in nets.items()}


# ---------------------------------------------------------------- prune + quantize + distill
def together(digits: Digits, seed: int, size: Size) -> dict[str, float]:
    """ResNet-8: test accuracies, percent, dense and after one loop that prunes 60 % of every
    convolution, quantizes to int8 and distils from the dense self; run by the engine."""
    net = start(get_model("resnet8_small"), seed)
    data = batches(digits, digits.train_labels, len(digits.train_labels), seed)
    fit(net, data, Training(size.dense_epochs, 3e-3))
    dense = accuracy(net, digits.test())
    compress_together(net, digits, data, Training(size.together_epochs, 1.5e-3))
    engine = CompiledBlock(net, (64, 1, 28, 28))
    return {
        "dense": 100 * dense,
        "compressed": 100 * accuracy(engine, digits.test()),
        "sparsity": 100 * sparsity(net).total,
        "alike": 100 * agreement(net, engine, digits),
    }


def compress_together(net: Any, digits: Digits, data: Batches, training: Training) -> None:
    """One training loop; sparsity rises over its first half, then the quantizers come."""
    half = training.epochs * len(data) // 2
    calibration = digits.train_images[:512]
    distiller = Distiller(net, "self", loss=DistillationLoss(3, 0.9))

    def quantized(on: float) -> None:
        if on:
            quantize(net, weights=INT8, data=calibration)

    handlers = [
        Scheduled(
            Ramp(0, 0.6, 0, half, power=3),
            lambda share: prune(net, sparsity=share, layers="features.*"),
            every=20,
        ),
        Scheduled(Steps(((half, 1.0),)), quantized),
        Scheduled(Ramp(0.9, 0.5, half, 2 * half), distiller.set_alpha, every=20),
    ]
    fit(net, data, training, distiller=distiller, handlers=handlers)
    calibrate(net, calibration)


def agreement(net: Any, engine: Any, digits: Digits) -> float:
    """Share of test digits to which network and engine give the same answer."""
    x = mx.nd.array(digits.test_images)
    return float((net(x).asnumpy().argmax(1) == engine(x).asnumpy().argmax(1)).mean())


# ---------------------------------------------------------------- processes of their own
def resume_run(folder: Path, output: Path, kill_at: int | None) -> None:
    """The small student pruned, quantized and distilled with checkpoints every 10 steps."""
    digits = load_digits()
    net = small_student(1)
    data = batches(digits, digits.train_labels, 640, seed=2)
    distiller = Distiller(net, start(get_model("lenet"), 3))

    def quantized(on: float) -> None:
        if on:
            quantize(net, weights=INT8, data=digits.train_images[:128])

    def kill(step: float) -> None:
        if step == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    handlers = [
        Scheduled(Ramp(0, 0.7, 0, 30, power=3), lambda s: prune(net, sparsity=s), every=3),
        Scheduled(Steps(((4, 1.0),)), quantized, unit="epoch"),
        Scheduled(Ramp(1, 0.5, 0, 60), distiller.set_alpha),
        Scheduled(lambda t: t, kill),
    ]
    checkpoints = Checkpoints(folder, every=10)
    fit(
        net,
        data,
        Training(8, 3e-3, optimizer="nag"),
        distiller=distiller,
        handlers=handlers,
        checkpoints=checkpoints,
    )
    np.savez(output, **parameter_values(net), accuracy=accuracy(net, digits.test()))


def worker_run(folder: Path, cluster: Cluster | None, epochs: int) -> None:
    """The small student pruned and quantized, alone or as one of a cluster's workers."""
    digits = load_digits()
    rank, workers = (0, 1) if cluster is None else cluster.shard
    net = small_student(7)
    data = batches(
        digits,
        digits.train_labels,
        len(digits.train_labels),
        seed=2,
        batch_size=64 // workers,
        shard=(rank, workers),
    )
    steps = epochs * len(data)

    def quantized(on: float) -> None:
        if on:
            quantize(net, weights=INT8, data=digits.train_images[rank::workers][:512])

    handlers = [
        Scheduled(Ramp(0, 0.5, 0, steps // 2, power=3), lambda s: prune(net, sparsity=s), every=10),
        Scheduled(Steps(((3 * steps // 4, 1.0),)), quantized),
    ]
    fit(net, data, Training(epochs, 3e-3), handlers=handlers, cluster=cluster)
    name = "alone" if cluster is None else f"worker-{rank}"
    right = accuracy(net, digits.test())
    np.savez(folder / f"{name}.npz", **parameter_values(net), accuracy=right)


def teachers(digits: Digits) -> dict[str, Any]:
    """ResNet-20 as a teacher in MXNet and in the engine, each with a batch of digits."""
    net = start(get_model("resnet20_small"), 0)
    sample, student = digits.train_images[:64], small_student(0)
    x = mx.nd.array(sample)
    made = {"mxnet fp32": Distiller(student, clone(net))}
    for name in ("fp32", "int8"):
        made[f"engine {name}"] = Distiller(
            student,
            clone(net),
            engine=name,
            sample=sample,
            calibration=digits.train_images[:256],
            threads=1,
        )
    return {name: (distiller, x) for name, distiller in made.items()}


def main(kind: str, *arguments: str) -> None:
    size = QUICK if "--quick" in arguments else Size()
    if kind in ("few", "together"):
        run = few_labels if kind == "few" else together
        seed = int(arguments[0])
        print(json.dumps({"seed": seed, **run(load_digits(), seed, size)}))
    elif kind == "resume":
        folder, output, *kill = arguments
        resume_run(Path(folder), Path(output), int(kill[0]) if kill else None)
    else:
        cluster = Cluster() if kind == "worker" else None
        worker_run(Path(arguments[0]), cluster, int(arguments[1]))
        if cluster is not None:
            cluster.barrier()


if __name__ == "__main__":
    main(*sys.argv[1:])
