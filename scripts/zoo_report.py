"""docs/zoo-coverage.md and its JSON, from the results of scripts/zoo_coverage.py."""

from __future__ import annotations

import json
import statistics
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

DECLINED_BY_GLUONCV = "GluonCV cannot build it"
TRIPLE = ("resnet", "vgg", "densenet", "inception")
"""Families that are to run at least three times as fast."""

INTRODUCTION = """# GluonCV's zoo, name by name

Written by `python scripts/zoo_coverage.py` (and `--time`); do not edit. Weights and images are
random: what is shown is that each network is traced, quantized, compiled and run, and that the
engine computes what it should; nothing here is about accuracy.

- **engine**: share of the multiply-accumulates that the gluonzip engine runs (the rest is MXNet's).
- **fp32**: largest difference between the fp32 engine and MXNet, over the largest output. With a
  star: of what suppression and sorting are given, each part of the engine fed with MXNet's own
  tensors, because they turn a last digit into another box. In parentheses: how far MXNet's own
  outputs move when its input changes by one unit in the last place, where that is more than 1e-3.
- **int8**: the same between the int8 engine and the interpreter that defines it, part by part.
  With a star: operator by operator, each fed with what the engine computed before (a code at a tie
  that an operator in floats rounds the other way grows in a deep network of random weights).
- **ms**: MXNet's dense network (fp32, hybridized, static) and ours (int8), batch 1, all cores each,
  alternating; one network a family; detectors of two stages with 100 regions.
- **split**: what runs in MXNet between segments of the engine, by operator; `whole` if nothing.
"""


def summary(rows: Iterable[dict[str, Any]]) -> str:
    counts = Counter(row.get("status", "unfinished") for row in rows)
    return ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))


def line(row: dict[str, Any]) -> str:
    """A result in one line, for whoever watches."""
    told = [f"{key} {row[key]:.2g}" for key in ("fp32_error", "int8_error") if key in row]
    told += [str(row["time"])] if "time" in row else []
    told += [row["reason"]] if "reason" in row else []
    return f"{row['name']}: {row.get('status', '-')} {' '.join(told)}"[:300]


def write(rows: list[dict[str, Any]], names: list[str], page: Path, table: Path) -> None:
    """The page and the JSON; names without a result are listed as such."""
    known = {row["name"]: row for row in rows}
    unknown = {"status": "not run", "family": "-"}
    rows = [{**unknown, **known.get(name, {"name": name})} for name in names]
    parts = [INTRODUCTION, f"{len(rows)} names: {summary(rows)}.\n", _families(rows), _table(rows)]
    page.write_text("\n".join(parts))
    lines = ",\n".join(json.dumps(row) for row in rows if row["status"] != "not run")
    table.write_text(f"[\n{lines}\n]\n")


def _families(rows: list[dict[str, Any]]) -> str:
    lines = ["## Speed, a network a family\n"]
    lines += ["| family | network | input | MXNet fp32 ms | int8 ms | times as fast |"]
    lines += ["|---|---|---|---|---|---|"]
    for row in rows:
        timed = row.get("time", {})
        if "speedup" in timed:
            size = " and ".join("x".join(map(str, shape)) for shape in timed["inputs"])
            lines.append(
                f"| {row['family']} | {row['name']} | {size} | {timed['mxnet']:.1f} | "
                f"{timed['gluonzip']:.1f} | {timed['speedup']:.2f} |"
            )
    return "\n".join(lines) + "\n"


def _table(rows: list[dict[str, Any]]) -> str:
    lines = ["## Names\n", "| name | family | status | engine | fp32 | int8 | split, or reason |"]
    lines += ["|---|---|---|---|---|---|---|"]
    for row in rows:
        cells = (
            row["name"],
            row.get("family", "-"),
            row.get("status", "-"),
            *_figures(row),
            split(row),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _figures(row: dict[str, Any]) -> tuple[str, str, str]:
    if "int8_error" not in row:
        return "", "", ""
    fp32 = f"{row['fp32_error']:.1e}"
    if "fp32_error_of_segments" in row:
        fp32 = f"{row['fp32_error_of_segments']:.1e}*"
    elif "fp32_noise" in row:
        fp32 = f"{row['fp32_error']:.1e} ({row['fp32_noise']:.1e})"
    int8 = f"{row['int8_error']:.1e}"
    if "int8_error_of_operators" in row:
        int8 = f"{row['int8_error_of_operators']:.1e}*"
    return f"{100 * row['macs_share']:.1f} %", fp32, int8


def split(row: dict[str, Any]) -> str:
    """Who runs the network, or why nobody does, in a cell."""
    if "reason" in row:
        return row["reason"].replace("|", "/")
    segments = row.get("segments", [])
    found: Counter[str] = Counter()
    for segment in segments:  # empty for one of the engine's
        found.update(segment)
    if not found:
        return "whole" if segments else ""
    told: dict[str, list[str]] = {}
    for said, count in found.items():
        operator, _, why = said.partition(": ")
        told.setdefault(_reason(why), []).append(f"{operator}{f' x{count}' if count > 1 else ''}")
    named = "; ".join(f"{', '.join(names)} ({why})" for why, names in told.items())
    return f"{len(segments)} segments: {named}"


def _reason(why: str) -> str:
    """Short, without what tells one node from another."""
    for words in ("a constant weight", "no such operator"):
        if words in why:
            return f"needs {words}" if words.startswith("a ") else words
    return why.replace("|", "/")


def check(rows: list[dict[str, Any]], names: list[str], checks: Any) -> None:
    """Targets: every name accounted for; the int8 network faster in every family."""
    known = {row["name"]: row for row in rows}
    states = Counter(known.get(name, {}).get("status", "not run") for name in names)
    checks.at_least("T14", "names that run and agree", states["agrees"], min(296, len(names)))
    checks.at_most(
        "T14",
        "names failed, different or not run",
        len(names) - states["agrees"] - states["declined"],
        0,
    )
    speeds: dict[str, list[float]] = {}
    for row in rows:
        if "speedup" in row.get("time", {}):
            speeds.setdefault(row["family"], []).append(row["time"]["speedup"])
    for family, found in speeds.items():
        bound = 3.0 if family in TRIPLE else 1.0
        checks.at_least("T14", f"{family}: times as fast as MXNet", statistics.median(found), bound)
