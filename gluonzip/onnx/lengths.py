"""Which axes of a graph's tensors have a fixed length."""

from __future__ import annotations

from gluonzip.errors import ShapeError, UnsupportedError
from gluonzip.graph import Graph, TensorType, infer_types

Lengths = tuple["int | None", ...]


class Axes:
    """Types of every tensor for two different lengths of the free axes: what stays is fixed.

    An input's axis of 0 is free. Where a graph does not accept other lengths than the traced ones
    (a reshape that names the batch, say), they count as fixed; ``free`` says which are left.
    """

    def __init__(self, graph: Graph) -> None:
        traced = graph.meta.get("input_shapes", [])
        nominal: dict[str, tuple[int, ...]] = {}
        for at, i in enumerate(graph.inputs):
            fallback = traced[at] if at < len(traced) else ()
            fits = len(fallback) == len(i.shape)
            nominal[i.name] = tuple(
                n or (fallback[axis] if fits else 1) for axis, n in enumerate(i.shape)
            )
        zeros = {(i.name, axis) for i in graph.inputs for axis, n in enumerate(i.shape) if n == 0}
        batch = {(name, axis) for name, axis in zeros if axis == 0}
        self.free: set[tuple[str, int]] = set()
        for free in (zeros, batch, set()):
            try:
                self.first = infer_types(graph, _with(nominal, free, 2))
                self.second = infer_types(graph, _with(nominal, free, 3))
            except ShapeError:
                if not free:
                    raise
                continue
            self.free = free
            break

    def __getitem__(self, name: str) -> Lengths:
        """Lengths of a tensor's axes, None for free ones."""
        pair = zip(self.first[name].shape, self.second[name].shape, strict=True)
        return tuple(n if n == m else None for n, m in pair)

    def type(self, name: str) -> TensorType:
        return self.first[name]


def _with(
    nominal: dict[str, tuple[int, ...]], free: set[tuple[str, int]], factor: int
) -> dict[str, tuple[int, ...]]:
    """Nominal shapes with the free axes set: batches of ``factor``, others that much longer."""
    return {
        name: tuple(
            (factor if axis == 0 else n * factor) if (name, axis) in free else n
            for axis, n in enumerate(shape)
        )
        for name, shape in nominal.items()
    }


def fixed(lengths: Lengths, what: str) -> tuple[int, ...]:
    """``lengths`` if none is free; UnsupportedError says what needs them."""
    if None in lengths:
        raise UnsupportedError(f"{what} needs fixed lengths, got {lengths}; trace with fixed ones")
    return lengths  # type: ignore[return-value]
