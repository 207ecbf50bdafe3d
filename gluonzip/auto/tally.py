"""Sums over chunks of data for every layer and level, kept in a checkpoint."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from gluonzip.auto.checkpoint import Checkpoint
from gluonzip.auto.statistics import decibels
from gluonzip.errors import ConfigError
from gluonzip.report.sensitivity import Point


class Tally:
    """What was measured so far. A chunk of data counts once for each point, resumed or not.

    In the checkpoint, ``chunks``: digests of the chunks begun; ``base``: chunks done, rows and
    summed score of the unchanged network; ``points``: layer -> level -> chunks done, rows, summed
    score, signal, noise.
    """

    def __init__(self, checkpoint: Checkpoint, layers: Iterable[str]) -> None:
        self.checkpoint = checkpoint
        self.state = checkpoint.state
        if not self.state:
            self.state.update(chunks=[], base=[0, 0, 0.0], points={name: {} for name in layers})

    def begin(self, chunk: int, digest: str) -> None:
        """ConfigError when the data is not that of the checkpoint."""
        chunks = self.state["chunks"]
        if chunk == len(chunks):
            chunks.append(digest)
        elif chunks[chunk] != digest:
            raise ConfigError(
                f"checkpoint {str(self.checkpoint.path)!r} was begun with other data; delete it, "
                "or give another path"
            )

    def waits(self, chunk: int, layer: str, level: float) -> bool:
        """Is this point still to be measured on the chunk?"""
        return self.state["points"][layer].get(repr(level), [0])[0] <= chunk

    def base(self, chunk: int, rows: int, score: float | None) -> None:
        done, before, total = self.state["base"]
        if done <= chunk:
            self.state["base"] = [chunk + 1, before + rows, _plus(total, score, rows)]

    def add(
        self,
        chunk: int,
        layer: str,
        level: float,
        score: float | None,
        reference: Sequence[np.ndarray],
        outputs: Sequence[np.ndarray],
    ) -> None:
        rows = len(reference[0])
        new = [chunk + 1, 0, 0.0, 0.0, 0.0]
        _, count, total, signal, noise = self.state["points"][layer].get(repr(level), new)
        for r, o in zip(reference, outputs, strict=True):
            r = r.astype(np.float64)
            signal += float(np.square(r).sum())
            noise += float(np.square(r - o).sum())
        point = [chunk + 1, count + rows, _plus(total, score, rows), signal, noise]
        self.state["points"][layer][repr(level)] = point

    # ------------------------------------------------------------ results
    @property
    def rows(self) -> int:
        return self.state["base"][1]

    @property
    def score(self) -> float | None:
        """Of the unchanged network."""
        _, rows, total = self.state["base"]
        return None if total is None or not rows else total / rows

    def points(self, layer: str, levels: Iterable[float]) -> Iterator[Point]:
        found = self.state["points"][layer]
        for level in levels:
            if repr(level) in found:
                _, rows, total, signal, noise = found[repr(level)]
                score = None if total is None else total / rows
                yield Point(level, score, _quality(signal, noise), rows)


def _plus(total: float | None, score: float | None, rows: int) -> float | None:
    return None if total is None or score is None else total + score * rows


def _quality(signal: float, noise: float) -> float:
    """dB; minus infinity for outputs that are not finite any more."""
    return decibels(signal, noise) if np.isfinite(noise) else -np.inf
