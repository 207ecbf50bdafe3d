"""Products of a sparse matrix, for bench_sparse.py: our kernels beside SciPy, MXNet and PyTorch.

One thread, by its own CPU clock (MXNet, which computes on threads of its own, by the process's).
Each side gets x as it likes it best, and its weights packed or converted beforehand.
"""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Callable

import benchmark
import numpy as np
from bench_kernels import Shape, gemm, resnet50

from gluonzip import _core
from gluonzip.runtime import SparseMatrix, spmm, spmm_s8

SPARSITIES = [0.0, 0.5, 0.75, 0.85, 0.9, 0.95, 0.98]
QUICK_SPARSITIES = [0.5, 0.75, 0.9]
CHECKED_SPARSITIES = [0.5, 0.75, 0.85, 0.95]
ALEXNET = [gemm(64, 4096, 9216), gemm(64, 4096, 4096), gemm(1, 4096, 9216), gemm(1, 4096, 4096)]
COLD_BYTES = 160 << 20  # of weights in rotation: several times any cache


def shapes(options) -> list[Shape]:
    """AlexNet's dense layers, and ResNet-50's convolutions as products."""
    layers = [s for s in resnet50(1) if s.channels >= 16]
    if options.quick:
        return [ALEXNET[1], ALEXNET[3], layers[7]]
    if options.all_shapes:
        return [*ALEXNET, *layers]
    if options.check:
        return [ALEXNET[1], *ALEXNET[2:], *layers[2::8]]
    return [*ALEXNET, *layers[2::4]]


def sparsities(options) -> list[float]:
    if options.quick:
        return QUICK_SPARSITIES
    return CHECKED_SPARSITIES if options.check else SPARSITIES


def sizes(shape: Shape) -> tuple[int, int, int]:
    """(M, K, N) of weight @ x."""
    return (
        shape.out,
        shape.channels * shape.kernel**2,
        shape.macs // (shape.out * shape.channels * shape.kernel**2),
    )


@functools.lru_cache(maxsize=1)
def matrix(m: int, k: int, sparsity: float, block: int) -> np.ndarray:
    """int8 codes other than zero, but for about so many blocks of neighbours in a row."""
    random = np.random.default_rng(1)
    keep = random.random(m * k // block, np.float32) >= sparsity
    codes = random.integers(-127, 128, (m, k), np.int8)
    codes[codes == 0] = 1
    return codes * np.repeat(keep, block).reshape(m, k)


def cpu_ms(run: Callable[[], object], budget: float, clock=time.thread_time) -> float:
    """Median CPU time of a call, in milliseconds."""
    run()
    taken, start = [], time.perf_counter()
    while len(taken) < 3 or (time.perf_counter() - start < budget and len(taken) < 200):
        before = clock()
        run()
        taken.append((clock() - before) * 1e3)
    return statistics.median(taken)


def peers(weight: np.ndarray, x: np.ndarray, budget: float) -> dict[str, float]:
    """float32 milliseconds of the libraries that are installed."""
    times = {}
    if benchmark.installed("scipy"):
        from scipy import sparse

        csr = sparse.csr_matrix(weight)
        times["scipy"] = cpu_ms(lambda: csr @ x, budget)
    if benchmark.installed("mxnet"):
        import mxnet as mx

        left, right = mx.nd.array(weight).tostype("csr"), mx.nd.array(x)
        times["mxnet"] = cpu_ms(
            lambda: mx.nd.sparse.dot(left, right).wait_to_read(), budget, time.process_time
        )
    if benchmark.installed("torch"):
        import torch

        torch.set_num_threads(1)
        mine, given = torch.from_numpy(weight).to_sparse_csr(), torch.from_numpy(x)
        times["torch"] = cpu_ms(lambda: mine @ given, budget)
    return times


def measure(shape: Shape, kind: str, sparsity: float, pattern: str, options) -> dict:
    budget = 0.01 if options.quick or options.check else 0.03
    m, k, n = sizes(shape)
    block = 4 if pattern == "blocks" else 1
    dtype, product = (np.int8, spmm_s8) if kind == "s8" else (np.float32, spmm)
    weight = matrix(m, k, sparsity, block).astype(dtype)
    x = np.random.default_rng(2).integers(-127, 128, (k, n)).astype(dtype)
    s = SparseMatrix.from_dense(weight, block=(1, block))
    by_rows = np.ascontiguousarray(x.T).T
    choice = s.choose(n, transposed=True)
    row = {
        "shape": shape.name, "kind": kind, "sparsity": sparsity, "pattern": pattern,
        "sparse_ms": cpu_ms(lambda: product(s, x, threads=1), budget),
        "dense_ms": cpu_ms(
            lambda: product(s, by_rows, threads=1, kernel="dense", transposed=True), budget
        ),
        "chosen": choice.kernel, "reason": choice.reason, "peers_ms": {},
    }  # fmt: skip
    row["chosen_ms"] = row[f"{choice.kernel}_ms"]
    if kind == "f32" and sparsity >= (0.75 if options.check else 0.5):
        row["peers_ms"] = peers(weight, x, budget)
    return row


def show(row: dict) -> None:
    others = "".join(f"  {name} {ms:8.3f}" for name, ms in row["peers_ms"].items())
    print(
        f"{row['shape']:24}{row['kind']:>4} {row['pattern']:13}{row['sparsity']:5.0%}  "
        f"dense {row['dense_ms']:8.3f}  sparse {row['sparse_ms']:8.3f}  "
        f"x{row['dense_ms'] / row['sparse_ms']:6.2f}  chosen {row['chosen']:7}{others}",
        flush=True,
    )


def run(options) -> list[dict]:
    print("\nproducts weight @ x, one thread, CPU milliseconds a call")
    missing = [name for name in ("scipy", "mxnet", "torch") if not benchmark.installed(name)]
    if missing:
        print(f"not installed here, so missing: {', '.join(missing)}")
    rows = []
    for shape in shapes(options):
        for pattern in ("blocks", "unstructured"):
            for sparsity in sparsities(options):
                if sparsity == 0 and pattern == "blocks":
                    continue  # the same as unstructured
                for kind in ("s8", "f32"):  # in this order, for the cached matrix
                    rows.append(measure(shape, kind, sparsity, pattern, options))
                    show(rows[-1])
    return rows


def check(rows: list[dict], checks: benchmark.Checks) -> None:
    """T6: faster than the dense kernel, SciPy and MXNet; never much slower than dense."""
    worst = min(rows, key=lambda r: r["dense_ms"] / r["chosen_ms"])
    what = f"products, dense / chosen kernel, worst ({worst['shape']}, {worst['sparsity']:.0%})"
    checks.at_least("T6", what, worst["dense_ms"] / worst["chosen_ms"], 0.95)
    for pattern, least in (("blocks", 0.75), ("unstructured", 0.85)):
        mine = [r for r in rows if r["pattern"] == pattern and r["sparsity"] >= least]
        for kind in ("s8", "f32"):
            for one_row, rows_ in ((False, "several rows"), (True, "one row")):
                held = [r for r in mine if r["kind"] == kind and is_one_row(r) == one_row]
                _faster_than_dense(held, f"{kind} {pattern} from {least:.0%}, {rows_}", checks)
        for name in ("scipy", "mxnet", "torch"):
            held = [r for r in mine if name in r["peers_ms"]]
            if held:
                bad = min(held, key=lambda r: r["peers_ms"][name] / r["chosen_ms"])
                what = f"f32 {pattern} from {least:.0%}, {name} / ours, worst ({bad['shape']})"
                target = "T6" if name != "torch" else "T6 (beside the target)"
                checks.at_least(target, what, bad["peers_ms"][name] / bad["chosen_ms"], 1.0)


def is_one_row(row: dict) -> bool:
    return row["shape"].startswith("1x")


def _faster_than_dense(rows: list[dict], what: str, checks: benchmark.Checks) -> None:
    if not rows:
        return
    bad = min(rows, key=lambda r: r["dense_ms"] / r["sparse_ms"])
    what = f"{what}: dense / sparse, worst ({bad['shape']}, {bad['sparsity']:.0%})"
    checks.at_least("T6", what, bad["dense_ms"] / bad["sparse_ms"], 1.0)


# ---------------------------------------------------------------- one row, from memory
def run_one_row(options) -> list[dict]:
    """AlexNet's fc6 at batch 1, all threads, wall clock: bytes a second of the packed weights."""
    print(
        f"\none row, {options.threads} threads, wall clock, weights from memory; "
        "in turns with reading alone"
    )
    rows = []
    cases = [("s8", "dense", 0.0, 1), ("s8", "sparse", 0.75, 4), ("s8", "sparse", 0.85, 1),
             ("s8", "sparse", 0.9, 4),
             ("f32", "sparse", 0.75, 4), ("f32", "sparse", 0.9, 1)]  # fmt: skip
    for kind, kernel, sparsity, block in cases[1:4:2] if options.quick else cases:
        rows.append(_one_row(kind, kernel, sparsity, block, options))
        row = rows[-1]
        print(
            f"{row['shape']} {kind:>4} {kernel:7}{sparsity:4.0%} block {block}  "
            f"{row['milliseconds']:7.3f} ms  "
            f"{row['packed_bytes'] / 1e6:6.1f} MB  {row['gbytes_per_second']:6.1f} GB/s  "
            f"{row['share']:6.1%} of the limit of {row['limit_gbytes_per_second']:.1f}",
            flush=True,
        )
    return rows


def _one_row(kind: str, kernel: str, sparsity: float, block: int, options) -> dict:
    m, k = (1024, 2304) if options.quick else (4096, 9216)
    dtype = np.int8 if kind == "s8" else np.float32
    s = SparseMatrix.from_dense(matrix(m, k, sparsity, block).astype(dtype))
    x = np.random.default_rng(2).integers(-127, 128, (k, 1)).astype(dtype)
    isa = _core.resolve_isa("")
    copies = [s._pack(kernel, 1, isa)]
    bytes_ = copies[0].bytes
    while len(copies) < max(2, COLD_BYTES // bytes_):
        s._packed.clear()
        copies.append(s._pack(kernel, 1, isa))
    form = "int32" if kind == "s8" else "float32"
    arguments = (x, options.threads) if kernel == "dense" else (x, form, options.threads)
    taken, limits = [], []
    for _ in range(3 if options.quick else 6):
        limits.append(_core.limits("", options.threads)["memory"])
        for packed in copies:
            start = time.perf_counter()
            packed.run(*arguments)
            taken.append(time.perf_counter() - start)
    seconds, limit = statistics.median(taken[len(copies) :]), statistics.median(limits)
    return {
        "shape": f"1x{m}x{k}", "kind": kind, "kernel": kernel, "sparsity": sparsity, "block": block,
        "milliseconds": seconds * 1e3, "packed_bytes": bytes_,
        "gbytes_per_second": bytes_ / seconds / 1e9, "limit_gbytes_per_second": limit / 1e9,
        "share": bytes_ / seconds / limit,
    }  # fmt: skip


def check_one_row(rows: list[dict], checks: benchmark.Checks) -> None:
    for row in rows:
        what = f"{row['shape']} {row['kind']} {row['kernel']} {row['sparsity']:.0%} zeros"
        checks.at_least("T7", f"{what}, share of the memory limit", row["share"], 0.8)
