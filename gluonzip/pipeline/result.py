"""What :func:`gluonzip.compress` returns."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gluonzip.archive import ArchiveInfo, write
from gluonzip.graph import Graph
from gluonzip.report import Report


@dataclass(frozen=True, eq=False)
class Result:
    """``net``: the network with masks and quantizers on (train on, or ``gluonzip.gluon.strip`` it).
    ``graph``: what runs. ``report``: dense against compressed. ``meta``: goes into the archive.
    """

    net: Any
    graph: Graph
    report: Report
    meta: dict[str, Any]

    def save(self, path: str | Path) -> ArchiveInfo:
        """Write the archive that the report describes. ArchiveError when it cannot be written."""
        return write(path, self.graph, self.meta)
