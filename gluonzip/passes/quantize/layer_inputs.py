"""What a layer's weights meet: moments of its inputs, from data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import SimpleNamespace

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from gluonzip.graph import OPS, Graph, Node, interpret
from gluonzip.passes.quantize.calibrate import Batch, Run

WIDEST = 4608
"""Inputs of one output (3 x 3 x 512) beyond which no matrix of second moments is kept."""

POSITIONS = 4096
"""Positions of the kernel that are looked at in each batch and layer, chosen evenly."""


def patches(x: np.ndarray, node: Node, weight_shape: tuple[int, ...]) -> np.ndarray:
    """What each output is made of: (groups, positions, inputs of a group), float32.

    ``x``: the input of a conv2d or dense ``node``. Rows times the weight, as (outputs of the group,
    inputs of the group), are the weighted sums; at most POSITIONS of them, evenly chosen.
    """
    a = OPS[node.op].fill(node.attrs)
    if node.op == "dense":
        rows = x.reshape(len(x), -1) if a.flatten else x.reshape(-1, x.shape[-1])
        return _evenly(rows)[None]
    return _conv_patches(x, a, weight_shape)


def at_positions(y: np.ndarray, groups: int) -> np.ndarray:
    """An output, or what is added to it, where :func:`patches` looks: (groups, positions, outputs
    of a group)."""
    rows = np.moveaxis(y, 1, -1).reshape(-1, y.shape[1])
    chosen = _evenly(rows)
    return chosen.reshape(len(chosen), groups, -1).swapaxes(0, 1)


def _conv_patches(x: np.ndarray, a: SimpleNamespace, weight_shape: tuple[int, ...]) -> np.ndarray:
    top, left, bottom, right = a.pad
    x = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
    kh, kw = weight_shape[2:]
    dh, dw = a.dilation
    windows = sliding_window_view(x, ((kh - 1) * dh + 1, (kw - 1) * dw + 1), axis=(2, 3))
    windows = windows[:, :, :: a.stride[0], :: a.stride[1], ::dh, ::dw]
    n, c, oh, ow = windows.shape[:4]
    at = _even_indices(n * oh * ow)
    image, row, column = np.unravel_index(at, (n, oh, ow))
    chosen = windows[image, :, row, column]  # (positions, c, kh, kw)
    grouped = chosen.reshape(len(at), a.groups, c // a.groups * kh * kw)
    return np.ascontiguousarray(grouped.swapaxes(0, 1))


def _evenly(rows: np.ndarray) -> np.ndarray:
    return rows[_even_indices(len(rows))]


def _even_indices(count: int) -> np.ndarray:
    return np.unique(np.linspace(0, count - 1, min(count, POSITIONS)).astype(int))


class Moments:
    """Sums over a layer's patches: ``mean`` (groups, K) and, if K allows, ``second``
    (groups, K, K) = E[x x^T]."""

    def __init__(self, second: bool) -> None:
        self.count, self._sum, self._outer, self._second = 0, None, None, second

    def feed(self, rows: np.ndarray) -> None:
        """``rows``: (groups, positions, K)."""
        self.count += rows.shape[1]
        total = rows.sum(axis=1, dtype=np.float64)
        self._sum = total if self._sum is None else self._sum + total
        if self._second:
            outer = rows.swapaxes(1, 2) @ rows
            self._outer = outer if self._outer is None else self._outer + outer

    @property
    def mean(self) -> np.ndarray:
        return self._sum / self.count

    @property
    def second(self) -> np.ndarray | None:
        return None if self._outer is None else self._outer / np.float32(self.count)


def layer_moments(
    graph: Graph,
    batches: Iterable[Batch],
    run: Run = interpret,
    second: bool = True,
    wanted: Callable[[Node], bool] = lambda node: True,
) -> dict[str, Moments]:
    """Moments of the inputs of each conv2d and dense layer with a constant weight, by node name.

    ``second``: also second moments, for layers with no more than WIDEST inputs an output. ``run``
    as for ``calibrate``. One pass; memory does not grow with the data.
    """
    layers = [
        node
        for node in graph.nodes
        if node.op in ("conv2d", "dense") and node.inputs[1] in graph.constants and wanted(node)
    ]
    shapes = {node.name: graph.constants[node.inputs[1]].data.shape for node in layers}
    found = {
        node.name: Moments(second and int(np.prod(shapes[node.name][1:])) <= WIDEST)
        for node in layers
    }
    keep = tuple(dict.fromkeys(node.inputs[0] for node in layers))
    for batch in batches:
        kept: Mapping[str, np.ndarray] = run(graph, batch, keep=keep)[1] if keep else {}
        for node in layers:
            x = np.asarray(kept[node.inputs[0]], np.float32)
            found[node.name].feed(patches(x, node, shapes[node.name]))
    return found
