"""What reusing activations saves: sensitivity() against running the whole network for each point.

    python scripts/bench_sensitivity.py --check

Both sides measure the same points (every layer at every level) in the same engine on one thread and
must find the same errors; figures are processor seconds, so that other work on the machine does not
count. The other side folds, packs and runs the whole network for each point.
"""

from __future__ import annotations

import time

import benchmark
import mxnet as mx
import numpy as np

from gluonzip.auto import sensitivity
from gluonzip.auto.changes import change_of
from gluonzip.gluon import trace
from gluonzip.graph import Graph
from gluonzip.model_zoo import get_model
from gluonzip.passes import simplify
from gluonzip.passes.fold_constants import fold_constants
from gluonzip.runtime import Engine
from gluonzip.spec import PerTensor

NETWORKS = {
    "lenet": (1000, (1, 28, 28)),
    "resnet20_small": (128, (1, 28, 28)),
    "resnet18_v1": (8, (3, 224, 224)),
}
LEVELS = (0.5, 0.8, 0.95)


def whole_network(graph: Graph, x: np.ndarray, layers: list[str]) -> dict[str, list[float]]:
    """Layer -> dB of the outputs at each level, the obvious way."""
    _, change, levels = change_of("sparsity", LEVELS, None, PerTensor())

    def run(changed: Graph) -> np.ndarray:
        return Engine.from_graph(simplify(changed), threads=1, raw=True)(x).astype(np.float64)

    reference, found = run(graph), {}
    for name in layers:
        weight = graph.node(name).inputs[1]
        for level in levels:
            changed = graph.copy()
            old = graph.constants[weight]
            changed.constants[weight] = type(old)(change(old.data, level))
            noise = np.square(reference - run(changed)).sum()
            found.setdefault(name, []).append(10 * np.log10(np.square(reference).sum() / noise))
    return found


def measure(name: str, quick: bool) -> dict:
    rows, shape = NETWORKS[name]
    mx.random.seed(0)
    net = get_model(name)
    net.initialize(mx.init.Xavier())
    x = np.random.default_rng(0).random((max(1, rows // 4) if quick else rows, *shape))
    x = x.astype(np.float32)
    sensitivity(net, x[:1], levels=LEVELS[:1], threads=1)  # what the first call of all loads
    begin = time.process_time()
    found = sensitivity(net, x, levels=LEVELS, threads=1)
    ours = time.process_time() - begin
    begin = time.process_time()
    graph = fold_constants(trace(net, x.shape))
    expected = whole_network(graph, x, [layer.name for layer in found.layers])
    theirs = time.process_time() - begin
    worst = max(
        abs(point.sqnr - value)
        for layer in found.layers
        for point, value in zip(layer.points, expected[layer.name], strict=True)
    )
    return {
        "network": name,
        "samples": len(x),
        "points": len(found.layers) * len(LEVELS),
        "seconds": ours,
        "whole_network_seconds": theirs,
        "speedup": theirs / ours,
        "macs_saved": found.macs[1] / found.macs[0],
        "largest_difference_db": float(worst),
    }


def main() -> None:
    options = benchmark.parser(__doc__)
    options.add_argument("--networks", nargs="+", choices=list(NETWORKS), default=list(NETWORKS))
    chosen = options.parse_args()
    rows, checks = [], benchmark.Checks()
    print("| network | samples | points | whole network, s | here, s | faster | MACs saved |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for name in chosen.networks:
        row = measure(name, chosen.quick)
        rows.append(row)
        print(
            f"| {name} | {row['samples']} | {row['points']} | {row['whole_network_seconds']:.2f} "
            f"| {row['seconds']:.2f} | {row['speedup']:.2f}x | {row['macs_saved']:.2f}x |",
            flush=True,
        )
        checks.at_least("sensitivity", f"{name}, times faster", row["speedup"], 1.3)
        difference = row["largest_difference_db"]
        checks.at_most("sensitivity", f"{name}, difference of the dB", difference, 0.01)
    benchmark.finish(chosen, {"rows": rows}, checks)


if __name__ == "__main__":
    main()
