"""Soft pruning: terms that are added to the loss and draw weights towards zero.

    loss = loss_of(net(x), y) + penalty(net)

A Gluon loss has one number a sample and ``trainer.step(batch_size)`` divides by their number, so
the penalty, (1,), counts once a step whatever the batch size. The terms use the parameters
themselves: they are the same whether the network is hybridized or not.

Gradient descent on these terms makes weights small, not zero: ``prune(net, threshold=...)``
afterwards takes what became small.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator
from typing import Any

import numpy as np

from gluonzip.errors import ConfigError, DataError, PatternError, UnsupportedError
from gluonzip.gluon._mxnet import mx
from gluonzip.gluon.layers import Layer, Selection, select
from gluonzip.gluon.structure import Block, walk
from gluonzip.gluon.wrapper import Compressed


class Penalty:
    """``strength`` times a sum over parameters. Call it with a network (and a device)."""

    def __init__(self, strength: float, layers: Selection = None) -> None:
        if not (isinstance(strength, (int, float)) and np.isfinite(strength) and strength >= 0):
            raise ConfigError(f"strength = {strength!r} is not usable; use a number >= 0")
        self.strength, self.layers = float(strength), layers

    def __call__(self, net: Block, context: Any = None) -> Any:
        """The term as an NDArray (1,) on ``context`` (default: the first device of each parameter).

        Differentiable inside ``autograd.record()``. Raises PatternError for ``layers`` that match
        nothing, ConfigError when there is nothing to penalize, DataError without values,
        UnsupportedError for transposed convolutions that MXNet cannot train with a penalty.
        """
        terms = list(self._terms(net, context))
        if not terms:
            raise ConfigError(f"{type(self).__name__} finds nothing to penalize in the network")
        return self.strength * mx.nd.add_n(*terms)

    def _terms(self, net: Block, context: Any) -> Iterator[Any]:
        for layer, attribute in _weights(net, self.layers):
            yield self._term(layer, _used(layer, attribute, context)).reshape((1,))

    def _term(self, layer: Layer, weight: Any) -> Any:
        """Of one weight, without the strength."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.strength:g})"


class L1Penalty(Penalty):
    """strength * sum |w| over the weights of ``layers`` (biases and norms are left alone)."""

    def _term(self, layer: Layer, weight: Any) -> Any:
        return weight.abs().sum()


class GroupLasso(Penalty):
    """strength * sum over filters of sqrt(size) * ||filter||: whole filters go to zero together.

    Yuan and Lin 2006; for convolutions: Wen et al., "Learning Structured Sparsity in Deep Neural
    Networks", NeurIPS 2016. A filter is an output channel's weights (a neuron's, an embedding's
    unit's). The gradient of a filter that is zero is zero.
    """

    def _term(self, layer: Layer, weight: Any) -> Any:
        rows = _filters(layer, weight)
        squares = (rows**2).sum(axis=1)
        alive = (squares > 0).detach()
        norms = mx.nd.where(alive, squares, mx.nd.ones_like(squares)).sqrt() * alive
        return norms.sum() * float(np.sqrt(rows.shape[1]))


class BatchNormL1(Penalty):
    """strength * sum |gamma| over batch norms: channels switch themselves off.

    Network slimming (Liu et al., ICCV 2017); afterwards ``prune_channels(net, shape,
    scorer="bn_scale")``. ``layers``: names or globs of batch norms; default: all that train gamma.
    """

    def _terms(self, net: Block, context: Any) -> Iterator[Any]:
        for name, block in _batch_norms(net, self.layers):
            if block.gamma._data is None:
                raise DataError(
                    f"batch norm {name!r} has no values yet: run one forward pass first"
                )
            yield block.gamma.data(context).abs().sum().reshape((1,))


class PenalizedLoss(mx.gluon.loss.Loss):
    """``loss`` plus penalties of ``net``, as one Gluon loss: for the Estimator.

    ``Estimator(net, loss=PenalizedLoss(loss, net, L1Penalty(1e-4)), val_loss=loss)``
    """

    def __init__(self, loss: Any, net: Block, *penalties: Penalty) -> None:
        super().__init__(None, 0)
        if not penalties:
            raise ConfigError("PenalizedLoss needs at least one penalty")
        self.loss, self._net, self._penalties = loss, [net], penalties  # (a list: not a child)

    def forward(self, outputs: Any, *labels: Any) -> Any:
        value = self.loss(outputs, *labels)
        for penalty in self._penalties:
            value = value + penalty(self._net[0], value.context)
        return value

    def hybridize(self, active: bool = True, **kwargs: Any) -> None:
        """Hybridizes the loss inside; the penalties are computed as they are."""
        if isinstance(self.loss, mx.gluon.HybridBlock):
            self.loss.hybridize(active, **kwargs)


def _weights(net: Block, selection: Selection) -> Iterator[tuple[Layer, str]]:
    """Each weight once, shared ones too."""
    seen: set[str] = set()
    for layer in select(net, selection).values():
        for attribute, parameter in layer.weights.items():
            if parameter.name not in seen and len(parameter.shape) > 1:
                seen.add(parameter.name)
                yield layer, attribute


def _used(layer: Layer, attribute: str, context: Any) -> Any:
    """The weight that trains, without what its mask hides."""
    if layer.weights[attribute]._data is None:
        layer.data(attribute)  # says what is missing
    weight = layer.weights[attribute].data(context)
    _check_transposed(layer, weight)
    if isinstance(layer.block, Compressed) and attribute in layer.block._masks:
        mask = layer.block._reg_params[layer.block._masks[attribute]]
        weight = weight * mask.data(context)
    return weight


def _check_transposed(layer: Layer, weight: Any) -> None:
    """oneDNN cannot add to the gradient of a transposed convolution's float32 weight."""
    if not (layer.transposed and mx.autograd.is_recording() and weight.dtype == np.float32):
        return
    if not isinstance(layer.block, Compressed) or not layer.block._needs_double():
        raise UnsupportedError(
            f"MXNet cannot add a penalty's gradient to that of transposed convolution "
            f"{layer.name!r}; give the layer an open mask first (prune(net, sparsity=0.0, "
            f"layers={layer.name!r})), which takes another path, or leave it out (layers=)"
        )


def _filters(layer: Layer, weight: Any) -> Any:
    """(filters, values of one)."""
    if layer.transposed:
        groups = layer.block._kwargs.get("num_group", 1)
        inputs, outputs = weight.shape[:2]
        split = weight.reshape((groups, inputs // groups, outputs, -1))
        return split.swapaxes(1, 2).reshape((groups * outputs, -1))
    if isinstance(layer.block, mx.gluon.nn.Embedding):
        weight = weight.swapaxes(0, 1)
    return weight.reshape((weight.shape[0], -1))


def _batch_norms(net: Block, patterns: Any) -> Iterator[tuple[str, Any]]:
    """Batch norms whose scale is used, by name; PatternError for a pattern that matches none."""
    known = {
        path or block.name: block
        for path, block in walk(net)
        if "gamma" in block._reg_params and "running_mean" in block._reg_params
    }
    used = {name: block for name, block in known.items() if not block._kwargs["fix_gamma"]}
    if patterns is None:
        yield from used.items()
        return
    wanted: set[str] = set()
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        matched = fnmatch.filter(used, pattern)
        if not matched:
            raise PatternError(f"{pattern!r} matches no batch norm; there are: {', '.join(used)}")
        wanted.update(matched)
    yield from ((name, block) for name, block in used.items() if name in wanted)
