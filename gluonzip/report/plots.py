"""Pictures of a report, drawn off screen with matplotlib."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from gluonzip.errors import MissingDependencyError
from gluonzip.report.facts import Histogram
from gluonzip.report.report import Report

MOST = 24
"""Layers in the picture of weights."""


def plot_stages(report: Report, path: Path) -> Path:
    """Size (kB, logarithmic) against accuracy (%) after each stage; PNG."""
    figure, axes = new_figure(1, 1, (6.4, 4.4))
    ax = axes[0]
    sizes = [stage.archive_bytes / 1000 for stage in report.stages]
    known = [stage.accuracy is not None for stage in report.stages]
    heights = [100 * (stage.accuracy or 0.0) for stage in report.stages]
    ax.plot(sizes, heights, "-", color="0.7", zorder=1)
    for index, (stage, size, height) in enumerate(zip(report.stages, sizes, heights, strict=True)):
        ax.plot(size, height, "o", zorder=2)
        up = index % 2 == 0  # neighbours of equal accuracy must not write over each other
        ax.annotate(
            f"{stage.name}\n{size:,.1f} kB",
            (size, height),
            xytext=(0, 8 if up else -8),
            textcoords="offset points",
            ha="center",
            va="bottom" if up else "top",
            fontsize=9,
        )
    ax.set_xscale("log")
    ax.set_xlim(min(sizes) / 2, max(sizes) * 2)
    ax.xaxis.set_major_formatter("{x:,.0f}")
    low, high = min(heights), max(heights)
    margin = max(0.25, (high - low) * 0.5)
    ax.set_ylim(low - margin, high + margin)
    ax.set_xlabel("archive, kB")
    ax.set_ylabel("accuracy, %" if any(known) else "accuracy (not measured)")
    ax.set_title(f"{report.name}: {report.ratio:.1f}x smaller than the fp32 parameters")
    ax.grid(True, which="both", alpha=0.3)
    return save_figure(figure, path)


def plot_weights(report: Report, path: Path) -> Path:
    """A histogram for each layer, before and after compression (zeros left out); PNG.

    Of a network with more than ``MOST`` layers, those with the most weights.
    """
    largest = sorted(report.histograms, key=lambda h: -sum(h.before))[:MOST]
    chosen = [h for h in report.histograms if h in largest]
    count = max(len(chosen), 1)
    columns = 2 if count in (2, 4) else min(count, 3)
    rows = -(-count // columns)
    figure, axes = new_figure(rows, columns, (4.2 * columns, 3 * rows))
    for ax, histogram in zip(axes, chosen, strict=False):
        _draw(ax, histogram)
    for ax in axes[len(chosen) :]:
        ax.set_axis_off()
    if chosen:
        axes[0].legend(fontsize=7)
    return save_figure(figure, path)


def _draw(ax: Any, histogram: Histogram) -> None:
    edges = np.linspace(-histogram.limit, histogram.limit, len(histogram.before) + 1)
    ax.stairs(histogram.before, edges, fill=True, color="0.8", label="dense")
    ax.stairs(histogram.after, edges, color="C3", label="compressed, not zero")
    ax.set_yscale("symlog", linthresh=1)
    total = sum(histogram.before)
    ax.set_title(f"{histogram.layer}: {100 * histogram.zeros / max(total, 1):.1f} % zeros")
    ax.set_xlabel("weight")


def new_figure(rows: int, columns: int, size: tuple[float, float]) -> tuple[Any, list[Any]]:
    """A figure without pyplot, and its axes. MissingDependencyError without matplotlib."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError(
            "the report's pictures need matplotlib: pip install 'gluonzip[gluon]'"
        ) from error
    # Not through pyplot: no global state, no display, no backend to choose.
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, list(np.atleast_1d(figure.subplots(rows, columns)).ravel())


def save_figure(figure: Any, path: Path) -> Path:
    figure.savefig(path, dpi=120)
    return path
