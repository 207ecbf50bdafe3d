"""Whole networks, dense: gluonzip against MXNet, ONNX Runtime and OpenVINO, fp32 and int8.

    python scripts/bench_peers.py --check
    python scripts/bench_peers.py --networks resnet50_v1 --batches 1 --rounds 5

Weights and inputs are the same on every side; each side is a process of its own with all cores, and
sides take turns. A turn measures the steady state: 5 calls that wake the threads and fill the
caches, and are not counted, then 40 (batch 1), or 1 and 4 (larger batches); --calls gives another
number. Peers run with graph optimisation on. Needs ``pip install -e '.[peers]'``; a peer
that is not installed is named as missing. To measure a peer in another environment, give its
interpreter: ``--python openvino=/path/to/venv/bin/python`` (model files that it cannot build itself
are built by the first environment). Covers targets T1, T2, T11 (first answer), T13 (peak memory).
"""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import benchmark

WORKER = Path(__file__).with_name("peers.py")
SIDES = [
    "gluonzip_int8",
    "mxnet_int8",
    "onnxruntime_int8",
    "openvino_int8",
    "gluonzip_fp32",
    "mxnet_fp32",
    "onnxruntime_fp32",
    "openvino_fp32",
]
NETWORKS = [
    "resnet18_v1",
    "resnet50_v1",
    "mobilenet1.0",
    "alexnet",
    "mobilenetv2_1.0",
    "vgg16",
    "densenet121",
    "squeezenet1.1",
    "inceptionv3",
]
TARGET_NETWORKS = NETWORKS[:4]
INT8_PEERS = ["mxnet_int8", "onnxruntime_int8", "openvino_int8"]


PREPARED: set[tuple[str, str]] = set()  # (side, network) whose files this run has seen to


class Worker:
    """A peers.py process; ``error`` says why it cannot run, if it cannot."""

    def __init__(self, python: str, side: str, network: str, batch: int, options):
        command = [python, str(WORKER), side, network, "--batch", str(batch)]
        command += ["--threads", str(options.threads), "--folder", str(options.folder)]
        environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads)}
        if (side, network) not in PREPARED:
            PREPARED.add((side, network))
            subprocess.run(
                [sys.executable, *command[1:], "--prepare"],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                check=False,
            )
        self.stderr = tempfile.TemporaryFile("w+")  # noqa: SIM115 (as long as the process)
        self.process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.stderr,
            text=True,
        )
        hello = self._answer() or {"error": self._how_it_died()}
        self.error = hello.get("error")
        self.seconds_to_first = hello.get("ready", math.nan)
        self.peak_mb = hello.get("peak_mb", math.nan)
        self.finite = hello.get("finite", True)

    def _how_it_died(self) -> str:
        code = self.process.wait(timeout=60)
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
        self.stderr.seek(0)
        lines = [line.strip() for line in self.stderr if line.strip()]
        return f"its process died ({how})" + (f": {lines[-1][:200]}" if lines else "")

    def _answer(self):
        line = self.process.stdout.readline()
        return json.loads(line) if line else None

    def time(self, calls: int) -> list[float]:
        """Milliseconds of ``calls`` calls, after some that are not counted."""
        warm_up = 5 if calls >= 10 else 1
        self.process.stdin.write(f"{warm_up + calls}\n")
        self.process.stdin.flush()
        taken = self._answer()
        time.sleep(0.01)  # let this side's threads fall asleep before the next side's turn
        return taken[warm_up:]

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait(timeout=60)


def measure(network: str, batch: int, options, pythons: dict[str, str]) -> dict:
    """Milliseconds, seconds to the first answer and peak memory of every side."""
    workers = {
        side: Worker(
            pythons.get(side.split("_")[0], sys.executable),
            side,
            network,
            batch,
            options,
        )
        for side in options.sides
    }
    running = {side: worker for side, worker in workers.items() if not worker.error}
    calls = options.calls or (40 if batch == 1 else 4)
    medians = benchmark.alternate({s: w.time for s, w in running.items()}, options.rounds, calls)
    for worker in workers.values():
        worker.close()
    return {
        "network": network,
        "batch": batch,
        "ms": medians,
        "first_answer_s": {side: worker.seconds_to_first for side, worker in running.items()},
        "peak_mb": {side: worker.peak_mb for side, worker in running.items()},
        "not_finite": [side for side, worker in running.items() if not worker.finite],
        "missing": {side: worker.error for side, worker in workers.items() if worker.error},
    }


def print_row(row: dict, sides: list[str]) -> None:
    cells = [f"{row['ms'][side]:10.2f}" if side in row["ms"] else "   missing" for side in sides]
    found = ratio(row)
    cells = "".join(f"{c:>18}" for c in cells) + (f"{found:10.2f}x" if found else "")
    print(f"{row['network']:18}{row['batch']:6d}{cells}", flush=True)
    for side, reason in row["missing"].items():
        print(f"    {side} is missing: {reason}", flush=True)


def ratio(row: dict) -> float | None:
    """The best int8 peer's time over ours."""
    peers = [row["ms"][side] for side in INT8_PEERS if side in row["ms"]]
    ours = row["ms"].get("gluonzip_int8")
    return min(peers) / ours if peers and ours else None


def check(rows: list[dict]) -> benchmark.Checks:
    checks = benchmark.Checks()
    for batch, mean_bound, worst_bound in ((1, 1.15, 1.0), (16, 1.03, 0.97)):
        chosen = [r for r in rows if r["batch"] == batch and r["network"] in TARGET_NETWORKS]
        ratios = {r["network"]: found for r in chosen if (found := ratio(r))}
        if not ratios:
            continue
        mean = math.exp(sum(map(math.log, ratios.values())) / len(ratios))
        names = f"batch {batch}, best int8 peer / gluonzip int8"
        checks.at_least("T1", f"{names}, geometric mean of {len(ratios)}", mean, mean_bound)
        worst = min(ratios, key=ratios.__getitem__)
        checks.at_least("T1", f"{names}, worst ({worst})", ratios[worst], worst_bound)
    for row in rows:
        if (row["network"], row["batch"]) != ("resnet50_v1", 1):
            continue
        ms, peak = row["ms"], row["peak_mb"]
        if {"mxnet_fp32", "gluonzip_int8"} <= ms.keys():
            figure = ms["mxnet_fp32"] / ms["gluonzip_int8"]
            checks.at_least("T2", "ResNet-50 batch 1, MXNet fp32 / gluonzip int8", figure, 5)
        if "gluonzip_int8" in ms:
            figure = row["first_answer_s"]["gluonzip_int8"] * 1e3
            checks.at_most("T11", "ResNet-50, import, load, first answer, ms", figure, 300)
        if {"onnxruntime_int8", "gluonzip_int8"} <= peak.keys():
            figure = peak["gluonzip_int8"] / peak["onnxruntime_int8"]
            checks.at_most("T13", "ResNet-50 int8 peak memory / ONNX Runtime's", figure, 0.7)
    return checks


def plot(rows: list[dict], sides: list[str], path: Path) -> None:
    """Bars: how many times as fast as MXNet fp32 each side is."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(max(6, 1.6 * len(rows)), 4))
    width = 0.8 / len(sides)
    for place, side in enumerate(sides):
        heights = [r["ms"].get("mxnet_fp32", math.nan) / r["ms"].get(side, math.nan) for r in rows]
        axes.bar([i + place * width for i in range(len(rows))], heights, width, label=side)
    axes.set_xticks([i + 0.4 for i in range(len(rows))])
    axes.set_xticklabels([f"{r['network']}\nbatch {r['batch']}" for r in rows], fontsize=7)
    axes.set_ylabel("times as fast as MXNet fp32")
    axes.legend(fontsize=7, ncol=2)
    figure.tight_layout()
    figure.savefig(path, dpi=150)


def main() -> None:
    options = benchmark.parser(__doc__)
    options.add_argument("--networks", nargs="+", default=None)
    options.add_argument("--batches", nargs="+", type=int, default=[1, 16])
    options.add_argument("--sides", nargs="+", default=SIDES, choices=SIDES)
    options.add_argument("--threads", type=int, default=benchmark.cores())
    options.add_argument("--rounds", type=int, default=None)
    options.add_argument("--calls", type=int, default=None, help="calls a side makes in its turn")
    options.add_argument("--folder", type=Path, default=Path("runs/peers"))
    options.add_argument("--plot", type=Path, metavar="PNG")
    options.add_argument("--python", nargs="*", default=[], metavar="PEER=INTERPRETER")
    chosen = options.parse_args()
    if chosen.networks is None:
        chosen.networks = TARGET_NETWORKS if chosen.quick else NETWORKS
    chosen.rounds = chosen.rounds or (2 if chosen.quick else 6)
    if chosen.quick:
        chosen.batches = chosen.batches[:1]
    chosen.folder.mkdir(parents=True, exist_ok=True)
    pythons = dict(pair.split("=", 1) for pair in chosen.python)

    facts = benchmark.machine()
    print(f"{facts['cpu']}, {chosen.threads} threads, {facts['isa']}; medians, milliseconds a call")
    print("best peer: the fastest int8 peer's time over gluonzip int8's")
    print(
        f"{'network':18}{'batch':>6}"
        + "".join(f"{side:>18}" for side in chosen.sides)
        + f"{'best peer':>11}"
    )
    rows = []
    for network in chosen.networks:
        for batch in chosen.batches:
            rows.append(measure(network, batch, chosen, pythons))
            print_row(rows[-1], chosen.sides)
    if chosen.plot:
        plot(rows, chosen.sides, chosen.plot)
    benchmark.finish(chosen, {"threads": chosen.threads, "rows": rows}, check(rows))


if __name__ == "__main__":
    main()
