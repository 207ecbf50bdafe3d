"""How much each weight matters to the loss: the diagonal of the Fisher information."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from gluonzip.errors import DataError
from gluonzip.gluon._mxnet import mx
from gluonzip.gluon.layers import Selection, select
from gluonzip.gluon.structure import Block


def curvature(
    net: Block,
    data: Iterable[Any],
    loss: Any = None,
    *,
    layers: Selection = None,
    batches: int | None = None,
) -> dict[tuple[str, str], np.ndarray]:
    """Mean squared gradient of each weight, times the batch size, by (layer, attribute).

    Up to sampling noise the diagonal of the Fisher information, which stands for that of the
    Hessian near a minimum (Optimal Brain Damage: LeCun, Denker and Solla 1990). ``data``: iterable
    of (inputs, labels) in small batches; ``batches``: use only so many. ``loss``: of (outputs,
    labels), by default softmax cross-entropy. Gradients of parameters are overwritten. Layers with
    a codebook must be shared after, not before. Raises DataError for no batches, or for a gradient
    that is not finite.
    """
    loss = loss or mx.gluon.loss.SoftmaxCrossEntropyLoss()
    weights = {
        (name, attribute): parameter
        for name, layer in select(net, layers).items()
        for attribute, parameter in layer.weights.items()
        if parameter.grad_req != "null"
    }
    totals: dict[tuple[str, str], Any] = {}
    count = 0
    for inputs, labels in _pairs(data):
        if batches is not None and count == batches:
            break
        with mx.autograd.record():
            value = loss(net(inputs), labels).mean()
        value.backward()
        count += 1
        for key, parameter in weights.items():
            square = parameter.list_grad()[0] ** 2 * len(labels)
            totals[key] = square if key not in totals else totals[key] + square
    if not count:
        raise DataError("curvature needs at least one batch")
    found = {key: total.asnumpy() / count for key, total in totals.items()}
    for (name, attribute), value in found.items():
        if not np.isfinite(value).all():
            raise DataError(f"the gradient of '{name}.{attribute}' is not finite")
    return found


def _pairs(data: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
    if hasattr(data, "reset"):
        data.reset()
    for batch in data:
        if isinstance(batch, mx.io.DataBatch):
            batch = (batch.data[0], batch.label[0])
        if not isinstance(batch, (tuple, list)) or len(batch) != 2:
            raise DataError(f"a batch must be a pair (inputs, labels), got {type(batch).__name__}")
        yield tuple(_array(value) for value in batch)


def _array(value: Any) -> Any:
    if isinstance(value, mx.nd.NDArray):
        return value.as_in_context(mx.cpu())  # a DataLoader's workers yield cpu_shared arrays
    return mx.nd.array(value, dtype=np.float32)
