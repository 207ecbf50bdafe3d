"""4-bit weights with quantization-aware training on the zoo's digits, against the dense network.

    python scripts/qat_digits.py --network lenet resnet --seed 7 --json qat.json --check

Trains the dense network of the zoo's recipe, quantizes it to 4-bit weights (one scale a channel)
and 8-bit inputs, and trains on with learned scales (LSQ), distilling from the dense network; the
batch norms' statistics are frozen for the second half. Accuracies are of the engine, on test digits
that nothing was chosen by: all settings are fixed below.
"""

from __future__ import annotations

import time
from typing import Any

import benchmark
import mxnet as mx
import numpy as np

from gluonzip.gluon import (
    DistillationLoss,
    FreezeBatchNorm,
    clone,
    load_extension,
    quantize,
    trace,
)
from gluonzip.model_zoo.runner import build, load_for, train_batches
from gluonzip.passes import optimize
from gluonzip.recipe import Recipe, load
from gluonzip.recipe import quick as smaller
from gluonzip.recipe.job import Job
from gluonzip.runtime import Engine
from gluonzip.spec import ActivationQuantization, PerChannel, WeightQuantization
from gluonzip.training import Training, fit

NETWORKS = ("lenet", "alexnet", "resnet", "mobilenet")
DROP = 1.0  # points, T15
BITS = 4
TRAINING = Training(epochs=8, learning_rate=5e-4)
SHAPE = (1, 1, 28, 28)


def dense(recipe: Recipe, digits: Any, parameters: str | None = None) -> Any:
    """The network after the stages of ``recipe`` that train it dense."""
    net = build(recipe)
    batches = train_batches(recipe, digits)
    if parameters:
        net.load_parameters(parameters)
        return net
    mx.random.seed(recipe.seed)
    for stage in recipe.stages:
        if not stage.compresses:
            stage.run(Job(net, batches))
    return net


def train_low_bits(net: Any, recipe: Recipe, digits: Any, training: Training = TRAINING) -> None:
    """Quantize ``net`` in place and train it on."""
    teacher = clone(net)
    teacher.hybridize(static_alloc=True)
    quantize(
        net,
        weights=WeightQuantization(BITS, PerChannel(), scale="learned"),
        activations=ActivationQuantization(observer="mse", scale="learned"),
        data=digits.calibration(recipe.data.calibration),
    )
    net.hybridize(static_alloc=True)
    fit(
        net,
        train_batches(recipe, digits),
        training,
        teacher=lambda x: _answer(teacher, x),
        loss=DistillationLoss(temperature=3, alpha=0.7),
        handlers=[FreezeBatchNorm(net, after=training.epochs // 2, unit="epoch")],
    )


def _answer(teacher: Any, x: Any) -> Any:
    with mx.autograd.pause(train_mode=False):
        return teacher(x)


def answers(net: Any, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The classes that the engine finds, and those of the network itself."""
    engine, found = Engine.from_graph(optimize(trace(net, SHAPE))), []
    for i in range(0, len(images), 250):
        batch = images[i : i + 250]
        simulated = net(mx.nd.array(batch)).asnumpy()
        found.append((engine(batch).argmax(1), simulated.argmax(1)))
    deployed, simulated = (np.concatenate(side) for side in zip(*found, strict=True))
    return deployed, simulated


def accuracy(net: Any, digits: Any) -> float:
    """Percent of the test digits that the engine gets right."""
    deployed, _ = answers(net, digits.test_images)
    return 100 * float((deployed == digits.test_labels).mean())


def agreement(net: Any, digits: Any) -> float:
    """Percent of all digits for which engine and simulation find the same class (T16)."""
    deployed, simulated = answers(net, np.concatenate([digits.train_images, digits.test_images]))
    return 100 * float((deployed == simulated).mean())


def measure(name: str, seed: int, quick: bool = False, parameters: str | None = None) -> dict:
    """Accuracies of the dense network, of rounding it to 4 bits, and after training."""
    recipe = load(name, [f"seed={seed}"])
    recipe = smaller(recipe) if quick else recipe
    digits, begin = load_for(recipe.data), time.process_time()
    net = dense(recipe, digits, parameters)
    found = {"network": name, "seed": seed, "bits": BITS, "dense": accuracy(net, digits)}
    rounded = clone(net)
    weights = WeightQuantization(BITS, PerChannel())
    quantize(rounded, weights=weights, data=digits.calibration(recipe.data.calibration))
    found["rounded"] = accuracy(rounded, digits)
    train_low_bits(net, recipe, digits, Training(1, 5e-4) if quick else TRAINING)
    found["trained"] = accuracy(net, digits)
    found["drop"] = found["dense"] - found["trained"]
    found["agreement"] = agreement(net, digits)
    found["cpu_seconds"] = time.process_time() - begin
    return found


def main() -> None:
    options = benchmark.parser(__doc__)
    options.add_argument("--network", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    options.add_argument("--seed", nargs="+", type=int, default=[7])
    chosen = options.parse_args()
    load_extension()
    rows, checks = [], benchmark.Checks()
    bits = f"{BITS} bits, rounded | {BITS} bits, trained"
    print(f"| network | seed | dense, % | {bits} | drop | agree, % |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for name in chosen.network:
        for seed in chosen.seed:
            row = measure(name, seed, chosen.quick)
            rows.append(row)
            print(
                f"| {name} | {seed} | {row['dense']:.2f} | {row['rounded']:.2f} "
                f"| {row['trained']:.2f} | {row['drop']:.2f} | {row['agreement']:.2f} |",
                flush=True,
            )
            if not chosen.quick:
                checks.at_most("T15", f"{name}, seed {seed}, points lost", row["drop"], DROP)
                same = f"{name}, seed {seed}, engine and simulation, %"
                checks.at_least("T16", same, row["agreement"], 99.9)
    benchmark.finish(chosen, {"rows": rows}, checks)


if __name__ == "__main__":
    main()
