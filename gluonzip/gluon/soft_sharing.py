"""Losses that pull weights together until they can be shared hard."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gluonzip.errors import ConfigError
from gluonzip.gluon._mxnet import mx
from gluonzip.gluon.layers import Layer, Selection, select
from gluonzip.gluon.structure import Block, HybridBlock
from gluonzip.gluon.wrapper import Compressed

_SMALLEST = 1e-4
"""Standard deviations stay above it: a cluster that collapses would have infinite density."""


class MixturePrior(HybridBlock):
    """Soft weight-sharing: minus the log density of the weights under a mixture of Gaussians.

    Nowlan and Hinton 1992; for compression Ullrich, Meeds and Welling 2017,
    https://arxiv.org/abs/1702.04008. Component 0 sits at zero with a fixed share ``zero``, so that
    weights are pruned; the means, widths and shares of the others learn with the network: add
    ``prior.collect_params()`` to the trainer. ``prior()`` is the mean over all weights of the
    layers, an NDArray (1,): add it to the loss, times what it shall count.

    ``components``: besides zero, at least 1. Raises ConfigError, PatternError, DataError.
    """

    def __init__(
        self, net: Block, components: int = 15, zero: float = 0.9, layers: Selection = None
    ) -> None:
        super().__init__()
        if isinstance(components, bool) or not isinstance(components, int) or components < 1:
            raise ConfigError(f"components = {components!r} must be a positive integer")
        if not 0 < zero < 1:
            raise ConfigError(f"zero = {zero!r} must be between 0 and 1")
        self.zero = zero
        self._chosen = _trained(select(net, layers).values())
        values = np.concatenate([v.asnumpy().ravel() for v in self._values()])
        spread = float(values.std()) or 1.0
        means = np.linspace(values.min(), values.max(), components, dtype=np.float32)
        wide = math.log(max(spread / 4, 2 * _SMALLEST))
        with self.name_scope():
            self.means = self._learned("means", means)
            self.log_widths = self._learned("log_widths", np.full(components + 1, wide))
            self.log_shares = self._learned("log_shares", np.zeros(components))

    def _learned(self, name: str, start: np.ndarray) -> Any:
        parameter = self.params.get(name, shape=start.shape, init=mx.init.Zero())
        parameter.initialize()
        parameter.set_data(mx.nd.array(start))
        return parameter

    def _values(self) -> list[Any]:
        return [layer.data(attribute) for layer in self._chosen for attribute in layer.weights]

    def forward(self) -> Any:
        """Minus the mean log density of all weights, (1,)."""
        parts = [self._surprise(v.reshape((-1, 1))).sum() for v in self._values()]
        return mx.nd.add_n(*parts) / sum(v.size for v in self._values())

    def _surprise(self, weights: Any) -> Any:
        """(n, 1) -> (n,)."""
        nd = mx.nd
        means = nd.concat(nd.zeros((1,)), self.means.data(), dim=0).reshape((1, -1))
        widths = (nd.exp(self.log_widths.data()) + _SMALLEST).reshape((1, -1))
        shares = nd.concat(
            nd.array([math.log(self.zero)]),
            nd.log_softmax(self.log_shares.data()) + math.log(1 - self.zero),
            dim=0,
        ).reshape((1, -1))
        distance = nd.broadcast_div(nd.broadcast_sub(weights, means), widths)
        logs = nd.broadcast_add(-0.5 * distance**2, shares - nd.log(widths))
        peak = logs.max(axis=1, keepdims=True).detach()
        total = nd.log(nd.exp(nd.broadcast_sub(logs, peak)).sum(axis=1)) + peak.reshape((-1,))
        return 0.5 * math.log(2 * math.pi) - total

    def harden(self) -> dict[str, int]:
        """Set every weight to the mean of its likeliest component; layer -> different values.

        :func:`gluonzip.gluon.share` then keeps exactly these values while they are few enough.
        """
        nd, counts = mx.nd, {}
        means = np.concatenate([[0], self.means.data().asnumpy()])
        widths = np.exp(self.log_widths.data().asnumpy()) + _SMALLEST
        rest = nd.log_softmax(self.log_shares.data()).asnumpy() + math.log(1 - self.zero)
        shares = np.concatenate([[math.log(self.zero)], rest])
        for layer in self._chosen:
            for attribute, parameter in layer.weights.items():
                value = layer.data(attribute).asnumpy()
                logs = -0.5 * ((value[..., None] - means) / widths) ** 2 + shares - np.log(widths)
                hard = means[logs.argmax(axis=-1)].astype(np.float32)
                parameter.set_data(nd.array(hard))
                counts[layer.name] = len(np.unique(hard))
        return counts


def tie_penalty(net: Block, layers: Selection) -> Any:
    """Squared distance of the weights of layers of one shape from their mean, per weight: (1,).

    Add it to the loss, times what it shall count; when it is small, :func:`gluonzip.gluon.tie`
    makes the layers share one weight. Raises ConfigError (fewer than two layers, shapes that
    differ), PatternError, DataError.
    """
    chosen = _trained(select(net, layers).values())
    shapes = {tuple(p.shape for p in layer.weights.values()) for layer in chosen}
    if len(chosen) < 2 or len(shapes) > 1:
        raise ConfigError(
            f"a tie needs two layers or more of one shape, got {[c.name for c in chosen]} with "
            f"shapes {sorted(shapes)}"
        )
    total, size = [], 0
    for attribute in chosen[0].weights:
        stack = mx.nd.stack(*[layer.data(attribute) for layer in chosen])
        total.append((mx.nd.broadcast_sub(stack, stack.mean(axis=0, keepdims=True)) ** 2).sum())
        size += stack.size
    return mx.nd.add_n(*total) / size


def _trained(chosen: Any) -> list[Layer]:
    layers = [layer for layer in chosen if not layer.obstacle]
    for layer in layers:
        if isinstance(layer.block, Compressed) and layer.block._codebooks:
            raise ConfigError(
                f"layer {layer.name!r} has a codebook already, so its weights do not train: pull "
                "weights together before gluonzip.gluon.share"
            )
    return layers
