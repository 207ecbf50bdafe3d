"""How small archives are: Deep Compression's table, the entropy coder, peers, loading time.

    python scripts/bench_archive.py --check
    python scripts/bench_archive.py --quick --only tables entropy

tables: AlexNet and VGG-16, LeNet-300-100 and LeNet-5 at the paper's sparsity and bits on synthetic
weights (archive_shapes.py says which), each stage next to .params, gzip, zstd and int8 ONNX (a
file, written). lenet: LeNet-5 trained on the digits, pruned and shared by rate (archive_lenet.py).
resnet: ResNet-50 in int8 with Gaussian weights of He's initialization, dense and at half the
weights. entropy: payload against the entropy of its symbols, canonical Huffman, zstd and rANS on
those streams, and how fast the decoder is. Covers T8 to T11.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import gzip
import heapq
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import archive_lenet
import archive_shapes as shapes
import benchmark
import numpy as np

from gluonzip import _core, archive, onnx
from gluonzip.archive import encodings, rans
from gluonzip.graph.ir import Constant, Graph
from gluonzip.passes.share import entropy_bits

ROUNDS = 5


# ---------------------------------------------------------------- peers
def peers(graph: Graph) -> dict[str, int]:
    """Bytes of the same float32 weights in other forms."""
    raw = b"".join(c.data.astype("<f4").tobytes() for c in graph.constants.values())
    names = sum(len(name) + 40 for name in graph.constants)
    level = 6 if len(raw) < 2**24 else 1
    sizes = {".params": len(raw) + names, "gzip": len(gzip.compress(raw, level))}
    zstd = zstd_size(raw)
    return sizes if zstd is None else {**sizes, "zstd": zstd}


def zstd_size(raw: bytes, level: int = 19) -> int | None:
    """Bytes that the command zstd makes of them; None when it is not installed."""
    if shutil.which("zstd") is None:
        return None
    level = level if len(raw) < 2**24 else 3
    return len(subprocess.run(["zstd", f"-{level}", "-c"], input=raw, stdout=-1, check=True).stdout)


def onnx_int8_bytes(graph: Graph) -> int:
    """Bytes of an ONNX file of the graph whose weights are int8, one scale a layer."""
    constants = {}
    for name, constant in graph.constants.items():
        data = constant.data
        if data.ndim > 1:
            scale = np.float32(np.abs(data).max() / 127)
            constants[name] = Constant(np.rint(data / scale).astype(np.int8), scale)
        else:
            constants[name] = constant
    made = Graph(graph.inputs, graph.outputs, graph.nodes, constants, graph.name)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "int8.onnx")
        onnx.write(path, made)
        return sum(file.stat().st_size for file in Path(folder).iterdir())


def excess_kurtosis(weight: np.ndarray) -> float:
    """0 for a normal distribution, 3 for Laplace's."""
    centred = weight.astype(np.float64).ravel() - weight.mean()
    return float((centred**4).mean() / (centred**2).mean() ** 2 - 3)


# ---------------------------------------------------------------- Deep Compression's table
def run_tables(options) -> list[dict]:
    rows = []
    heads = ["dense", "pruned", "shared", "coded", "by rate"]
    print(f"{'network':15}{''.join(f'{h:>13}' for h in heads)}   rate  paper")
    for name, layers in shapes.TABLES.items():
        if options.quick and name in ("AlexNet", "VGG-16"):
            layers = shapes.shrunk(layers, 8)
        rows.append(measure_table(name, layers, not options.quick))
        show_table(rows[-1])
    return rows


def measure_table(name: str, layers: list[shapes.Layer], whole: bool) -> dict:
    """Bytes after each stage; "shared" is the paper's form before Huffman coding."""
    row = {"network": name, "paper": shapes.PAPER[name], "whole": whole}
    for stage, graph in shapes.stages(name, layers):
        if stage == "dense":
            row["dense"] = 4 * sum(c.data.size for c in graph.constants.values())
            row["onnx_int8"] = onnx_int8_bytes(graph)
            continue
        size = len(archive.to_bytes(graph))
        if stage == "pruned":
            row["pruned"] = size
        elif stage == "shared":
            row |= {"shared": indexed_bytes(graph, layers), "peers": peers(graph), "coded": size}
        else:
            row |= {"by_rate": size, "relative_error": graph.meta["relative_error"]}
    row["rate"] = row["dense"] / row["by_rate"]
    return row


def show_table(row: dict) -> None:
    keys = ("dense", "pruned", "shared", "coded", "by_rate")
    told = ", ".join(f"{k} {v:,}" for k, v in row["peers"].items())
    print(
        f"{row['network']:15}{''.join(f'{row[k]:13,}' for k in keys)} {row['rate']:5.1f}x"
        f"{row['paper']:6.0f}x\n  k-means alone {row['dense'] / row['coded']:.1f}x; by rate, "
        f"relative error {row['relative_error']:.2%}; the coded weights as {told}; "
        f"int8 ONNX {row['onnx_int8']:,}",
        flush=True,
    )


def indexed_bytes(graph: Graph, layers) -> int:
    """The paper's form before Huffman coding: gaps of 4 bits (8 in convolutions), codes, books."""
    total = 0
    for layer in layers:
        flat = graph.constants[f"{layer.name}.weight"].data.ravel()
        gap_bits = 4 if len(layer.shape) == 2 else 8
        gaps = np.diff(np.flatnonzero(flat), prepend=-1) - 1
        symbols = gaps.size + int((gaps // (2**gap_bits - 1)).sum())
        bits = symbols * (gap_bits + layer.bits)
        total += bits // 8 + 4 * 2**layer.bits + 4 * layer.shape[0]
    return total


def check_tables(rows: list[dict], checks: benchmark.Checks) -> None:
    for row in rows:
        if row["network"] in ("AlexNet", "VGG-16"):
            what = f"{row['network']} (Laplace weights, by rate), fp32 bytes / archive"
            what += "" if row["whole"] else ", dense layers an eighth as wide"
            checks.at_least("T9", what, row["rate"], row["paper"])


# ---------------------------------------------------------------- ResNet-50
def resnet50_shapes() -> list[tuple[int, ...]]:
    found: list[tuple[int, ...]] = [(64, 3, 7, 7)]
    inputs = 64
    for width, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for block in range(blocks):
            found += [(width, inputs, 1, 1), (width, width, 3, 3), (4 * width, width, 1, 1)]
            if block == 0:
                found.append((4 * width, inputs, 1, 1))
            inputs = 4 * width
    return [*found, (1000, 2048)]


def run_resnet(options) -> list[dict]:
    """int8 codes, one scale a layer, of weights that random numbers stand for."""
    rows, random = [], np.random.default_rng(0)
    every = resnet50_shapes()[:: 6 if options.quick else 1]
    for kind in ("laplace", "normal"):
        layers = [getattr(random, kind)(size=shape).astype(np.float32) for shape in every]
        for sparsity in (0.0, 0.5):
            weights = {}
            for i, layer in enumerate(layers):
                kept = shapes.pruned(layer, 1 - sparsity)
                scale = np.float32(np.abs(kept).max() / 127)
                weights[f"l{i}"] = (np.rint(kept / scale).astype(np.int8), scale)
            graph = shapes.graph("resnet50", {k: v for k, (v, _) in weights.items()})
            for key, (codes, scale) in weights.items():
                graph.constants[f"{key}.weight"] = Constant(codes, scale)
            dense = 4 * sum(c.data.size for c in graph.constants.values())
            size = len(archive.to_bytes(graph))
            rows.append({"weights": kind, "sparsity": sparsity, "dense": dense, "packed": size})
            print(f"ResNet-50 shapes, int8, {kind} weights, {sparsity:.0%} zeros: {dense:,} -> "
                  f"{size:,}, {dense / size:.2f}x", flush=True)  # fmt: skip
    return rows


def check_resnet(rows: list[dict], checks: benchmark.Checks) -> None:
    """Trained layers have tails like Laplace's; random initialization (normal) is only shown."""
    for row in [r for r in rows if r["weights"] == "laplace"]:
        what = f"ResNet-50 int8, {row['weights']} weights, {row['sparsity']:.0%} zeros"
        checks.at_least("T9", what, row["dense"] / row["packed"], 7 if row["sparsity"] else 5)


# ---------------------------------------------------------------- the entropy coder
def huffman_bits(counts: np.ndarray) -> int:
    """Bits of a canonical Huffman code of these counts, its lengths (4 bits each) included."""
    heap = [(int(n), i) for i, n in enumerate(counts) if n]
    if len(heap) == 1:
        return int(heap[0][0]) + 4 * len(counts)
    heapq.heapify(heap)
    total, fresh = 0, len(counts)
    while len(heap) > 1:
        (a, _), (b, _) = heapq.heappop(heap), heapq.heappop(heap)
        total += a + b
        heapq.heappush(heap, (a + b, fresh))
        fresh += 1
    return total + 4 * len(counts)


def streams(quick: bool) -> dict[str, tuple[np.ndarray, int]]:
    """Symbols of our own layers (uint8) with the bits of each: gaps, codebook indices, values."""
    layer = shapes.Layer("fc7", (512 if quick else 4096, 4096), 0.09, 5)
    weight = shapes.shared(shapes.pruned(shapes.dense_weight(layer, 1), 0.09), 5)
    flat = weight.ravel()
    where = np.flatnonzero(flat)
    conv = shapes.Layer("conv3", (384, 256, 3, 3), 0.35, 8)
    codes = shapes.dense_weight(conv, 2)
    eight = np.rint(codes / np.abs(codes).max() * 127).astype(np.int64)
    four = np.rint(codes / np.abs(codes).max() * 7).astype(np.int64)
    book = np.unique(flat[where])
    return {
        "gaps, 8 bits (fc7, 9 %)": (encodings.gap_symbols(np.diff(where, prepend=-1) - 1, 8), 8),
        "codebook indices, 5 bits (fc7)": (np.searchsorted(book, flat[where]), 5),
        "int8 values (conv3)": (eight & 0xFF, 8),
        "int4 values (conv3)": (four & 0xF, 4),
    }


def run_entropy(options) -> dict:
    rows = []
    print(f"{'stream':32}{'symbols':>10}{'entropy':>11}{'rANS':>11}{'over':>7}{'Huffman':>11}"
          f"{'zstd':>11}{'decoder MB/s':>14}")  # fmt: skip
    for name, (values, bits) in streams(options.quick).items():
        symbols = values.astype(np.uint8).ravel()
        counts = np.bincount(symbols, minlength=2**bits)
        ideal = entropy_bits(counts) / 8
        data = rans.encode(symbols, rans.plan(counts, bits))
        row = {
            "stream": name, "symbols": symbols.size, "entropy": ideal, "rans": len(data),
            "huffman": huffman_bits(counts) / 8, "zstd": zstd_size(symbols.tobytes()),
            "decoded_mb_s": symbols.size / decode_seconds(data, bits, symbols.size) / 1e6,
        }  # fmt: skip
        rows.append(row)
        zstd = "missing" if row["zstd"] is None else f"{row['zstd']:,}"
        print(f"{name:32}{symbols.size:10,}{ideal:11,.0f}{len(data):11,}"
              f"{len(data) / ideal - 1:7.2%}{row['huffman']:11,.0f}{zstd:>11}"
              f"{row['decoded_mb_s']:14,.0f}", flush=True)  # fmt: skip
    return {"streams": rows, "sections": section_speeds(options)}


def decode_seconds(data: bytes, bits: int, count: int) -> float:
    def once() -> float:
        begin = time.thread_time()
        _core.rans_decode(data, bits, count)
        return time.thread_time() - begin

    return statistics.median(once() for _ in range(ROUNDS))


def section_speeds(options) -> list[dict]:
    """Whole archives of one layer: decoded bytes of weights a second of one core."""
    rows, layer = [], shapes.Layer("fc7", (512 if options.quick else 4096, 4096), 0.09, 5)
    weight = shapes.dense_weight(layer, 1)
    scale = np.float32(np.abs(weight).max() / 127)
    sparse = shapes.shared(shapes.pruned(weight, 0.09), 5)
    for name, constant in {
        "int8, dense": Constant(np.rint(weight / scale).astype(np.int8), scale),
        "float32, 9 % left, 32 values": Constant(sparse),
    }.items():
        graph = shapes.graph("one", {"fc7": weight})
        graph.constants["fc7.weight"] = constant
        data, taken = archive.to_bytes(graph), []
        for _ in range(ROUNDS):
            begin = time.thread_time()
            _core.read_archive(data)
            taken.append(time.thread_time() - begin)
        speed = constant.data.nbytes / statistics.median(taken) / 1e6
        rows.append({"archive": name, "decoded_mb_s": speed})
        print(f"archive of one layer, {name}: {speed:,.0f} MB of weights a second and core")
    return rows


def check_entropy(found: dict, checks: benchmark.Checks) -> None:
    for row in found["streams"]:
        what = f"{row['stream']}, rANS bytes / entropy"
        checks.at_most("T10", what, row["rans"] / row["entropy"], 1.02)
    for row in found["sections"]:
        what = f"decoder, {row['archive']}, MB of weights a second and core"
        checks.at_least("T11", what, row["decoded_mb_s"], 300)


# ---------------------------------------------------------------- LeNet-5 on the digits
def run_lenet(options) -> list[dict]:
    rows = []
    for seed in options.seeds:
        found = archive_lenet.compress(seed, quick=options.quick)
        dense, scores = 4 * found["parameters"], found["accuracy"]
        data = found["archive"]
        info = archive.inspect(data)
        rows.append({
            "seed": seed, "dense": dense, "accuracy": scores, "packed": len(data),
            "index": info.index, "sections": {s.name: [s.bytes, s.encoding] for s in info.sections},
            "pruned": len(archive.to_bytes(found["graphs"]["pruned"])),
            "peers": peers(found["graphs"]["shared"]),
        })  # fmt: skip
        tails = {
            name: excess_kurtosis(c.data)
            for name, c in found["graphs"]["dense"].constants.items()
            if c.data.ndim > 1
        }
        rows[-1]["excess_kurtosis"] = tails
        shown = ", ".join(f"{name} {value:.1f}" for name, value in tails.items())
        print(f"excess kurtosis of the dense weights (normal 0, Laplace 3): {shown}")
        told = ", ".join(f"{k} {100 * v:.2f} %" for k, v in scores.items())
        print(f"LeNet-5, seed {seed}: {told}; {dense:,} -> {len(data):,} bytes, "
              f"{dense / len(data):.1f}x", flush=True)  # fmt: skip
    return rows


def check_lenet(rows: list[dict], checks: benchmark.Checks) -> None:
    for row in rows:
        who, scores = f"LeNet-5, seed {row['seed']}", row["accuracy"]
        lost = 100 * (scores["dense"] - scores["shared"])
        checks.at_least(
            "T8", f"{who}, fp32 bytes / archive bytes", row["dense"] / row["packed"], 100
        )
        checks.at_least("T8", f"{who}, dense accuracy, %", 100 * scores["dense"], 98.0)
        checks.at_most("T8", f"{who}, points lost", round(lost, 6), 0.1)


# ---------------------------------------------------------------- loading
def run_loading(options) -> dict:
    """Importing the runtime in a fresh process: CPU milliseconds, NumPy's included and alone."""
    code = "import time; t = time.process_time(); import numpy; n = time.process_time(); "
    code += "import gluonzip.runtime; print(n - t, time.process_time() - n)"
    pairs = []
    for _ in range(ROUNDS):
        out = subprocess.run([sys.executable, "-c", code], stdout=-1, check=True, text=True).stdout
        pairs.append([1e3 * float(x) for x in out.split()])
    numpy, ours = (statistics.median(p[i] for p in pairs) for i in (0, 1))
    print(f"import gluonzip.runtime: {ours:.0f} ms of CPU behind NumPy's {numpy:.0f} ms")
    return {"import_ms": ours, "numpy_ms": numpy}


def check_loading(found: dict, checks: benchmark.Checks) -> None:
    what = "import of the runtime with NumPy, CPU ms"
    checks.at_most("T11", what, found["import_ms"] + found["numpy_ms"], 100)


PARTS = {
    "entropy": (run_entropy, check_entropy),
    "tables": (run_tables, check_tables),
    "resnet": (run_resnet, check_resnet),
    "loading": (run_loading, check_loading),
    "lenet": (run_lenet, check_lenet),
}


def main() -> None:
    parser = benchmark.parser(__doc__)
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[21, 22, 23], help="of LeNet-5")
    options = parser.parse_args()
    facts = benchmark.machine()
    print(f"{facts['cpu']}, {facts['cores']} cores, {facts['isa']}")
    results, checks = {}, benchmark.Checks()
    for name, (run, check) in PARTS.items():
        if name in options.only:
            results[name] = run(options)
            check(results[name], checks)
    benchmark.finish(options, results, checks)


if __name__ == "__main__":
    main()
