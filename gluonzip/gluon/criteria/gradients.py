"""Gradients of a loss over data, without a trace left in the network that they come from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from gluonzip.errors import ConfigError, DataError
from gluonzip.gluon._mxnet import mx
from gluonzip.gluon.batches import batches
from gluonzip.gluon.structure import Block, Parameter, parameter_names, require_legacy_arrays

Loss = Callable[..., Any]


def loss_gradients(
    net: Block,
    data: Iterable[Any],
    loss: Loss | None = None,
    *,
    parameters: Iterable[Parameter] | None = None,
    first_batch: bool = False,
) -> dict[str, np.ndarray]:
    """Gradient of the mean ``loss`` over ``data``: structural parameter name -> array.

    ``data``: batches (inputs, labels), as a DataLoader gives; or one such pair of whole arrays.
    ``loss``: of (outputs, labels), a Gluon loss or any function; default softmax cross-entropy.
    ``parameters``: whose gradients; default: all that have one. The network runs in inference mode
    (batch norms use their statistics, dropout is off). ``first_batch``: one batch only, in training
    mode.

    Frozen weights (``grad_req`` "null") get their gradients, too. What was there before comes back:
    ``grad_req``, gradients (accumulated ones as well) and batch norm statistics. A masked weight's
    gradient is 0 where its mask is. Raises DataError for no batches, batches without labels and
    gradients that are not finite.
    """
    require_legacy_arrays("loss_gradients")
    loss = loss or mx.gluon.loss.SoftmaxCrossEntropyLoss()
    names = parameter_names(net)
    known = list(net.collect_params().values())
    wanted = [p for p in known if p.grad_req != "null"] if parameters is None else list(parameters)
    if not wanted:
        raise ConfigError("no parameter of the network has a gradient")
    totals = {p.name: 0.0 for p in wanted}
    count = 0
    with _borrowed(known, wanted):
        for inputs, labels in labelled(data, _context(known)):
            if not labels and isinstance(loss, mx.gluon.loss.Loss):
                raise DataError(
                    f"a batch has no labels, which {type(loss).__name__} compares with; give "
                    "(inputs, labels), or a loss of the outputs alone"
                )
            with mx.autograd.record(train_mode=first_batch):
                value = loss(net(*inputs), *labels).mean()
            value.backward(train_mode=first_batch)
            rows = len(inputs[0])
            for p in wanted:
                totals[p.name] = totals[p.name] + rows * p.list_grad()[0].asnumpy()
            count += rows
            if first_batch:
                break
    found = {names[p.name]: (totals[p.name] / count).astype(np.float32) for p in wanted}
    for name, gradient in found.items():
        if not np.isfinite(gradient).all():
            raise DataError(
                f"the gradient of {name!r} is not finite (NaN or infinity): look at the loss and "
                "at the weights before this layer"
            )
    return found


def network_gradients(net: Block, parameters: Iterable[Parameter]) -> dict[str, np.ndarray]:
    """What the last ``backward()`` left: structural name -> gradient, summed over devices.

    DataError when there is nothing but zeros.
    """
    names, found = parameter_names(net), {}
    for p in parameters:
        if p.grad_req != "null" and p._grad is not None:
            found[names[p.name]] = sum(gradient.asnumpy() for gradient in p.list_grad())
    if not any(np.any(gradient) for gradient in found.values()):
        raise DataError(
            "this criterion needs gradients, and the network's are all zero: give data= and loss=, "
            "or call backward() on a loss first, or pass gradients={parameter name: array}"
        )
    return found


def labelled(data: Any, context: Any) -> Iterator[tuple[tuple[Any, ...], tuple[Any, ...]]]:
    """(inputs, labels) of each batch; the labels are () where a batch is one array."""
    if isinstance(data, tuple) and len(data) == 2 and all(_is_array(part) for part in data):
        x, y = data
        step = 64
        data = [(x[i : i + step], y[i : i + step]) for i in range(0, len(x), step)]
    kept: list[Any] = []

    def remember() -> Iterator[Any]:
        for batch in [data] if _is_array(data) else data:
            kept[:] = [batch]
            yield batch

    if isinstance(data, mx.io.DataIter):
        data.reset()
    for inputs in batches(remember(), context):
        yield inputs, tuple(_on(label, context) for label in _labels(kept[0]))


def _labels(batch: Any) -> tuple[Any, ...]:
    if isinstance(batch, mx.io.DataBatch):
        return tuple(batch.label or ())
    return tuple(batch[1:]) if isinstance(batch, (tuple, list)) else ()


def _on(label: Any, context: Any) -> Any:
    if isinstance(label, mx.nd.NDArray):
        return label.as_in_context(context)
    return mx.nd.array(np.asarray(label), ctx=context)


def _is_array(value: Any) -> bool:
    return isinstance(value, (mx.nd.NDArray, np.ndarray))


def _context(parameters: Iterable[Parameter]) -> Any:
    for p in parameters:
        if p._data is not None:
            return p.list_ctx()[0]
    raise DataError("the network has no values yet: call net.initialize() and run one forward pass")


@contextmanager
def _borrowed(known: Iterable[Parameter], wanted: Iterable[Parameter]) -> Iterator[None]:
    """``wanted`` have fresh gradients inside; everything is as it was afterwards."""
    before = {p.name: (p, p.grad_req, _copies(p._grad), _state(p)) for p in known}
    try:
        for p in wanted:
            p.grad_req = "write"
            if p.grad_req == "null":
                raise ConfigError(f"parameter {p.name!r} is not differentiable")
        yield
    finally:
        for p, request, gradients, state in before.values():
            p.grad_req = request
            for target, values in ((p._grad, gradients), (p._data, state)):
                for array, value in zip(target, values, strict=True) if values else ():
                    value.copyto(array)


def _copies(arrays: Any) -> list[Any] | None:
    return [array.copy() for array in arrays] if arrays else None


def _state(parameter: Parameter) -> list[Any] | None:
    """Copies of values that a forward pass in training mode changes."""
    changes = not getattr(parameter, "_differentiable", True)
    return _copies(parameter._data) if changes else None
