"""The roofline of a profile: each layer's rate against what the machine allows it.

Williams, Waterman and Patterson: Roofline, Communications of the ACM 52 (4), 2009.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gluonzip.report.plots import new_figure, save_figure

LABELLED = 6
"""Layers whose names are written: those that take longest."""


def plot_roofline(
    name: str, profile: Sequence[Mapping[str, Any]], limits: Mapping[str, float], path: Path
) -> Path:
    """Multiply-accumulates a second over multiply-accumulates a byte, both logarithmic; PNG.

    ``profile``: rows of :meth:`gluonzip.runtime.Engine.profile`; ``limits``: of
    :meth:`gluonzip.runtime.Engine.limits`. A dot's area is its share of the time. Layers without
    multiply-accumulates are left out and counted in the title. Above the slope: what it reads was
    still in a cache.
    """
    rows = [row for row in profile if row["macs"] and row["milliseconds"]]
    figure, (ax,) = new_figure(1, 1, (7.2, 4.8))
    intensities = [row["macs"] / row["bytes"] for row in rows] or [1.0]
    low, high = min(intensities) / 2, max(max(intensities) * 2, 100.0)
    for kind, label in (("s8", "int8"), ("f32", "float32")):
        if limits[kind]:
            _roof(ax, low, high, limits[kind], limits["memory"], label)
    for kind, marker in (("s8", "o"), ("f32", "s")):
        chosen = [row for row in rows if ("s8" in row["kernel"]) == (kind == "s8")]
        ax.scatter(
            [row["macs"] / row["bytes"] for row in chosen],
            [row["macs_per_second"] / 1e9 for row in chosen],
            [8 + 1500 * row["share"] for row in chosen],
            marker=marker,
            alpha=0.6,
            label={"s8": "int8 layers", "f32": "float32 layers"}[kind] if chosen else None,
        )
    for row in sorted(rows, key=lambda row: -row["milliseconds"])[:LABELLED]:
        at = row["macs"] / row["bytes"], row["macs_per_second"] / 1e9
        ax.annotate(row["name"], at, xytext=(4, -9), textcoords="offset points", fontsize=7)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("multiply-accumulates a byte")
    ax.set_ylabel("G multiply-accumulates a second")
    rest = sum(row["share"] for row in profile) - sum(row["share"] for row in rows)
    ax.set_title(f"{name}: {len(rows)} layers; {100 * rest:.0f} % of the time in others")
    ax.grid(True, which="both", alpha=0.2)
    ax.legend(fontsize=8, loc="lower right")
    return save_figure(figure, path)


def _roof(ax: Any, low: float, high: float, compute: float, memory: float, label: str) -> None:
    ridge = compute / memory
    xs = [low, ridge, high] if low < ridge < high else [low, high]
    ys = [min(compute, x * memory) / 1e9 for x in xs]
    ax.plot(xs, ys, "--", linewidth=1, label=f"{label} limit, {compute / 1e9:,.0f} G/s")
