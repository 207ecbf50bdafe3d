"""Batches in chunks against whole ones (docs/engine.md, "Batches"): time, memory, results.

    python scripts/bench_chunks.py --check runs/peers/*.glz
    python scripts/bench_chunks.py --quick --threads 2 runs/peers/resnet50_v1-int8.glz

For each archive two engines take turns, with GLUONZIP_CHUNK=never and =auto: CPU time of the
process (the shortest call) and wall time (the median), the arena's size, and whether the outputs
are equal to the bit. --check: chunks are nowhere slower by more than 2 %, and no larger.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import statistics
import time
from pathlib import Path

import benchmark
import numpy as np

from gluonzip.runtime import Engine

SIDES = {"whole": "never", "chunked": "auto"}
SLOWER = 1.02


def parse():
    parser = benchmark.parser(__doc__)
    parser.add_argument("archives", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=None, help="calls that each side gets")
    options = parser.parse_args()
    options.rounds = options.rounds or (3 if options.quick else 12)
    return options


def images(engine: Engine, batch: int) -> list[np.ndarray]:
    """Random inputs; axes of any length but the first get 224."""
    random = np.random.default_rng(0)
    shapes = [[batch, *(n or 224 for n in shape[1:])] for _, shape, _ in engine.inputs]
    return [random.standard_normal(shape).astype(np.float32) for shape in shapes]


def measure(path: Path, options) -> dict:
    engines, outputs = {}, {}
    for side, setting in SIDES.items():
        os.environ["GLUONZIP_CHUNK"] = setting
        engines[side] = Engine.load(path, threads=options.threads)
        arrays = images(engines[side], options.batch)
        outputs[side] = engines[side](*arrays)  # plans
    cpu, wall = ({side: [] for side in SIDES} for _ in range(2))
    for _ in range(options.rounds):
        for side, engine in engines.items():
            begin, clock = time.perf_counter(), time.process_time()
            engine(*arrays)
            cpu[side].append(1e3 * (time.process_time() - clock))
            wall[side].append(1e3 * (time.perf_counter() - begin))
    rows = engines["chunked"].profile(*arrays, repeat=1, limits=False)
    head = [row for row in rows if row["chunks"] > 1]
    return {
        "archive": path.name, "batch": options.batch,
        "cpu_ms": {side: min(times) for side, times in cpu.items()},
        "wall_ms": {side: statistics.median(times) for side, times in wall.items()},
        "arena_mb": {side: e.memory()["arena"] / 1e6 for side, e in engines.items()},
        "chunks": head[0]["chunks"] if head else 1, "layers": len(head), "of": len(rows),
        "equal": all(map(np.array_equal, *outputs.values())),
    }  # fmt: skip


def main() -> None:
    options = parse()
    facts = benchmark.machine()
    print(f"{facts['cpu']}, {facts['isa']}, {options.threads} threads, batch {options.batch}")
    checks, rows = benchmark.Checks(), []
    for path in options.archives:
        row = measure(path, options)
        rows.append(row)
        cpu, wall, arena = row["cpu_ms"], row["wall_ms"], row["arena_mb"]
        print(
            f"{row['archive']:40} CPU {cpu['whole']:7.1f} / {cpu['chunked']:7.1f} ="
            f" {cpu['whole'] / cpu['chunked']:.2f}   wall {wall['whole']:.1f} /"
            f" {wall['chunked']:.1f} = {wall['whole'] / wall['chunked']:.2f}"
            f"   arena {arena['whole']:.1f} / {arena['chunked']:.1f} MB   {row['chunks']} chunks,"
            f" {row['layers']} of {row['of']} layers"
            f"{'' if row['equal'] else '   last bits differ'}",
            flush=True,
        )
        checks.at_most(row["archive"], "time", cpu["chunked"] / cpu["whole"], SLOWER)
        checks.at_most(row["archive"], "arena", arena["chunked"] / arena["whole"], 1.0)
    benchmark.finish(options, {"threads": options.threads, "networks": rows}, checks)


if __name__ == "__main__":
    main()
