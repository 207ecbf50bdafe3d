"""Dense kernels on their own: each shape against the machine's measured limit, per instruction set.

    python scripts/bench_kernels.py --check
    python scripts/bench_kernels.py --isa avx2 --isa avx512vnni --kind s8 --batch 1

The limits are measured in this process: multiply-accumulate instructions on registers alone, and
reading memory that no cache holds. One thread is timed by its own CPU clock, which other processes
do not disturb; several threads (--threads) by the wall clock, on an otherwise idle machine. Weights
are packed beforehand; epilogues are those between layers (relu, requantization, residual where the
network has one). One-row products rotate through copies of their weights, so that they stream from
memory. Covers targets T3 and T7.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass

import benchmark
import grouped_kernels
import numpy as np

from gluonzip import _core

COLD_BYTES = 512 << 20  # of weights in rotation for one-row products: more than any cache


@dataclass(frozen=True)
class Shape:
    """A convolution, or the matrix product that is its 1x1 case; ``count`` times in a network."""

    name: str
    n: int
    size: int
    channels: int
    out: int
    kernel: int = 1
    stride: int = 1
    residual: bool = False
    count: int = 1
    rows_of_gemm: int = 0  # not 0: a product of so many rows

    def geometry(self) -> dict[str, int]:
        pad = self.kernel // 2
        out = (self.size + 2 * pad - self.kernel) // self.stride + 1
        h, w, oh, ow = self.size, self.size, out, out
        if self.rows_of_gemm:
            h, w, oh, ow = 1, self.rows_of_gemm, 1, self.rows_of_gemm
        return {
            "n": self.n, "h": h, "w": w, "channels": self.channels,
            "stride_c": -(-self.channels // 4) * 4, "kh": self.kernel, "kw": self.kernel,
            "sh": self.stride, "sw": self.stride, "pad_top": pad, "pad_left": pad,
            "dh": 1, "dw": 1, "oh": oh, "ow": ow, "out_channels": self.out,
        }  # fmt: skip

    @property
    def macs(self) -> int:
        g = self.geometry()
        return g["n"] * g["oh"] * g["ow"] * self.out * self.kernel**2 * self.channels

    @property
    def one_row(self) -> bool:
        return self.rows_of_gemm == 1


def gemm(m: int, n: int, k: int) -> Shape:
    return Shape(f"{m}x{n}x{k}", 1, 1, k, n, rows_of_gemm=m)


GEMMS = [
    gemm(1024, 1024, 1024),
    gemm(2048, 2048, 2048),
    gemm(64, 4096, 4096),
    gemm(3136, 64, 576),
    gemm(1, 4096, 9216),
]


def resnet50(n: int) -> list[Shape]:
    """The convolutions of ResNet-50 v1 at 224x224; shapes that repeat are counted."""
    shapes = [Shape("224 7x7/2 3-64", n, 224, 3, 64, 7, 2)]
    for size, width, blocks, before in ((56, 64, 3, 64), (28, 128, 4, 256), (14, 256, 6, 512),
                                        (7, 512, 3, 1024)):  # fmt: skip
        wide, stride = 4 * width, 1 if size == 56 else 2
        down = f"/{stride}" if stride > 1 else ""
        shapes += [
            Shape(f"{size} 1x1{down} {before}-{width}", n, size * stride, before, width, 1, stride),
            Shape(f"{size} 1x1{down} {before}-{wide}", n, size * stride, before, wide, 1, stride),
            Shape(f"{size} 3x3 {width}-{width}", n, size, width, width, 3, count=blocks),
            Shape(f"{size} 1x1 {width}-{wide} add", n, size, width, wide, residual=True,
                  count=blocks),
            Shape(f"{size} 1x1 {wide}-{width}", n, size, wide, width, count=blocks - 1),
        ]  # fmt: skip
    return shapes


def measure(shape: Shape, kind: str, isa: str, options) -> float:
    """Median seconds of a call."""
    packed, dtype = (
        (_core.PackedConvS8, np.int8) if kind == "s8" else (_core.PackedConvF32, np.float32)
    )
    geometry = shape.geometry()
    weights = np.ones((shape.out, shape.kernel, shape.kernel, shape.channels), dtype)
    copies = max(2, COLD_BYTES // weights.nbytes) if shape.one_row else 1
    conv = packed(geometry, weights, isa, copies)
    first = min(conv.time(3, options.threads, shape.residual))
    calls = max(5, copies, min(300, int((0.05 if options.quick else 0.3) / first)))
    return statistics.median(conv.time(calls, options.threads, shape.residual))


def report(shape: Shape, kind: str, seconds: float, limits: dict[str, float]) -> dict:
    """The figures of one shape: operations and bytes a second, and the share of what binds it."""
    weight_bytes = shape.macs * (1 if kind == "s8" else 4)
    share = shape.macs / seconds / limits[kind]
    if shape.one_row:
        share = weight_bytes / seconds / limits["memory"]
    return {
        "shape": shape.name, "kind": kind, "milliseconds": seconds * 1e3,
        "gmacs_per_second": shape.macs / seconds / 1e9,
        "gbytes_per_second": weight_bytes / seconds / 1e9 if shape.one_row else None,
        "share_of_limit": share, "count": shape.count, "macs": shape.macs,
    }  # fmt: skip


def show(row: dict) -> None:
    bytes_read = row["gbytes_per_second"]
    rate = f"{row['gmacs_per_second']:8.1f} G MAC/s" if bytes_read is None else (
        f"{bytes_read:8.1f} GB/s    "
    )  # fmt: skip
    print(
        f"  {row['shape']:24} {row['milliseconds']:9.3f} ms {rate} {row['share_of_limit']:6.1%}",
        flush=True,
    )


def run_isa(isa: str, kind: str, options) -> dict:
    limits = _core.limits(isa, options.threads)
    unit = "int8" if kind == "s8" else "float32"
    print(
        f"\n{isa}, {unit}, {options.threads} thread(s): limit {limits[kind] / 1e9:.0f} G MAC/s, "
        f"memory {limits['memory'] / 1e9:.1f} GB/s"
    )
    groups = {"products": GEMMS[:1] + GEMMS[2:] if options.quick else GEMMS}
    groups |= {f"resnet50, batch {n}": resnet50(n) for n in options.batch}
    result = {"isa": isa, "kind": kind, "limits": limits, "groups": {}}
    for name, shapes in groups.items():
        print(f" {name}")
        rows = []
        for shape in shapes:
            rows.append(report(shape, kind, measure(shape, kind, isa, options), limits))
            show(rows[-1])
        result["groups"][name] = rows
        if name != "products":
            share = network_share(rows, limits[kind])
            took = f"{share['milliseconds']:9.3f} ms {'':16} {share['share']:6.1%}"
            print(f"  {'all of them':24} {took}")
    if kind == "s8":
        print(" narrow groups (one thread)")
        limit = _core.limits(isa, 1)["s8"]
        rows = [grouped_kernels.measure(g, isa, limit) for g in grouped_kernels.GROUPS]
        result["groups"]["narrow groups"] = rows
        for row in rows:
            show(row)
    return result


def network_share(rows: list[dict], limit: float) -> dict:
    """All convolutions of the network one after the other."""
    seconds = sum(row["milliseconds"] * row["count"] for row in rows) / 1e3
    macs = sum(row["macs"] * row["count"] for row in rows)
    return {"milliseconds": seconds * 1e3, "share": macs / seconds / limit}


def check(result: dict, checks: benchmark.Checks) -> None:
    """T3 and T7, for int8 on the best instruction set."""
    limit = result["limits"]["s8"]
    for name, rows in result["groups"].items():
        if name == "products":
            for row in rows:
                if row["gbytes_per_second"] is not None:
                    what = f"{row['shape']} int8, share of the memory limit"
                    checks.at_least("T7", what, row["share_of_limit"], 0.80)
                elif row["shape"] in ("1024x1024x1024", "2048x2048x2048"):
                    what = f"{row['shape']} int8, share of the int8 limit"
                    checks.at_least("T3", what, row["share_of_limit"], 0.85)
        elif name.endswith("batch 16"):
            what = f"{name}, all convolutions, share of the int8 limit"
            checks.at_least("T3", what, network_share(rows, limit)["share"], 0.75)


def main() -> None:
    parser = benchmark.parser(__doc__)
    names = [isa for isa in _core.isas() if isa != "reference"]
    parser.add_argument("--isa", action="append", choices=names, help="default: each there is")
    parser.add_argument("--kind", action="append", choices=["s8", "f32"], help="default: both")
    parser.add_argument("--batch", action="append", type=int, help="default: 1 and 16")
    parser.add_argument("--threads", type=int, default=1, help="default: 1")
    options = parser.parse_args()
    if not names:
        parser.error("this machine has none of the vector instruction sets: nothing to measure")
    if options.threads < 1 or min(options.batch or [1]) < 1:
        parser.error("--threads and --batch must be at least 1")
    best = _core.best_isa()
    options.batch = options.batch or [1, 16]
    kinds, isas = options.kind or ["s8", "f32"], options.isa or ([best] if options.quick else names)
    if options.check and not ("s8" in kinds and best in isas and 16 in options.batch):
        parser.error(f"--check needs --kind s8, --isa {best} and --batch 16")
    print(f"{benchmark.machine()['cpu']}, {benchmark.cores()} cores, best ISA {best}")
    results, checks = [], benchmark.Checks()
    for kind in kinds:
        for isa in isas:
            results.append(run_isa(isa, kind, options))
            if kind == "s8" and isa == best:
                check(results[-1], checks)
    benchmark.finish(options, {"threads": options.threads, "kernels": results}, checks)


if __name__ == "__main__":
    main()
