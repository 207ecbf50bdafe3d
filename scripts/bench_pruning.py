"""What pruning costs and saves: LeNet-5 by weights and blocks, ResNet-8 by filters.

    python scripts/bench_pruning.py --check
    python scripts/bench_pruning.py --quick --only lenet
    python scripts/bench_pruning.py --held-out          # how the settings below were chosen

On the handwritten digits (4,000 to train on, 1,000 for the test; one of them is 0.1 point), each
network from several seeds, every accuracy that of the archive in the engine. LeNet-5 is pruned with
masks, unstructured and in 4x1 blocks (four input channels of one output channel); the first layer
has one input channel and stays dense in the latter. ResNet-8 loses filters (``prune_channels``)
until half of its multiply-accumulates are left, is fine-tuned, then quantized to int8. What is
pruned trains on with the dense network as teacher. No setting was chosen on the test digits:
``--held-out`` trains on 3,400 training digits and measures on the other 600.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", str(len(os.sched_getaffinity(0))))  # for MXNet

import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import benchmark
import mxnet as mx
import numpy as np

from gluonzip.archive import to_bytes
from gluonzip.gluon import calibrate, clone, prune_channels, quantize, sparsity, trace
from gluonzip.graph.statistics import macs
from gluonzip.model_zoo import Digits, get_model, load_digits
from gluonzip.passes import optimize
from gluonzip.recipe import Job
from gluonzip.recipe.methods import Finetune, Prune, Train
from gluonzip.runtime import Engine
from gluonzip.spec import PerChannel, WeightQuantization
from gluonzip.training import Augment, snapshot

SHAPE = (1, 1, 28, 28)
DISTILL = {"temperature": 3.0, "alpha": 0.7}
LENET = {
    "unstructured": [
        {"layers": "conv1", "sparsity": 0.5},
        {"layers": "conv2", "sparsity": 0.8},
        {"layers": "fc1", "sparsity": 0.965},
        {"layers": "fc2", "sparsity": 0.75},
    ],
    "4x1 blocks": [
        {"layers": "conv2", "sparsity": 0.7, "pattern": "4x1"},
        {"layers": "fc1", "sparsity": 0.88, "pattern": "4x1"},
        {"layers": "fc2", "sparsity": 0.5, "pattern": "4x1"},
    ],
}
LENET_EPOCHS = {"dense": 30, "pruned": 25, "ramp": 10}
RESNET_EPOCHS = {"dense": 15, "pruned": 15, "int8": 2}


# ---------------------------------------------------------------- training
def batches(digits: Digits, seed: int):
    return digits.train(64, Augment(shift=2, rotate=10, zoom=0.1), seed)


def train(name: str, digits: Digits, seed: int, epochs: int, rate: float):
    """The network called ``name`` from ``seed``, trained from labels."""
    mx.random.seed(seed)
    net = get_model(name)
    net.initialize(mx.init.Xavier())
    net.hybridize(static_alloc=True)
    stage = Train(training={"epochs": epochs, "learning_rate": rate})
    stage.run(Job(net, batches(digits, seed)))
    return net


def teach(stage, net, dense, digits: Digits, seed: int) -> None:
    """Run a stage of a recipe on ``net`` with ``dense`` as the teacher."""
    teacher = snapshot(dense, mx.nd.array(digits.train_images[:1]))
    stage.run(Job(net, batches(digits, seed + 1), teacher=teacher))


def pruned_lenet(dense, pattern: str, digits: Digits, seed: int, epochs: dict[str, int]):
    net = clone(dense)
    stage = Prune(
        rules=LENET[pattern],
        ramp=epochs["ramp"],
        training={"epochs": epochs["pruned"], "learning_rate": 1e-3},
        distill=DISTILL,
    )
    teach(stage, net, dense, digits, seed)
    return net


def pruned_resnet(dense, digits: Digits, seed: int, epochs: dict[str, int], options):
    """ResNet with half the multiply-accumulates: filters removed, then fine-tuned."""
    net, _ = prune_channels(dense, SHAPE, ratio=options.ratio, round_to=options.round_to)
    net.hybridize(static_alloc=True)
    training = {"epochs": epochs["pruned"], "learning_rate": 2e-3}
    teach(Finetune(training=training, distill=DISTILL), net, dense, digits, seed)
    return net


def int8(net, dense, digits: Digits, seed: int, epochs: int):
    """``net`` with int8 weights and activations, trained through the quantizers if epochs > 0."""
    net = clone(net)
    quantize(net, weights=WeightQuantization(granularity=PerChannel()))
    calibrate(net, digits.calibration(512))
    if epochs:
        training = {"epochs": epochs, "learning_rate": 2e-4}
        teach(Finetune(training=training, distill=DISTILL), net, dense, digits, seed)
        calibrate(net, digits.calibration(512))
    return net


# ---------------------------------------------------------------- facts
def facts(net, digits: Digits) -> tuple[dict, Engine]:
    """Accuracy (percent), sizes and multiply-accumulates of what the engine runs."""
    graph = optimize(trace(net, SHAPE))
    engine = Engine.from_graph(graph, threads=benchmark.cores())
    scores = np.concatenate([engine(x) for x, _ in digits.test()])
    right = float((scores.argmax(axis=1) == digits.test_labels).mean())
    parameters = [p for p in net.collect_params().values() if p.grad_req != "null"]
    row = {
        "accuracy": 100 * right,
        "parameters": sum(p.data().size for p in parameters),
        "zeros": sparsity(net).total,
        "macs": sum(macs(graph).values()),
        "archive_bytes": len(to_bytes(graph)),
    }
    return row, engine


def calls(engine: Engine, batch: int, digits: Digits) -> Callable[[int], list[float]]:
    """Milliseconds of as many calls as asked, after one to wake the threads."""
    x = np.ascontiguousarray(np.resize(digits.test_images, (batch, *SHAPE[1:])))

    def time_calls(count: int) -> list[float]:
        taken = []
        for _ in range(count + 1):
            begin = time.perf_counter()
            engine(x)
            taken.append(1e3 * (time.perf_counter() - begin))
        return taken[1:]

    return time_calls


def add_latencies(rows: dict[str, dict], engines: dict[str, Engine], digits: Digits, quick: bool):
    """Median milliseconds at batch 1 and 64, the networks in turns."""
    for batch in (1, 64):
        sides = {name: calls(engine, batch, digits) for name, engine in engines.items()}
        medians = benchmark.alternate(sides, rounds=5 if quick else 25, calls=8)
        for name, median in medians.items():
            rows[name][f"ms_{batch}"] = median


# ---------------------------------------------------------------- the two experiments
def run_lenet(digits: Digits, seed: int, options) -> dict[str, dict]:
    epochs = shorter(LENET_EPOCHS, options.quick)
    dense = train("lenet", digits, seed, epochs["dense"], 2e-3)
    nets = {"dense": dense}
    for pattern in LENET:
        nets[pattern] = pruned_lenet(dense, pattern, digits, seed, epochs)
    return measure(nets, digits, options)


def run_resnet(digits: Digits, seed: int, options) -> dict[str, dict]:
    epochs = shorter(RESNET_EPOCHS, options.quick)
    dense = train("resnet8_small", digits, seed, epochs["dense"], 3e-3)
    pruned = pruned_resnet(dense, digits, seed, epochs, options)
    nets = {
        "dense": dense,
        "dense, int8": int8(dense, dense, digits, seed, 0),
        "filters": pruned,
        "filters, int8": int8(pruned, dense, digits, seed, epochs["int8"]),
    }
    return measure(nets, digits, options)


def measure(nets: dict, digits: Digits, options) -> dict[str, dict]:
    rows, engines = {}, {}
    for name, net in nets.items():
        rows[name], engines[name] = facts(net, digits)
    add_latencies(rows, engines, digits, options.quick)
    return rows


def shorter(epochs: dict[str, int], quick: bool) -> dict[str, int]:
    return {k: max(1, n // 8) for k, n in epochs.items()} if quick else epochs


def held_out(digits: Digits, count: int = 600) -> Digits:
    """The last ``count`` training digits in place of the test digits."""
    return replace(
        digits,
        train_images=digits.train_images[:-count],
        train_labels=digits.train_labels[:-count],
        test_images=digits.train_images[-count:],
        test_labels=digits.train_labels[-count:],
    )


# ---------------------------------------------------------------- telling
COLUMNS = ("accuracy", "parameters", "zeros", "macs", "archive_bytes", "ms_1", "ms_64")


def summary(runs: list[dict[str, dict]]) -> dict[str, dict]:
    """Means over the seeds; latencies are medians. ``drop``: mean points below the own dense."""
    rows = {}
    for name in runs[0]:
        rows[name] = {
            key: (statistics.median if key.startswith("ms") else statistics.fmean)(
                run[name][key] for run in runs
            )
            for key in COLUMNS
        }
        drops = [run["dense"]["accuracy"] - run[name]["accuracy"] for run in runs]
        rows[name] |= {"drop": statistics.fmean(drops), "drops": drops}
    return rows


def show(network: str, rows: dict[str, dict], seeds: list[int]) -> None:
    print(f"\n{network}, means of seeds {', '.join(map(str, seeds))}")
    print(
        "| | accuracy | drop, points (each seed) | parameters | zeros | MACs | archive bytes "
        "| ms, batch 1 | ms, batch 64 |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    for name, row in rows.items():
        drops = ", ".join(f"{d:+.1f}" for d in row["drops"])
        print(
            f"| {name} | {row['accuracy']:.2f} % | {row['drop']:+.2f} ({drops}) "
            f"| {row['parameters']:,.0f} | {row['zeros']:.1%} | {row['macs']:,.0f} "
            f"| {row['archive_bytes']:,.0f} | {row['ms_1']:.4f} | {row['ms_64']:.3f} |"
        )


def check(found: dict[str, dict[str, dict]]) -> benchmark.Checks:
    checks = benchmark.Checks()
    for pattern, least in (("unstructured", 0.95), ("4x1 blocks", 0.85)):
        if "lenet" in found:
            row = found["lenet"][pattern]
            checks.at_least("pruning", f"LeNet-5 {pattern}, zeros", row["zeros"], least)
            checks.at_most("pruning", f"LeNet-5 {pattern}, points lost", round(row["drop"], 6), 0.1)
    if "resnet" in found:
        dense, small = found["resnet"]["dense"], found["resnet"]["filters"]
        last = found["resnet"]["filters, int8"]
        saved = dense["macs"] / small["macs"]
        checks.at_least("pruning", "ResNet-8 filters, times fewer MACs", saved, 2)
        checks.at_most("pruning", "ResNet-8 filters, points lost", round(small["drop"], 6), 0.5)
        checks.at_most("pruning", "ResNet-8 filters int8, points lost", round(last["drop"], 6), 0.5)
        for key in ("archive_bytes", "ms_1", "ms_64"):
            figure = small[key] / dense[key]
            checks.at_most("pruning", f"ResNet-8 filters / dense, {key}", figure, 0.99)
    return checks


RUNS = {"lenet": run_lenet, "resnet": run_resnet}
SEEDS = {"lenet": [7, 8, 9], "resnet": [7, 8]}


def main() -> None:
    options = benchmark.parser(__doc__)
    options.add_argument("--only", nargs="+", choices=list(RUNS), default=list(RUNS))
    options.add_argument("--seeds", nargs="+", type=int, default=None)
    options.add_argument("--held-out", action="store_true", help="measure on training digits")
    options.add_argument("--ratio", type=float, default=0.35, help="of filters removed, ResNet-8")
    options.add_argument("--round-to", type=int, default=4, help="channels left are a multiple")
    chosen = options.parse_args()
    digits = load_digits()
    digits = held_out(digits) if chosen.held_out else digits
    digits = digits.head(1200, 300) if chosen.quick else digits
    begin, found, runs = time.perf_counter(), {}, {}
    for network in chosen.only:
        runs[network] = []
        seeds = chosen.seeds or SEEDS[network][: 1 if chosen.quick else None]
        for seed in seeds:
            runs[network].append(RUNS[network](digits, seed, chosen))
            seconds = time.perf_counter() - begin
            print(f"{network}, seed {seed}: done after {seconds:.0f} s", flush=True)
        found[network] = summary(runs[network])
        show(network, found[network], seeds)
    seconds = time.perf_counter() - begin
    print(f"\n{len(digits.test_labels):,} digits measured; {seconds:.0f} s in all")
    results = {"held_out": chosen.held_out, "seconds": seconds}
    benchmark.finish(chosen, {**results, "found": found, "runs": runs}, check(found))


if __name__ == "__main__":
    main()
