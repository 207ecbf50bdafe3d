"""Pictures of errors by layer, drawn off screen with matplotlib."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from gluonzip.report.diagnosis import Diagnosis, Quality
from gluonzip.report.plots import new_figure, save_figure
from gluonzip.report.sensitivity import Sensitivity

TALL = 60
"""Layers in the picture of errors; of more, the worst."""


def plot_errors(diagnosis: Diagnosis, path: Path) -> Path:
    """Introduced (bars) and accumulated (line) dB by layer, in the network's order; PNG.

    Equal tensors reach the right edge; what is lost stays at the left one.
    """
    worst = {layer.name for layer in diagnosis.layers[:TALL]}
    layers = [layer for layer in diagnosis.in_order() if layer.name in worst]
    figure, axes = new_figure(1, 1, (7.2, 1.6 + 0.24 * max(len(layers), 4)))
    ax, places = axes[0], np.arange(len(layers))
    known = [q for layer in layers for q in (layer.introduced, layer.accumulated) if q]
    finite = [q.sqnr for q in known if math.isfinite(q.sqnr)] or [0.0]
    low, high = min(0.0, *finite), max(finite) * 1.1 + 5
    ax.barh(
        places,
        [_shown(layer.introduced, low, high) - low for layer in layers],
        left=low,
        color=["C3" if layer.name == diagnosis.layers[0].name else "C0" for layer in layers],
        label="introduced by the layer alone",
    )
    accumulated = [_shown(layer.accumulated, low, high) for layer in layers]
    ax.plot(accumulated, places, "o-", color="0.25", markersize=3, label="accumulated, as it runs")
    ax.set_yticks(places, [layer.name for layer in layers], fontsize=7)
    ax.set_ylim(len(layers) - 0.4, -0.6)
    ax.set_xlim(low, high)
    ax.set_xlabel("signal by noise, dB (more is better)")
    ax.set_title(f"{diagnosis.compressed}: errors by layer, {diagnosis.rows:,} samples")
    ax.grid(True, axis="x", alpha=0.3)
    ax.legend(fontsize=7)
    return save_figure(figure, path)


def _shown(quality: Quality | None, low: float, high: float) -> float:
    return low if quality is None else float(np.clip(quality.sqnr, low, high))


def plot_sensitivity(found: Sensitivity, path: Path) -> Path:
    """Score in percent (or the outputs' dB) against the level, a line a layer; PNG."""
    figure, axes = new_figure(1, 1, (7.2, 4.6))
    ax, scored = axes[0], found.score is not None
    at = {level: place for place, level in enumerate(found.levels)}
    colours = iter(_colours(len(found.layers)))
    for layer in found.layers:
        points = [p for p in layer.points if scored or math.isfinite(p.sqnr)]
        heights = [100 * p.score if scored else p.sqnr for p in points]
        places = [at[p.level] for p in points]
        ax.plot(places, heights, "o-", label=layer.name, markersize=3, color=next(colours))
    if scored:
        ax.axhline(100 * found.score, color="0.4", linestyle="--", label="unchanged")
    ax.set_xticks(range(len(found.levels)), [f"{level:g}" for level in found.levels])
    ax.set_xlabel(found.method)
    ax.set_ylabel("score, %" if scored else "outputs' signal by noise, dB")
    ax.set_title(f"{found.network}: one layer changed at a time, {found.rows:,} samples")
    ax.grid(True, alpha=0.3)
    ax.legend(fontsize=6, ncols=1 + len(found.layers) // 16)
    return save_figure(figure, path)


def _colours(count: int) -> np.ndarray:
    from matplotlib import colormaps

    return colormaps["viridis"](np.linspace(0, 0.92, max(count, 1)))
