"""Whole networks with zeros, for bench_sparse.py: sides in processes of their own, in turns.

Two fields: int8 (ours dense and sparse, and the dense int8 peers) and float32 (ours and DeepSparse
on the same weights, as ONNX files that the first environment builds).
"""

from __future__ import annotations

import bench_peers
import benchmark

LEVELS = [
    f"{pattern}_{percent}" for pattern in ("blocks", "unstructured") for percent in (50, 75, 90)
]
TARGET = "resnet50_v1"


# What the targets are about, for --check.
CHECKED = {
    "int8": ["blocks_50", "blocks_75", "unstructured_50"],
    "fp32": ["blocks_50", "blocks_90", "unstructured_50", "unstructured_90"],
}


def fields(network: str, options) -> dict[str, list[str]]:
    """Sides by the field they run in; DeepSparse takes long to start, so only where it matters."""
    if options.check:
        int8, fp32 = CHECKED["int8"], CHECKED["fp32"]
        compared = [level for level in fp32 if level.endswith("90")]
    else:
        int8 = fp32 = ["blocks_75"] if options.quick else LEVELS
        percents = ("75", "90") if network == TARGET else ("90",)
        compared = [level for level in LEVELS if level.endswith(percents)]
    peers = ["mxnet_int8"] if options.quick else bench_peers.INT8_PEERS
    return {
        "int8": ["gluonzip_int8", *(f"gluonzip_int8_{level}" for level in int8), *peers],
        "fp32": [
            "gluonzip_fp32",
            *(f"gluonzip_fp32_{level}" for level in fp32),
            *(f"deepsparse_fp32_{level}" for level in compared if not options.quick),
            *([] if options.quick else ["mxnet_fp32"]),
        ],
    }


def run(options) -> list[dict]:
    options.folder.mkdir(parents=True, exist_ok=True)
    pythons = dict(pair.split("=", 1) for pair in options.python)
    if options.deepsparse:
        pythons["deepsparse"] = options.deepsparse
    rows = []
    for network in options.networks:
        for batch in options.batches:
            row = {"network": network, "batch": batch, "ms": {}, "peak_mb": {}, "missing": {}}
            for sides in fields(network, options).values():
                options.sides = sides
                measured = bench_peers.measure(network, batch, options, pythons)
                for part in ("ms", "peak_mb", "missing"):
                    row[part] |= measured[part]
                row.setdefault("not_finite", []).extend(measured["not_finite"])
            rows.append(row)
            show(row, options.threads)
    return rows


def show(row: dict, threads: int) -> None:
    print(
        f"\n{row['network']}, batch {row['batch']}, {threads} threads, milliseconds a call, peak MB"
    )
    for side, ms in sorted(row["ms"].items(), key=lambda item: item[1]):
        print(f"  {side:34}{ms:10.2f}{row['peak_mb'][side]:10.0f}", flush=True)
    for side, reason in row["missing"].items():
        print(f"  {side:34} missing: {reason}")
    for side in row["not_finite"]:
        print(
            f"  WARNING: the output of {side} is not finite: these random weights run out of range "
            "once pruned, and its time may not be that of a trained network"
        )


def check(rows: list[dict], checks: benchmark.Checks) -> None:
    for row in rows:
        if row["network"] == TARGET:
            _check_int8(row["ms"], row["batch"], checks)
            _check_fp32(row["ms"], row["batch"], checks)
            _check_choice(row["ms"], row["batch"], checks)
            _check_memory(row["peak_mb"], row["batch"], checks)


def _check_int8(ms: dict[str, float], batch: int, checks: benchmark.Checks) -> None:
    ours = ms.get("gluonzip_int8_blocks_75")
    peers = {side: ms[side] for side in bench_peers.INT8_PEERS if side in ms}
    if not ours:
        return
    if peers:
        best = min(peers, key=peers.__getitem__)
        what = f"ResNet-50 batch {batch}, best dense int8 peer ({best}) / 75 % in 4x1 blocks"
        checks.at_least("T4", what, peers[best] / ours, 2.2 if batch == 1 else 2.0)
    if batch != 1:
        return
    checks.at_most("T4", "ResNet-50 batch 1, 75 % in 4x1 blocks, ms (dense limit)", ours, 8.5)
    if "mxnet_fp32" in ms:
        what = "ResNet-50 batch 1, MXNet fp32 / 75 % sparse int8"
        checks.at_least("T2", what, ms["mxnet_fp32"] / ours, 10)


def _check_fp32(ms: dict[str, float], batch: int, checks: benchmark.Checks) -> None:
    for pattern in ("blocks", "unstructured"):
        theirs = ms.get(f"deepsparse_fp32_{pattern}_90")
        ours = ms.get(f"gluonzip_fp32_{pattern}_90")
        if theirs and ours:
            what = f"ResNet-50 batch {batch}, DeepSparse / ours, fp32, 90 % {pattern}"
            checks.at_least("T5", what, theirs / ours, 1.3)


def _check_choice(ms: dict[str, float], batch: int, checks: benchmark.Checks) -> None:
    """Zeros never make a network much slower, at any level that was measured."""
    for kind in ("int8", "fp32"):
        levels = [level for level in LEVELS if f"gluonzip_{kind}_{level}" in ms]
        if f"gluonzip_{kind}" in ms and levels:
            worst = max(levels, key=lambda level: ms[f"gluonzip_{kind}_{level}"])
            figure = ms[f"gluonzip_{kind}"] / ms[f"gluonzip_{kind}_{worst}"]
            what = f"ResNet-50 batch {batch}, {kind}, without zeros / worst with zeros ({worst})"
            checks.at_least("T6", what, figure, 0.95)


def _check_memory(peak: dict[str, float], batch: int, checks: benchmark.Checks) -> None:
    """Peak memory falls with sparsity."""
    for kind in ("int8", "fp32"):
        names = [f"gluonzip_{kind}", *(f"gluonzip_{kind}_blocks_{p}" for p in (75, 90))]
        if all(name in peak for name in names):
            what = f"ResNet-50 batch {batch}, {kind}, peak memory at 90 % blocks / dense"
            checks.at_most("memory", what, peak[names[2]] / peak[names[0]], 1.0)
