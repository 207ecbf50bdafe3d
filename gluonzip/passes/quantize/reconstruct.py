"""A layer fitted to what the quantized network gives it: errors of earlier layers are made up for.

The layer's float32 output is the target; its input, and what is added to its output, are those of
the quantized network. Least squares gives real weights (that also amplify less of the rounding
noise), which are rounded under the same objective, and the bias takes the mean of what is left. The
objective is that of AdaRound (arXiv:2004.10568, equation 25: its asymmetric reconstruction), solved
in closed form as in E. Frantar, D. Alistarh, "Optimal Brain Compression", arXiv:2208.11580.

Layers are fitted one after the other: each makes up for all that came before it.
``gluonzip.auto.reconstruction`` runs the networks between them.
"""

from __future__ import annotations

import numpy as np

from gluonzip.graph import Constant, Node
from gluonzip.passes.quantize.layer_inputs import WIDEST, at_positions, patches
from gluonzip.passes.quantize.rounding import adaptive_codes
from gluonzip.passes.quantize.schemes import scale_of
from gluonzip.spec import max_code

DAMPING = 0.05
"""Added to the variances of a layer's inputs, as a share of their mean."""

SCARCITY = 20
"""How much the damping grows where a layer has many inputs for few samples: DAMPING times so much,
for as many inputs as samples."""


class LayerFit:
    """Sums over the data for one conv2d or dense layer: ``feed`` batches, then ``solve``.

    ``weight``: its float32 values; ``bias``: (outputs,).
    """

    def __init__(self, node: Node, weight: np.ndarray, bias: np.ndarray) -> None:
        self.node, self.weight, self.bias = node, weight, bias
        self.groups = node.attrs.get("groups", 1)
        self.rows = weight.reshape(self.groups, weight.shape[0] // self.groups, -1)
        self.whole = self.rows.shape[-1] <= WIDEST
        self.count = 0
        self.origin: np.ndarray | None = None  # near the inputs' mean, so that sums cancel less
        shape = self.rows.shape
        self.inputs, self.missing = np.zeros((shape[0], shape[2])), np.zeros(shape[:2])
        self.squares = np.zeros((shape[0], shape[2], shape[2]) if self.whole else 0)
        self.products = np.zeros(shape if self.whole else 0)

    def feed(
        self,
        dense: np.ndarray,
        quantized: np.ndarray,
        dense_residual: np.ndarray | None = None,
        quantized_residual: np.ndarray | None = None,
    ) -> None:
        """The layer's input in both networks, and what is added to its output, of one batch."""
        given = patches(quantized, self.node, self.weight.shape)
        lost = patches(dense, self.node, self.weight.shape) - given
        missing = lost @ self.rows.swapaxes(1, 2)  # (groups, positions, outputs)
        if dense_residual is not None:
            missing = missing + at_positions(dense_residual - quantized_residual, self.groups)
        if self.origin is None:
            self.origin = given.mean(axis=1, keepdims=True)
        given = given - self.origin
        self.count += given.shape[1]
        self.inputs += given.sum(axis=1, dtype=np.float64)
        self.missing += missing.sum(axis=1, dtype=np.float64)
        if self.whole:
            self.squares += given.swapaxes(1, 2) @ given
            self.products += missing.swapaxes(1, 2) @ given

    def solve(self, before: Constant) -> tuple[Constant, np.ndarray]:
        """Integer weights like ``before`` (bits, scale per tensor or channel), and the bias.

        A layer too wide for second moments keeps its weights, and so do weights of 2 bits or fewer
        (ternary, binary) or with scales per group; the bias is fitted in any case. Weights that are
        zero stay zero.
        """
        mean, missing = self.inputs / self.count, self.missing / self.count
        able = self.whole and before.bits > 2 and np.ndim(before.scale) < 2
        constant = self._weights(before, mean, missing) if able else before
        mean = mean + self.origin[:, 0]
        rows = constant.dense().reshape(self.rows.shape).astype(np.float64)
        shift = missing + np.einsum("gok,gk->go", self.rows - rows, mean)
        return constant, (self.bias + shift.ravel()).astype(np.float32)

    def _weights(self, before: Constant, mean: np.ndarray, missing: np.ndarray) -> Constant:
        second = self.squares / self.count - mean[:, :, None] * mean[:, None, :]
        cross = self.products / self.count - missing[:, :, None] * mean[:, None, :]
        second = self._damped(second)
        change = np.linalg.solve(second, cross.swapaxes(1, 2)).swapaxes(1, 2)
        wanted = (self.rows + np.where(self.rows == 0, 0, change)).astype(np.float32)
        return _rounded(wanted, second, before, self.weight.shape)

    def _damped(self, second: np.ndarray) -> np.ndarray:
        size = second.shape[-1]
        share = DAMPING * (1 + SCARCITY * size / self.count)
        variance = np.trace(second, axis1=1, axis2=2) / size
        least = 1e-8 * np.square(self.origin).mean(axis=(1, 2), dtype=np.float64) + 1e-12
        return second + np.eye(size) * np.maximum(share * variance, least)[:, None, None]


def _rounded(
    wanted: np.ndarray, second: np.ndarray, before: Constant, shape: tuple[int, ...]
) -> Constant:
    """``wanted`` (groups, outputs, K) as codes such that the error weighted by ``second`` is small;
    the rest as in ``before``."""
    shaped = wanted.reshape(shape)
    others = tuple(range(1, shaped.ndim)) if np.ndim(before.scale) else None
    scale = scale_of(np.abs(shaped).max(axis=others, initial=0), before.bits)
    steps = scale.reshape(-1, *[1] * (shaped.ndim - 1)) if scale.ndim else scale
    units = (shaped / steps).reshape(wanted.shape)
    limit = max_code(before.bits)
    codes = [
        adaptive_codes(u, h.astype(np.float32), limit) for u, h in zip(units, second, strict=True)
    ]
    return Constant(np.concatenate(codes).reshape(shape).astype(np.int8), scale, 0, before.bits)
