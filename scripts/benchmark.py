"""What every measuring script shares: its options, the machine's facts, alternating timers, checks.

``--quick`` runs a smaller case of the same kind, ``--json FILE`` keeps every figure, ``--check``
prints a line for each target (held or missed) and exits with 1 when one is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def parser(doc: str | None) -> argparse.ArgumentParser:
    """A parser with the three common options; ``doc`` is the script's own docstring."""
    made = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--quick", action="store_true", help="a smaller run of the same kind")
    made.add_argument("--json", type=Path, metavar="FILE", help="write all figures to FILE")
    made.add_argument("--check", action="store_true", help="hold the figures against the targets")
    return made


def cores() -> int:
    return len(os.sched_getaffinity(0))


def machine() -> dict[str, object]:
    """Processor, cores, instruction set in use, and the versions that matter."""
    from gluonzip import runtime

    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    packages = ("gluonzip", "numpy", "mxnet", "onnxruntime", "openvino", "scipy", "torch")
    return {
        "cpu": model,
        "cores": cores(),
        "isa": runtime.best_isa(),
        "python": platform.python_version(),
        "versions": {name: found for name in packages if (found := installed(name))},
    }


def installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def alternate(sides: Mapping[str, Callable[[int], list[float]]], rounds: int, calls: int) -> dict:
    """Median milliseconds of each side, in turns; a side times as many calls as it is asked."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            times[name] += side(calls)
    return {name: statistics.median(taken) for name, taken in times.items()}


@dataclass
class Checks:
    """Targets and what was measured for them."""

    rows: list[dict] = field(default_factory=list)

    def at_least(self, target: str, what: str, figure: float, bound: float) -> None:
        self._add(target, what, figure, f">= {bound:g}", figure >= bound)

    def at_most(self, target: str, what: str, figure: float, bound: float) -> None:
        self._add(target, what, figure, f"<= {bound:g}", figure <= bound)

    def _add(self, target: str, what: str, figure: float, bound: str, held: bool) -> None:
        self.rows.append(
            {"target": target, "what": what, "figure": figure, "bound": bound, "held": held}
        )


def finish(options: argparse.Namespace, results: dict, checks: Checks) -> None:
    """Write ``--json``, print the checks when asked, and exit."""
    if options.json:
        report = {"machine": machine(), "quick": options.quick, **results, "checks": checks.rows}
        temporary = options.json.with_suffix(".tmp")
        temporary.write_text(json.dumps(report, indent=1) + "\n")
        temporary.replace(options.json)
    if options.check:
        for row in checks.rows:
            verdict = "held" if row["held"] else "MISSED"
            print(f"{row['target']}: {row['what']}: {row['figure']:.3g} {row['bound']} {verdict}")
        sys.exit(not all(row["held"] for row in checks.rows))
