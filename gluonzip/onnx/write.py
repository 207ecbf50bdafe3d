"""Graph to an ONNX file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gluonzip.files import check_writable
from gluonzip.graph import Graph
from gluonzip.onnx.export import to_model
from gluonzip.onnx.files import LIMIT, save
from gluonzip.onnx.storage import Notes, Storage


@dataclass(frozen=True)
class Written:
    """The files, the graph they say (optimized, with the runtimes' own rounding), and notes."""

    files: list[Path]
    graph: Graph
    notes: Notes

    @property
    def nbytes(self) -> int:
        return sum(file.stat().st_size for file in self.files)


def write(
    path: str | os.PathLike,
    graph: Graph,
    storage: Storage | None = None,
    ranges: Mapping[str, float] | None = None,
    limit: int = LIMIT,
) -> Written:
    """Write ``graph`` to ``path`` as ONNX (see :func:`to_model`); complete, or not at all.

    A model of ``limit`` bytes or more (2 GB: what protobuf allows) keeps its weights in
    ``path + ".data"`` beside it. Raises UnsupportedError that names every operator without an
    equivalent, DataError for a path that cannot be written, both before anything is written.
    """
    check_writable(path)
    exported = to_model(graph, storage, ranges)
    return Written(save(exported.model, path, limit), exported.graph, exported.notes)
