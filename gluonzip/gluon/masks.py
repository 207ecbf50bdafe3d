"""Which weights to keep: a weight cut into units by a pattern, and masks from units. NumPy only.

A weight has its output channels on axis 0 and input channels on axis 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gluonzip.spec import NM, Block, Channels, Filters, SparsityPattern


@dataclass(frozen=True, eq=False)
class Units:
    """A weight as units that stay or go together.

    ``rows``: (units, values), zeros where a unit reaches over the edge. ``shape``: of an array of
    one number a unit: (20, 2, 5, 5) for 4x1 blocks of a (20, 8, 5, 5) weight. ``sizes``: real
    values of each row, (units,); None: all of them.
    """

    rows: np.ndarray
    shape: tuple[int, ...]
    sizes: np.ndarray | None = None


def units(weight: np.ndarray, pattern: SparsityPattern) -> Units:
    """The units of ``pattern`` (of N:M: single weights)."""
    if isinstance(pattern, Block):
        return _blocks(weight, pattern)
    if isinstance(pattern, Filters):
        return Units(weight.reshape(weight.shape[0], -1), (weight.shape[0],))
    if isinstance(pattern, Channels):
        rows = np.moveaxis(weight, 1, 0).reshape(weight.shape[1], -1)
        return Units(rows, (weight.shape[1],))
    return Units(weight.reshape(-1, 1), weight.shape)


def _blocks(weight: np.ndarray, pattern: Block) -> Units:
    sides, kernel = (pattern.outputs, pattern.inputs), weight.shape[2:]
    over = [-n % side for n, side in zip(weight.shape, sides, strict=False)]
    padded = np.pad(weight, [(0, over[0]), (0, over[1])] + [(0, 0)] * len(kernel))
    counts = [n // side for n, side in zip(padded.shape, sides, strict=False)]
    cut = padded.reshape(counts[0], sides[0], counts[1], sides[1], *kernel)
    cut = np.moveaxis(cut, (1, 3), (-2, -1))
    shape = cut.shape[:-2]
    sizes = None
    if any(over):
        lengths = [
            np.minimum(side, n - side * np.arange(count))
            for n, side, count in zip(weight.shape, sides, counts, strict=False)
        ]
        each = np.multiply.outer(*lengths).reshape(*counts, *[1] * len(kernel))
        sizes = np.broadcast_to(each, shape).ravel()
    return Units(cut.reshape(-1, sides[0] * sides[1]), shape, sizes)


def scores(weight: np.ndarray, pattern: SparsityPattern) -> np.ndarray:
    """Mean |w| of each unit, in the shape of the units: magnitude pruning of one weight."""
    cut = units(np.abs(weight), pattern)
    size = cut.rows.shape[1] if cut.sizes is None else cut.sizes
    return (cut.rows.sum(1) / np.asarray(size, weight.dtype)).reshape(cut.shape)


def expand(keep: np.ndarray, shape: tuple[int, ...], pattern: SparsityPattern) -> np.ndarray:
    """Units to keep, as a float32 mask of the weight's shape."""
    if isinstance(pattern, Block):
        keep = np.repeat(np.repeat(keep, pattern.outputs, axis=0), pattern.inputs, axis=1)
        keep = keep[: shape[0], : shape[1]]
    elif isinstance(pattern, (Filters, Channels)):
        axis = 0 if isinstance(pattern, Filters) else 1
        keep = keep.reshape([-1 if a == axis else 1 for a in range(len(shape))])
        keep = np.broadcast_to(keep, shape)
    return keep.astype(np.float32)


def remainder(shape: tuple[int, ...], pattern: SparsityPattern) -> str:
    """What happens where ``pattern`` does not divide a weight of ``shape``; "" if it does."""
    if isinstance(pattern, NM):
        left = shape[1] % pattern.m
        if not left:
            return ""
        what = f"{shape[1]} input channels are not a multiple of {pattern.m}"
        if shape[1] <= pattern.n:
            return f"skipped: {what} and no more than {pattern.n}, so nothing goes"
        return f"padded: {what}; the last group has {left} and keeps at most {pattern.n}"
    if not isinstance(pattern, Block):
        return ""
    sides = (("output", shape[0], pattern.outputs), ("input", shape[1], pattern.inputs))
    odd = [
        f"{n} {name} channels are not a multiple of {side}" for name, n, side in sides if n % side
    ]
    return f"padded: {' and '.join(odd)}; the last blocks are smaller" if odd else ""


def keep_at_least(score: np.ndarray, threshold: float) -> np.ndarray:
    """Units whose score reaches the threshold."""
    return score >= threshold


def keep_largest(score: np.ndarray, sparsity: float) -> np.ndarray:
    """All but the round(sparsity * n) units of lowest score, but one at least stays.

    Of equal scores, the later ones stay.
    """
    count = min(round(sparsity * score.size), score.size - 1)
    if count <= 0:
        return np.ones(score.shape, bool)
    flat = score.ravel()
    limit = np.partition(flat, count - 1)[count - 1]  # the largest score that goes
    gone = flat < limit
    ties = np.flatnonzero(flat == limit)
    gone[ties[: count - np.count_nonzero(gone)]] = True
    return ~gone.reshape(score.shape)


def keep_n_of_m(score: np.ndarray, pattern: NM) -> np.ndarray:
    """The ``n`` highest scores of each ``m`` consecutive input channels.

    A last group of fewer than ``m`` channels also keeps ``n`` at most.
    """
    inputs = score.shape[1]
    width = [(0, 0), (0, -inputs % pattern.m)] + [(0, 0)] * (score.ndim - 2)
    padded = np.pad(score, width, constant_values=-np.inf)
    groups = padded.reshape(score.shape[0], -1, pattern.m, *score.shape[2:])
    order = np.argsort(-groups, axis=2, kind="stable")
    rank = np.argsort(order, axis=2, kind="stable")
    return (rank < pattern.n).reshape(padded.shape)[:, :inputs]
