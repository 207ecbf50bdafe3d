"""Post-training quantization to 8 bits: gluonzip against ONNX Runtime, OpenVINO NNCF and MXNet.

    python scripts/bench_quantization.py --check
    python scripts/bench_quantization.py --networks mobilenet --quick

The zoo's networks, trained on the digits by their recipes (kept in --folder), the same calibration
images for all (from the training digits) and the same test images. Figures: signal by quantization
noise of the test digits' scores against float32 MXNet, in dB; and top-1 accuracy. Each peer is a
process of its own; of its variants the best on the test digits counts (which favours the peers:
our steps see calibration images alone). Needs ``pip install -e '.[peers,demo]'``. NNCF needs
another NumPy than MXNet, so it lives in an environment of its own::

    python -m venv /path/to/nncf && /path/to/nncf/bin/pip install nncf openvino onnx
    python scripts/bench_quantization.py --nncf /path/to/nncf/bin/python

Covers targets T12 (time, --no-time leaves it out), T15 (accuracy; its 4-bit half is
scripts/qat_digits.py), T16 (simulation against engine), and issue 6's "better than every peer".
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import benchmark
import numpy as np

WORKER = Path(__file__).with_name("quantization_peers.py")
NETWORKS = ["lenet", "alexnet", "resnet", "mobilenet"]
PEERS = ["onnxruntime", "nncf", "mxnet"]
HARDEST = "mobilenet"
MARGIN = 3.0
"""dB by which the automatic mode must lead on the hardest network."""


@dataclass(frozen=True, eq=False)
class Case:
    """A trained network with its data; ``reference``: float32 scores of the test digits."""

    recipe: str
    folder: Path
    net: object
    calibration: np.ndarray
    test: np.ndarray
    labels: np.ndarray
    reference: np.ndarray

    def decibels(self, scores: np.ndarray) -> float:
        noise = float(np.square(self.reference.astype(np.float64) - scores).sum())
        signal = float(np.square(self.reference.astype(np.float64)).sum())
        return 10 * math.log10(signal / noise) if noise else math.inf

    def accuracy(self, scores: np.ndarray) -> float:
        return float((scores.argmax(axis=1) == self.labels).mean())


# ---------------------------------------------------------------- networks and data
def prepare(recipe: str, options) -> Case:
    """Train (or load) the network; write what the peers read."""
    import mxnet as mx
    from peers import export_onnx

    from gluonzip.model_zoo import get_model, load_digits
    from gluonzip.model_zoo.runner import train_dense
    from gluonzip.recipe import load

    folder = options.folder / recipe
    folder.mkdir(parents=True, exist_ok=True)
    weights, name = folder / "network.params", load(recipe).network.name
    if not weights.exists():
        print(f"training {recipe}", flush=True)
        train_dense(load(recipe), weights.with_suffix(".new"))
        weights.with_suffix(".new").replace(weights)
    (folder / "network.json").write_text(json.dumps({"name": name}))
    net = get_model(name)
    net.load_parameters(str(weights))
    digits = load_digits()
    calibration = digits.train_images[: options.images]
    test = digits.test_images[: 250 if options.quick else None]
    np.savez(folder / "data.npz", calibration=calibration, test=test)
    export_onnx(net, calibration.shape[1:], folder / "float.onnx")
    reference = net(mx.nd.array(test)).asnumpy()
    labels = digits.test_labels[: len(test)]
    return Case(recipe, folder, net, calibration, test, labels, reference)


# ---------------------------------------------------------------- sides
def ours(case: Case, options) -> Iterator[tuple[str, np.ndarray, dict]]:
    """Plain rounding with minmax ranges per tensor and per channel; the automatic mode."""
    from gluonzip import passes
    from gluonzip.auto import quantize_automatically
    from gluonzip.gluon import trace
    from gluonzip.runtime import Engine
    from gluonzip.spec import PerChannel, PerTensor, WeightQuantization

    graph = trace(case.net, (1, *case.calibration.shape[1:]))
    batches = [case.calibration[at : at + 64] for at in range(0, len(case.calibration), 64)]
    for name, granularity in (("per tensor", PerTensor()), ("per channel", PerChannel())):
        what = WeightQuantization(granularity=granularity)
        integers = passes.quantize_graph(graph, batches, weights=what)
        yield f"gluonzip {name}", Engine.from_graph(integers)(case.test), {}
    start = time.process_time()
    found = quantize_automatically(graph, batches)
    facts = {
        "seconds": time.process_time() - start,
        "held_out_db": found.decibels,
        "steps": [vars(step) for step in found.steps],
    }
    yield "gluonzip automatic", Engine.from_graph(found.graph)(case.test), facts


def theirs(case: Case, peer: str, options) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Scores of each variant, and why others are missing."""
    for old in case.folder.glob(f"{peer}-*.npy"):
        old.unlink()
    python = options.nncf if peer == "nncf" else sys.executable
    command = [str(python), str(WORKER), peer, str(case.folder)]
    command += ["--quick"] if options.quick else []
    root = str(Path(__file__).parents[1])
    try:
        done = subprocess.run(
            command,
            env={**os.environ, "PYTHONPATH": root if peer == "mxnet" else ""},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=1800,
            check=False,
        )
    except OSError as error:
        return {}, {peer: f"{python}: {error.strerror}"}
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
        return {}, {peer: last[0][:200]}
    failed = json.loads((case.folder / f"{peer}-failed.json").read_text())
    files = sorted(case.folder.glob(f"{peer}-*.npy"))
    scores = {path.stem.partition("-")[2]: np.load(path) for path in files}
    return scores, {f"{peer} {name}": why for name, why in failed.items()}


def measure(recipe: str, options) -> dict:
    """One network: a row a side (of peers, the best variant), and the reasons of missing ones."""
    case = prepare(recipe, options)
    rows, missing = {}, {}
    rows["float32"] = {"db": None, "accuracy": case.accuracy(case.reference)}
    print_row(recipe, "float32", rows["float32"])
    for name, scores, facts in ours(case, options):
        found = {"db": case.decibels(scores), "accuracy": case.accuracy(scores), **facts}
        rows[name] = found
        print_row(recipe, name, found)
    for peer in PEERS:
        found, failed = theirs(case, peer, options)
        missing.update(failed)
        variants = {
            name: {"db": case.decibels(scores), "accuracy": case.accuracy(scores)}
            for name, scores in found.items()
        }
        if not variants:
            continue
        best = max(variants, key=lambda name: variants[name]["db"])
        rows[peer] = {**variants[best], "variant": best, "variants": variants}
        print_row(recipe, f"{peer}: {best}", rows[peer])
    for name, why in missing.items():
        print(f"{name} is missing: {why}", flush=True)
    return {
        "network": recipe,
        "rows": rows,
        "missing": missing,
        "same_top1": simulation_is_deployment(case),
    }


def print_row(network: str, side: str, row: dict) -> None:
    db = "" if row["db"] is None else f"{row['db']:.2f}"
    print(f"| {network} | {side} | {db} | {100 * row['accuracy']:.1f} % |", flush=True)


# ---------------------------------------------------------------- T16, T12
def simulation_is_deployment(case: Case) -> float:
    """Share of test digits with the same top-1 in Gluon with fake quantizers and in the engine."""
    import mxnet as mx

    from gluonzip.gluon import clone, quantize, trace
    from gluonzip.passes import optimize
    from gluonzip.runtime import Engine
    from gluonzip.spec import PerChannel, WeightQuantization

    net = clone(case.net)
    quantize(net, weights=WeightQuantization(granularity=PerChannel()), data=case.calibration)
    simulated = net(mx.nd.array(case.test)).asnumpy()
    engine = Engine.from_graph(optimize(trace(net, (1, *case.test.shape[1:]))))
    return float((simulated.argmax(axis=1) == engine(case.test).argmax(axis=1)).mean())


def time_resnet50(quick: bool) -> dict:
    """Seconds of post-training quantization with 128 images by those of plain fp32 passes.

    From a Gluon network to an engine that is ready, tracing and packing included; the sides take
    turns, medians count.
    """
    import mxnet as mx
    import peers

    from gluonzip.gluon import calibrate_graph, trace
    from gluonzip.passes import optimize, simplify
    from gluonzip.passes.quantize import insert_fake_quantize
    from gluonzip.runtime import Engine
    from gluonzip.spec import PerChannel, WeightQuantization

    count = 32 if quick else 128
    name = "resnet50_v1"
    net = peers.build(name)
    net.hybridize(static_alloc=True, static_shape=True)
    images = peers.inputs(name, count)
    batches = [images[at : at + 16] for at in range(0, count, 16)]
    net(mx.nd.array(batches[0])).wait_to_read()

    def plain() -> None:
        for batch in batches:
            net(mx.nd.array(batch)).wait_to_read()

    def quantized() -> None:
        graph = simplify(trace(net, (1, 3, 224, 224)))
        ranges = calibrate_graph(net, graph, batches)
        what = WeightQuantization(granularity=PerChannel())
        Engine.from_graph(optimize(insert_fake_quantize(graph, ranges, what)))

    def seconds(run) -> float:
        start = time.perf_counter()
        run()
        return time.perf_counter() - start

    taken = [(seconds(quantized), seconds(plain)) for _ in range(1 if quick else 3)]
    ours, dense = (float(np.median(side)) for side in zip(*taken, strict=True))
    print(f"ResNet-50, {count} images: quantization {ours:.1f} s, fp32 MXNet {dense:.1f} s")
    return {"images": count, "seconds": ours, "mxnet_seconds": dense, "ratio": ours / dense}


# ---------------------------------------------------------------- targets
def check(found: list[dict], timing: dict | None) -> benchmark.Checks:
    checks = benchmark.Checks()
    for case in found:
        name, rows = case["network"], case["rows"]
        automatic, dense = rows["gluonzip automatic"], rows["float32"]
        for peer in PEERS:
            lead = automatic["db"] - rows[peer]["db"] if peer in rows else math.nan
            bound = MARGIN if name == HARDEST else 0.0
            checks.at_least("issue 6", f"{name}, dB above {peer}'s best", lead, bound)
        for side in ("gluonzip per channel", "gluonzip automatic"):
            drop = 100 * (dense["accuracy"] - rows[side]["accuracy"])
            checks.at_most("T15", f"{name}, {side}, points lost", drop, 0.3)
        checks.at_least("T16", f"{name}, % same top-1", 100 * case["same_top1"], 99.9)
    if timing:
        what = f"ResNet-50, {timing['images']} images, quantization / fp32 MXNet passes"
        checks.at_most("T12", what, timing["ratio"], 1.5)
    return checks


def main() -> None:
    options = benchmark.parser(__doc__)
    options.add_argument("--networks", nargs="+", choices=NETWORKS, default=NETWORKS)
    options.add_argument("--folder", type=Path, default=Path("runs/quantization"))
    options.add_argument("--images", type=int, default=None, help="calibration images (256)")
    options.add_argument("--nncf", type=Path, default=sys.executable, metavar="PYTHON")
    options.add_argument("--no-time", action="store_true", help="leave ResNet-50 (T12) out")
    chosen = options.parse_args()
    chosen.images = chosen.images or (64 if chosen.quick else 256)
    facts = benchmark.machine()
    print(f"{facts['cpu']}, {facts['isa']}; {chosen.images} calibration images")
    print("| network | side | dB | accuracy |\n|---|---|---:|---:|")
    found = [measure(name, chosen) for name in chosen.networks]
    timing = None if chosen.no_time else time_resnet50(chosen.quick)
    benchmark.finish(chosen, {"networks": found, "resnet50": timing}, check(found, timing))


if __name__ == "__main__":
    main()
