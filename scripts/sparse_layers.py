"""One layer through the engine, for bench_sparse.py: what is chosen, against the dense kernel.

A graph of the layer alone is run twice, with sparse kernels forbidden and as the engine chooses,
in turns; the figures are the layer's own in the engine's profile, batch 1, one thread.
"""

from __future__ import annotations

import os
import statistics

import benchmark
import numpy as np
from bench_kernels import Shape, gemm, resnet50
from sparse_products import QUICK_SPARSITIES, matrix

from gluonzip.graph import Constant, Graph, Input, Node
from gluonzip.runtime import Engine

SPARSITIES = [0.5, 0.75, 0.85, 0.95]


def sparsities(options) -> list[float]:
    if options.quick:
        return QUICK_SPARSITIES
    return SPARSITIES[:3] if options.check else SPARSITIES


def shapes(options) -> list[Shape]:
    layers = [s for s in resnet50(1) if s.channels >= 16]
    dense = [gemm(64, 4096, 4096), gemm(1, 4096, 4096)]
    if options.quick:
        return layers[7:8]
    step = 8 if options.check else 4
    return [*dense, *(layers if options.all_shapes else layers[2::step])]


def graph_of(shape: Shape, kind: str, weight: np.ndarray) -> tuple[Graph, np.ndarray]:
    """The layer with relu, and an input for it."""
    pad, rows = shape.kernel // 2, shape.rows_of_gemm
    op, attributes = "conv2d", {"stride": [shape.stride] * 2, "pad": [pad] * 4}
    geometry = shape.geometry()
    given = (shape.n, shape.channels, geometry["h"], geometry["w"])
    data = weight.reshape(shape.out, shape.channels, shape.kernel, shape.kernel)
    if rows:
        op, attributes, data, given = "dense", {}, weight, (rows, shape.channels)
    attributes["act_min"] = 0.0
    if kind == "s8":
        nodes = [
            Node("quantize", "q", ["x"], ["codes"], {"scale": 0.05}),
            Node(op, "layer", ["codes", "w"], ["y"], {**attributes, "out_scale": 0.05}),
        ]
        constant = Constant(data.astype(np.int8), scale=np.float32(0.01))
    else:
        nodes = [Node(op, "layer", ["x", "w"], ["y"], attributes)]
        constant = Constant(data.astype(np.float32))
    x = np.random.default_rng(3).normal(size=given).astype(np.float32)
    return Graph([Input("x", given)], ["y"], nodes, {"w": constant}), x


def engine_of(graph: Graph, policy: str) -> Engine:
    before = os.environ.get("GLUONZIP_SPARSE")
    os.environ["GLUONZIP_SPARSE"] = policy
    try:
        engine = Engine.from_graph(graph, threads=1)
        engine(np.zeros(graph.inputs[0].shape, np.float32))  # weights are packed by the first call
    finally:
        os.environ.pop("GLUONZIP_SPARSE")
        if before is not None:
            os.environ["GLUONZIP_SPARSE"] = before
    return engine


def layer_row(engine: Engine, x: np.ndarray, repeat: int) -> dict:
    return next(row for row in engine.profile(x, repeat=repeat) if row["name"] == "layer")


def measure(shape: Shape, kind: str, sparsity: float, pattern: str, quick: bool) -> dict:
    # Blocks are input channels; the weights of a tap lie apart.
    block = 4 if pattern == "blocks" else 1
    taps = shape.kernel**2
    weight = matrix(shape.out * taps, shape.channels, sparsity, block)
    weight = weight.reshape(shape.out, taps, shape.channels).transpose(0, 2, 1)
    graph, x = graph_of(shape, kind, np.ascontiguousarray(weight).reshape(shape.out, -1))
    engines = {policy: engine_of(graph, policy) for policy in ("never", "auto")}
    times: dict[str, list[float]] = {policy: [] for policy in engines}
    for _ in range(2 if quick else 4):
        for policy, engine in engines.items():
            row = layer_row(engine, x, 5)
            times[policy].append(row["milliseconds"])
    chosen = layer_row(engines["auto"], x, 1)
    if not chosen["kernel"].startswith("sparse"):  # the same kernel twice: one sample of its time
        times["never"] = times["auto"] = times["never"] + times["auto"]
    return {
        "shape": shape.name, "kind": kind, "sparsity": sparsity, "pattern": pattern,
        "dense_ms": statistics.median(times["never"]),
        "chosen_ms": statistics.median(times["auto"]),
        "kernel": chosen["kernel"], "why": chosen["note"], "macs": shape.macs,
    }  # fmt: skip


def run(options) -> list[dict]:
    print("\nlayers through the engine, one thread, milliseconds of the layer")
    rows = []
    for shape in shapes(options):
        for kind in ("s8", "f32"):
            for pattern in ("blocks", "unstructured"):
                for sparsity in sparsities(options):
                    rows.append(measure(shape, kind, sparsity, pattern, options.quick))
                    show(rows[-1])
    return rows


def show(row: dict) -> None:
    print(
        f"{row['shape']:24}{row['kind']:>4} {row['pattern']:13}{row['sparsity']:5.0%}  "
        f"dense {row['dense_ms']:8.3f}  chosen {row['chosen_ms']:8.3f}  "
        f"x{row['dense_ms'] / row['chosen_ms']:6.2f}  {row['kernel']}",
        flush=True,
    )


def check(rows: list[dict], checks: benchmark.Checks) -> None:
    """The engine's choice is never much slower than dense; nor are the zeros of one row."""
    for row in rows:
        if row["shape"].startswith("1x") and row["kind"] == "s8" and row["sparsity"] == 0.85:
            what = f"engine, {row['shape']} int8 {row['pattern']} 85 %, dense / {row['kernel']}"
            checks.at_least("T6", what, row["dense_ms"] / row["chosen_ms"], 0.95)
    worst = min(rows, key=lambda r: r["dense_ms"] / r["chosen_ms"])
    what = f"engine, dense / chosen kernel, worst ({worst['shape']}, {worst['sparsity']:.0%})"
    checks.at_least("T6", what, worst["dense_ms"] / worst["chosen_ms"], 0.95)
