"""Which weights to keep: masks from magnitudes. NumPy only.

A weight has its output channels on axis 0 and input channels on axis 1. Magnitude pruning:
Han et al. 2015, https://arxiv.org/abs/1506.02626.
"""

from __future__ import annotations

import numpy as np

from gluonzip.spec import NM, Block, SparsityPattern


def scores(weight: np.ndarray, pattern: SparsityPattern) -> np.ndarray:
    """Mean |w| of each prunable unit: of each weight, or of each block.

    A (20, 8, 5, 5) weight has (20, 8, 5, 5) scores, in blocks of 4 input channels (20, 2, 5, 5).
    """
    magnitude = np.abs(weight)
    if not isinstance(pattern, Block):
        return magnitude
    starts = [np.arange(0, n, b) for n, b in zip(weight.shape, _sides(pattern), strict=False)]
    total = np.add.reduceat(np.add.reduceat(magnitude, starts[0], axis=0), starts[1], axis=1)
    lengths = [np.diff([*s, n]) for s, n in zip(starts, weight.shape, strict=False)]
    count = np.multiply.outer(*lengths).reshape(total.shape[:2] + (1,) * (weight.ndim - 2))
    return total / count.astype(magnitude.dtype)


def expand(keep: np.ndarray, shape: tuple[int, ...], pattern: SparsityPattern) -> np.ndarray:
    """Units to keep, as a float32 mask of the weight's shape."""
    if isinstance(pattern, Block):
        for axis, side in enumerate(_sides(pattern)):
            keep = np.repeat(keep, side, axis=axis)
        keep = keep[: shape[0], : shape[1]]
    return keep.astype(np.float32)


def keep_at_least(score: np.ndarray, threshold: float) -> np.ndarray:
    """Units whose score reaches the threshold."""
    return score >= threshold


def keep_largest(score: np.ndarray, sparsity: float) -> np.ndarray:
    """All but the round(sparsity * n) units of lowest score; of equals, the later ones stay."""
    count = round(sparsity * score.size)
    if count == 0:
        return np.ones(score.shape, bool)
    flat = score.ravel()
    limit = np.partition(flat, count - 1)[count - 1]  # the largest score that goes
    gone = flat < limit
    ties = np.flatnonzero(flat == limit)
    gone[ties[: count - np.count_nonzero(gone)]] = True
    return ~gone.reshape(score.shape)


def keep_n_of_m(weight: np.ndarray, pattern: NM) -> np.ndarray:
    """The ``n`` largest of each ``m`` consecutive input channels, as a float32 mask.

    A last group of fewer than ``m`` channels also keeps ``n`` at most.
    """
    inputs = weight.shape[1]
    padding = -inputs % pattern.m
    width = [(0, 0), (0, padding)] + [(0, 0)] * (weight.ndim - 2)
    magnitude = np.pad(np.abs(weight), width, constant_values=-1)
    groups = magnitude.reshape(weight.shape[0], -1, pattern.m, *weight.shape[2:])
    order = np.argsort(-groups, axis=2, kind="stable")
    rank = np.argsort(order, axis=2, kind="stable")
    keep = (rank < pattern.n).reshape(magnitude.shape)[:, :inputs]
    return keep.astype(np.float32)


def _sides(pattern: Block) -> tuple[int, int]:
    return pattern.outputs, pattern.inputs
