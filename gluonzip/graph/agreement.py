"""How far another program's outputs are from a graph's, and inputs to find out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gluonzip.graph.ir import Graph


@dataclass(frozen=True)
class Agreement:
    """How far a runtime's outputs are from the graph's.

    ``largest``: max |difference| over all outputs; ``relative``: the same over max |output|, the
    worst output; ``top1``: share of rows whose largest entry is at the same place, over the first
    output; ``integer``, ``floating``: convolutions and products that the runtime computes in
    integers, and those that it does not (-1: not known).
    """

    runtime: str
    largest: float
    relative: float
    top1: float
    integer: int = -1
    floating: int = -1

    def __str__(self) -> str:
        text = f"{self.runtime}: largest difference {self.largest:.3g} ({self.relative:.2g} of the "
        text += f"largest output), same top-1 on {self.top1:.1%}"
        if self.integer > 0:
            text += f", {self.integer} of {self.integer + self.floating} layers in integers"
        return text


def random_inputs(graph: Graph, batch: int = 4, seed: int = 0) -> dict[str, np.ndarray]:
    """Normal values of the traced shapes; an input that only an embedding reads gets indices."""
    rng = np.random.default_rng(seed)
    traced = graph.meta.get("input_shapes", [])
    made = {}
    for at, i in enumerate(graph.inputs):
        sizes = traced[at] if at < len(traced) and len(traced[at]) == len(i.shape) else i.shape
        shape = [n or sizes[axis] or 1 for axis, n in enumerate(i.shape)]
        if i.shape and i.shape[0] == 0:
            shape[0] = batch
        values = rng.standard_normal(shape)
        rows = _rows(graph, i.name)
        values = rng.integers(0, rows, shape) if rows else values
        made[i.name] = np.asarray(values, i.dtype)
    return made


def _rows(graph: Graph, name: str) -> int:
    tables = [n.inputs[1] for n in graph.nodes if n.op == "embedding" and n.inputs[0] == name]
    return min(
        (graph.constants[t].data.shape[0] for t in tables if t in graph.constants), default=0
    )


def compare(
    runtime: str, wanted: Sequence[np.ndarray], got: Sequence[np.ndarray], **counts
) -> Agreement:
    """The figures of :class:`Agreement` for two lists of outputs."""
    gaps = [
        float(np.abs(a.astype(np.float64) - b).max(initial=0))
        for a, b in zip(wanted, got, strict=True)
    ]
    sizes = [float(np.abs(a.astype(np.float64)).max(initial=0)) for a in wanted]
    relative = max(
        (gap / max(size, 1e-12) for gap, size in zip(gaps, sizes, strict=True)), default=0
    )
    first, second = (
        x[0].reshape(len(x[0]), -1) if x[0].ndim else x[0].reshape(1, 1) for x in (wanted, got)
    )
    top1 = float((first.argmax(axis=1) == second.argmax(axis=1)).mean())
    return Agreement(runtime, max(gaps, default=0.0), relative, top1, **counts)
