"""Weights with their output channels on axis 0 and input channels on axis 1, whatever the layer."""

from __future__ import annotations

import numpy as np

from gluonzip.gluon._mxnet import mx
from gluonzip.gluon.layers import Layer
from gluonzip.spec import Channels, Filters, SparsityPattern


def oriented(layer: Layer, value: np.ndarray, pattern: SparsityPattern) -> np.ndarray:
    """``value``, of the shape of a weight of ``layer``, as (outputs, inputs, ...).

    Transposed convolutions hold (inputs, outputs of a group, ...). An embedding's outputs are its
    units, but its table is cut into blocks and N:M groups as it stands.
    """
    if layer.transposed:
        groups = _groups(layer)
        parts = value.reshape(groups, -1, *value.shape[1:]).swapaxes(1, 2)
        return parts.reshape(-1, *parts.shape[2:])
    return value.swapaxes(0, 1) if _is_table(layer, pattern) else value


def restored(layer: Layer, value: np.ndarray, pattern: SparsityPattern) -> np.ndarray:
    """The opposite of :func:`oriented`."""
    if layer.transposed:
        groups = _groups(layer)
        parts = value.reshape(groups, -1, *value.shape[1:]).swapaxes(1, 2)
        return np.ascontiguousarray(parts.reshape(-1, *parts.shape[2:]))
    if _is_table(layer, pattern):
        value = value.swapaxes(0, 1)
    return np.ascontiguousarray(value)


def _groups(layer: Layer) -> int:
    return layer.block._kwargs.get("num_group", 1)


def _is_table(layer: Layer, pattern: SparsityPattern) -> bool:
    whole = isinstance(pattern, (Filters, Channels))
    return whole and isinstance(layer.block, mx.gluon.nn.Embedding)
