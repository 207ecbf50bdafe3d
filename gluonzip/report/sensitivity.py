"""What :func:`gluonzip.auto.sensitivity` found, and every form it takes."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gluonzip.errors import ConfigError
from gluonzip.report.diagnosis import plain_values


@dataclass(frozen=True)
class Point:
    """One layer at one level, everything else as it was.

    ``score``: accuracy (0 to 1) or what ``evaluate`` returned, None without labels. ``sqnr``: of
    the network's outputs against its own before, dB. ``rows``: samples measured.
    """

    level: float
    score: float | None
    sqnr: float
    rows: int


@dataclass(frozen=True)
class LayerSensitivity:
    """``weights``: how many the layer has. ``points``: by level, in the order of the levels; those
    not reached before an interruption are absent."""

    name: str
    weights: int
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Sensitivity:
    """``method``: what was varied, at ``levels`` from mild to harsh. ``score``: of the network
    unchanged, None without labels. ``layers``: in the network's order. ``complete``: False when it
    was interrupted. ``macs``: multiply-accumulates of the runs, and what as many runs of the whole
    network would have taken, or None if an operator's are not known. ``note``: what was not
    measured and why.
    """

    network: str
    method: str
    levels: tuple[float, ...]
    rows: int
    score: float | None
    layers: tuple[LayerSensitivity, ...]
    complete: bool
    macs: tuple[int, int] | None
    note: str = ""

    def __getitem__(self, name: str) -> LayerSensitivity:
        """The layer called ``name``; KeyError when there is none."""
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise KeyError(name)

    def within(self, drop: float | None = None, sqnr: float | None = None) -> dict[str, float]:
        """For each layer the harshest level that it bears, with all milder ones.

        It bears a level that costs at most ``drop`` of the score (0.01: a point of accuracy), or
        leaves at least ``sqnr`` dB. Layers that bear none are left out. One layer at a time: all of
        them together cost more. ConfigError unless exactly one limit is given that was measured.
        """
        if (drop is None) == (sqnr is None):
            raise ConfigError("within needs exactly one of drop and sqnr")
        if drop is not None and self.score is None:
            raise ConfigError(
                "no score was measured (the data had no labels); use within(sqnr=...)"
            )
        found = {}
        for layer in self.layers:
            for point in layer.points:
                lost = None if drop is None else self.score - point.score
                if lost > drop + 1e-12 if lost is not None else point.sqnr < sqnr:
                    break
                found[layer.name] = point.level
        return found

    def to_dict(self) -> dict[str, Any]:
        """JSON-able: what is not finite is the string "inf", "-inf" or "nan"."""
        return plain_values(asdict(self))

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=1) + "\n"

    def to_text(self) -> str:
        """A table for a terminal or a log: a row a layer, a column a level."""
        from gluonzip.report.error_tables import sensitivity_tables
        from gluonzip.report.plain import text

        return "\n\n".join(text(table) for table in sensitivity_tables(self)) + "\n"

    def to_markdown(self) -> str:
        from gluonzip.report.error_tables import sensitivity_tables
        from gluonzip.report.markdown import table_text

        return "\n\n".join(table_text(table) for table in sensitivity_tables(self)) + "\n"

    def plot(self, path: str | Path) -> Path:
        """Score (or output dB) against the level, a line a layer; PNG.

        MissingDependencyError without matplotlib.
        """
        from gluonzip.report.error_plots import plot_sensitivity

        return plot_sensitivity(self, Path(path))

    __str__ = to_text
