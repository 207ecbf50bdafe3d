"""The report of one run: facts, and every form they take."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gluonzip.report.diagnosis import Diagnosis, plain_values
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
    network on. ``diagnosis``: the errors of the layers on a few samples, what runs against the
    dense network. ``partition``: a line for each segment of a network that the engine does not run
    whole: what it runs, what MXNet runs and why.
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
    diagnosis: Diagnosis | None = None
    partition: tuple[str, ...] = ()

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
        return {**plain_values(asdict(self)), "ratio": self.ratio, "drop": self.drop}

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
        """``report.md``, ``report.json``, ``report.html`` and the pictures in ``folder``:
        ``stages.png``, ``weights.png`` and, with a diagnosis, ``errors.png``."""
        from gluonzip.report.html import render
        from gluonzip.report.plots import plot_stages, plot_weights

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        pictures = [
            plot_stages(self, folder / "stages.png"),
            plot_weights(self, folder / "weights.png"),
        ]
        if self.diagnosis is not None:
            pictures.append(self.diagnosis.plot(folder / "errors.png"))
        written = [folder / f"report.{form}" for form in ("md", "json", "html")]
        texts = (self.to_markdown(), self.to_json(), render(self, pictures))
        for path, text in zip(written, texts, strict=True):
            path.write_text(text, encoding="utf-8")
        return [*written, *pictures]
