"""Facts about a compressed network, and how they are shown: measure, then render."""

from gluonzip.report.facts import (
    Agreement,
    ArchiveBytes,
    Histogram,
    Latency,
    LayerFacts,
    Machine,
    Section,
    Stage,
)
from gluonzip.report.report import Report

__all__ = [
    "Agreement",
    "ArchiveBytes",
    "Histogram",
    "Latency",
    "LayerFacts",
    "Machine",
    "Report",
    "Section",
    "Stage",
]
