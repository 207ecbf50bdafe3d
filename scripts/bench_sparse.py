"""Zeros that pay: sparse kernels against the dense kernel and the peers, and whole networks.

    python scripts/bench_sparse.py --check
    python scripts/bench_sparse.py --quick --only layers

Layers run on one thread, timed by CPU time: each shape in int8 and float32, in 4x1 blocks (four
input channels of one output channel) and unstructured, from 0 to 98 % zeros, with relu and, in
int8, requantization; "chosen" is what the engine takes for that layer. Products are also timed in
``scipy.sparse`` (CSR) and ``mx.nd.sparse.dot``, float32. Networks run with all cores, one process a
side, the sides in turns (see bench_peers.py); a peer that is not installed is named as missing.
Covers targets T4, T5 (which needs DeepSparse's times for this machine: --deepsparse) and T6.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # of this process: layers are timed on one thread

import json
import statistics
import time
from pathlib import Path

import bench_peers
import benchmark
import numpy as np
from bench_kernels import Shape, gemm, resnet50
from peers import zero_smallest

from gluonzip import _core
from gluonzip.graph import Constant, Graph, Input, Node
from gluonzip.runtime import Engine

SPARSITIES = [0.0, 0.5, 0.75, 0.85, 0.9, 0.95, 0.98]
QUICK_SPARSITIES = [0.5, 0.75, 0.9]
ALEXNET_DENSE = [
    gemm(64, 4096, 9216),
    gemm(64, 4096, 4096),
    gemm(64, 1000, 4096),
    gemm(1, 4096, 9216),
]
DENSE_PEERS = bench_peers.INT8_PEERS


def shapes(quick: bool) -> list[Shape]:
    layers = [s for s in resnet50(1) if s.channels >= 16]
    return [*layers[3::6], gemm(64, 4096, 4096)] if quick else [*layers, *ALEXNET_DENSE]


# ---------------------------------------------------------------- layers
def weights(shape: Shape, kind: str, sparsity: float, block: int) -> np.ndarray:
    """(out, kernel, kernel, channels), every value other than zero before it is pruned."""
    random = np.random.default_rng(1)
    full = random.integers(1, 128, (shape.out, shape.channels, shape.kernel, shape.kernel))
    pruned = zero_smallest(full * random.choice([-1, 1], full.shape), sparsity, block)
    dtype = np.int8 if kind == "s8" else np.float32
    return np.ascontiguousarray(pruned.transpose(0, 2, 3, 1)).astype(dtype)


def kernel_ms(conv, shape: Shape, quick: bool) -> float:
    first = min(conv.time(2, 1, shape.residual))
    calls = max(5, min(200, int((0.03 if quick else 0.15) / first)))
    return statistics.median(conv.time(calls, 1, shape.residual)) * 1e3


def cpu_ms(run, budget: float) -> float:
    """Median CPU time of a call of this thread, in milliseconds."""
    run()
    taken, start = [], time.perf_counter()
    while len(taken) < 3 or time.perf_counter() - start < budget:
        before = time.thread_time()
        run()
        taken.append((time.thread_time() - before) * 1e3)
    return statistics.median(taken)


def chosen_kernel(shape: Shape, kind: str, packed: np.ndarray) -> str:
    """The name of the kernel that the engine takes for this layer."""
    weight = np.ascontiguousarray(packed.transpose(0, 3, 1, 2))
    pad = shape.kernel // 2
    rows = shape.rows_of_gemm
    op, attributes = "conv2d", {"stride": [shape.stride] * 2, "pad": [pad] * 4}
    given = (shape.n, shape.channels, shape.geometry()["h"], shape.geometry()["w"])
    if rows:
        op, attributes, weight, given = "dense", {}, weight[:, :, 0, 0], (rows, shape.channels)
    nodes = [Node(op, "layer", ["x", "w"], ["y"], attributes)]
    constant = Constant(weight)
    if kind == "s8":
        quantize = Node("quantize", "q", ["x"], ["codes"], {"scale": 0.05})
        layer = Node(op, "layer", ["codes", "w"], ["y"], {**attributes, "out_scale": 0.05})
        nodes, constant = [quantize, layer], Constant(weight, scale=np.float32(0.01))
    graph = Graph([Input("x", given)], ["y"], nodes, {"w": constant})
    rows = Engine.from_graph(graph, threads=1).profile(np.zeros(given, "float32"), repeat=1)
    return next(row["kernel"] for row in rows if row["name"] == "layer").split("+")[-1]


def peer_products(shape: Shape, packed: np.ndarray, budget: float) -> dict[str, float]:
    """Milliseconds of weight @ x in the libraries that multiply sparse matrices."""
    matrix = packed.reshape(shape.out, -1).astype(np.float32)
    columns = shape.macs // matrix.size
    x = np.random.default_rng(2).normal(size=(matrix.shape[1], columns)).astype(np.float32)
    times = {}
    if benchmark.installed("scipy"):
        from scipy import sparse

        csr = sparse.csr_matrix(matrix)
        times["scipy"] = cpu_ms(lambda: csr @ x, budget)
    if benchmark.installed("mxnet"):
        import mxnet as mx

        left, right = mx.nd.array(matrix).tostype("csr"), mx.nd.array(x)

        def dot() -> None:
            mx.nd.sparse.dot(left, right).wait_to_read()

        dot()
        start = time.process_time()  # MXNet computes on a thread of its own
        for _ in range(3):
            dot()
        times["mxnet"] = (time.process_time() - start) / 3 * 1e3
    return times


def measure_layer(shape: Shape, kind: str, sparsity: float, pattern: str, options) -> dict:
    packed = weights(shape, kind, sparsity, 4 if pattern == "blocks" else 1)
    geometry, name = shape.geometry(), kind.upper()
    dense = getattr(_core, f"PackedConv{name}")(geometry, packed)
    sparse = getattr(_core, f"SparseConv{name}")(geometry, packed)
    row = {
        "shape": shape.name, "kind": kind, "sparsity": sparsity, "pattern": pattern,
        "dense_ms": kernel_ms(dense, shape, options.quick),
        "sparse_ms": kernel_ms(sparse, shape, options.quick),
        "chosen": chosen_kernel(shape, kind, packed), "peers_ms": {},
    }  # fmt: skip
    if kind == "f32" and shape.kernel == 1 and sparsity >= 0.5:
        row["peers_ms"] = peer_products(shape, packed, 0.02 if options.quick else 0.1)
    row["chosen_ms"] = row["sparse_ms" if row["chosen"].startswith("sparse") else "dense_ms"]
    return row


def show_layer(row: dict) -> None:
    peers = "".join(f"  {name} {ms:9.3f}" for name, ms in row["peers_ms"].items())
    print(
        f"{row['shape']:24}{row['kind']:>4} {row['pattern']:13}{row['sparsity']:5.0%}  "
        f"dense {row['dense_ms']:8.3f}  sparse {row['sparse_ms']:8.3f}  "
        f"x{row['dense_ms'] / row['sparse_ms']:5.2f}  chosen {row['chosen']:10}{peers}",
        flush=True,
    )


def run_layers(options) -> list[dict]:
    print("one thread, CPU milliseconds a call")
    rows = []
    for shape in shapes(options.quick):
        for kind in ("s8", "f32"):
            for pattern in ("blocks", "unstructured"):
                for sparsity in QUICK_SPARSITIES if options.quick else SPARSITIES:
                    rows.append(measure_layer(shape, kind, sparsity, pattern, options))
                    show_layer(rows[-1])
    return rows


def check_layers(rows: list[dict], checks: benchmark.Checks) -> None:
    slowest = min(rows, key=lambda r: r["dense_ms"] / r["chosen_ms"])
    what = f"dense / chosen kernel, worst ({slowest['shape']}, {slowest['sparsity']:.0%})"
    checks.at_least("T6", what, slowest["dense_ms"] / slowest["chosen_ms"], 0.95)
    for pattern, least in (("blocks", 0.75), ("unstructured", 0.85)):
        for kind in ("s8", "f32"):
            mine = [r for r in rows if r["pattern"] == pattern and r["kind"] == kind]
            mine = [r for r in mine if r["sparsity"] >= least]
            if not mine:
                continue
            worst = min(mine, key=lambda r: r["dense_ms"] / r["sparse_ms"])
            what = f"{kind} {pattern} from {least:.0%}, dense / sparse, worst ({worst['shape']})"
            checks.at_least("T6", what, worst["dense_ms"] / worst["sparse_ms"], 1.0)
            ratios = [ms / r["chosen_ms"] for r in mine for ms in r["peers_ms"].values()]
            if ratios:
                what = f"{kind} {pattern} from {least:.0%}, best of SciPy and MXNet / ours, worst"
                checks.at_least("T6", what, min(ratios), 1.0)


# ---------------------------------------------------------------- networks
def network_sides(quick: bool) -> list[str]:
    sides = ["gluonzip_int8", "gluonzip_int8_blocks_75", "gluonzip_fp32"]
    if quick:
        return sides
    levels = [f"{p}_{s}" for p in ("blocks", "unstructured") for s in (50, 75, 90)]
    ours = [f"gluonzip_{kind}_{level}" for kind in ("int8", "fp32") for level in levels]
    return list(dict.fromkeys(sides + ours + DENSE_PEERS))


def run_networks(options) -> list[dict]:
    options.folder.mkdir(parents=True, exist_ok=True)
    options.sides = network_sides(options.quick)
    rows = []
    for network in options.networks:
        for batch in options.batches:
            rows.append(bench_peers.measure(network, batch, options, {}))
            print(f"\n{network}, batch {batch}, {options.threads} threads, milliseconds a call")
            for side, ms in sorted(rows[-1]["ms"].items(), key=lambda item: item[1]):
                print(f"  {side:32}{ms:10.2f}", flush=True)
            for side, reason in rows[-1]["missing"].items():
                print(f"  {side:32} missing: {reason}")
    return rows


def check_networks(rows: list[dict], options, checks: benchmark.Checks) -> None:
    for row in rows:
        if row["network"] != "resnet50_v1":
            continue
        ms, batch = row["ms"], row["batch"]
        ours = ms.get("gluonzip_int8_blocks_75")
        if ours:
            what = f"ResNet-50 batch {batch}, our dense int8 / 75 % in 4x1 blocks"
            checks.at_least("T4", what, ms["gluonzip_int8"] / ours, 1.0)
            peers = [ms[side] for side in DENSE_PEERS if side in ms]
            if peers:
                what = f"ResNet-50 batch {batch}, best dense int8 peer / 75 % in 4x1 blocks"
                checks.at_least("T4", what, min(peers) / ours, 2.2 if batch == 1 else 2.0)
        for pattern, theirs in options.deepsparse.get(str(batch), {}).items():
            mine = ms.get(f"gluonzip_fp32_{pattern}_90")
            if mine:
                what = f"ResNet-50 batch {batch}, DeepSparse / ours, fp32, 90 % {pattern}"
                checks.at_least("T5", what, theirs / mine, 1.3)


def main() -> None:
    parser = benchmark.parser(__doc__)
    parser.add_argument("--only", choices=["layers", "networks"])
    parser.add_argument("--networks", nargs="+", default=["resnet50_v1"])
    parser.add_argument("--batches", nargs="+", type=int, default=None, help="default: 1 and 16")
    parser.add_argument("--threads", type=int, default=benchmark.cores(), help="of networks")
    parser.add_argument("--rounds", type=int, default=None)
    parser.add_argument("--calls", type=int, default=None, help="calls a side makes in its turn")
    parser.add_argument("--folder", type=Path, default=Path("runs/peers"))
    parser.add_argument(
        "--deepsparse", type=json.loads, default={}, metavar="JSON",
        help='its milliseconds, e.g. {"1": {"blocks": 22.1, "unstructured": 20.9}}',
    )  # fmt: skip
    options = parser.parse_args()
    options.batches = options.batches or ([1] if options.quick else [1, 16])
    options.rounds = options.rounds or (2 if options.quick else 6)
    facts = benchmark.machine()
    print(f"{facts['cpu']}, {facts['cores']} cores, {facts['isa']}")
    results, checks = {"threads": options.threads}, benchmark.Checks()
    if options.only != "networks":
        results["layers"] = run_layers(options)
        check_layers(results["layers"], checks)
    if options.only != "layers":
        results["networks"] = run_networks(options)
        check_networks(results["networks"], options, checks)
        if not options.deepsparse:
            print("DeepSparse is missing: T5 is not checked (give its times with --deepsparse)")
    benchmark.finish(options, results, checks)


if __name__ == "__main__":
    main()
