"""The report of one run: facts, and every form they take."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gluonzip.report.facts import (
    Agreement,
    ArchiveBytes,
    Histogram,
    Latency,
    LayerFacts,
    Machine,
    Stage,
)


@dataclass(frozen=True)
class Report:
    """Dense against compressed.

    ``dense_bytes``: of the dense network's fp32 parameters. ``dense_accuracy`` and
    ``engine_accuracy``: shares of the validation data, None without any. ``stages``: from the dense
    network on.
    """

    name: str
    machine: Machine
    samples: int
    dense_bytes: int
    dense_accuracy: float | None
    engine_accuracy: float | None
    stages: tuple[Stage, ...]
    layers: tuple[LayerFacts, ...]
    archive: ArchiveBytes
    latency: tuple[Latency, ...]
    agreement: Agreement | None
    histograms: tuple[Histogram, ...]
    seconds: float

    @property
    def ratio(self) -> float:
        """Bytes of the dense parameters by bytes of the whole archive."""
        return self.dense_bytes / self.archive.total

    @property
    def drop(self) -> float | None:
        """Percentage points of accuracy lost (negative: gained)."""
        if self.dense_accuracy is None or self.engine_accuracy is None:
            return None
        return 100 * (self.dense_accuracy - self.engine_accuracy)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able facts, with ``ratio`` and ``drop``."""
        return {**asdict(self), "ratio": self.ratio, "drop": self.drop}

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=1) + "\n"

    def to_markdown(self) -> str:
        from gluonzip.report.markdown import render

        return render(self)

    def to_text(self, width: int = 120) -> str:
        """For a terminal, without colours; needs the package rich."""
        from gluonzip.report.text import render

        return render(self, width)

    def save(self, folder: str | Path) -> list[Path]:
        """``report.md``, ``report.json``, ``stages.png`` and ``weights.png`` in ``folder``."""
        from gluonzip.report.plots import plot_stages, plot_weights

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        written = [folder / "report.md", folder / "report.json"]
        written[0].write_text(self.to_markdown(), encoding="utf-8")
        written[1].write_text(self.to_json(), encoding="utf-8")
        return [
            *written,
            plot_stages(self, folder / "stages.png"),
            plot_weights(self, folder / "weights.png"),
        ]
