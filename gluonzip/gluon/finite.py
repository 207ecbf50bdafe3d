"""Where NaN or infinity first appears in a network."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import contextmanager
from typing import Any

import numpy as np
from mxnet.gluon.contrib.estimator import event_handler as events

from gluonzip.errors import DivergedError
from gluonzip.gluon._mxnet import mx
from gluonzip.gluon.structure import Block, imperative, parameter_names, plain_type, walk


def all_finite(arrays: Iterable[Any]) -> bool:
    """Is every value of every NDArray finite? Waits for them."""
    arrays = list(arrays)
    return bool(mx.nd.multi_all_finite(*arrays, num_arrays=len(arrays)).asscalar())


def check_step(net: Block, losses: Any, inputs: Any, where: str, kept: str = "") -> None:
    """Stop before an update would spoil the weights: call it between backward and the update.

    ``losses``: of the batch. ``where``: names the step in the message. ``kept``: what is left to go
    on from. Raises DivergedError when the losses or a gradient of ``net`` are not finite; names the
    first layer whose output is not, or the parameter whose gradient is not.
    """
    gradients = [
        p.list_grad()[0] for p in net.collect_params().values() if p.grad_req != "null" and p._grad
    ]
    if all_finite([losses, *gradients]):
        return
    what = "the loss is" if not all_finite([losses]) else "the loss is finite but a gradient is"
    spoiled = [
        p.name
        for p in net.collect_params().values()
        if p.grad_req == "null" and p._data is not None and not all_finite(p.list_data()[:1])
    ]
    if spoiled:  # the forward pass has written them already
        kept = f"{kept and kept + '; '}not finite any more: {', '.join(spoiled)}"
    raise DivergedError(
        f"{what} NaN or infinite at {where}: {origin(net, inputs)}. Training stopped before the "
        f"update, so the weights are those of the step before{kept and '; ' + kept}. A lower "
        "learning rate, a lower temperature or clipped gradients usually help"
    )


class StopAtNan(events.TrainBegin, events.BatchEnd):
    """Estimator handler: :func:`check_step` of every batch, before the weights are updated.

    estimator.fit(data, epochs=10, event_handlers=[StopAtNan()])
    """

    def __init__(self) -> None:
        self.priority = -3000  # GradientUpdateHandler has -2000
        self._step = 0

    def train_begin(self, estimator: Any, *args: Any, **kwargs: Any) -> None:
        """Steps are counted on over several calls of ``fit``."""

    def batch_end(self, estimator: Any, *args: Any, **kwargs: Any) -> None:
        losses = kwargs["loss"] if isinstance(kwargs["loss"], list) else [kwargs["loss"]]
        for loss in losses:
            check_step(estimator.net, loss, kwargs["batch"][0], f"step {self._step}")
        self._step += 1


def origin(net: Block, inputs: Any) -> str:
    """Where the first value that is not finite comes from, in words."""
    inputs = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
    if not all_finite(inputs):
        return "the batch's inputs are not finite"
    names = parameter_names(net)
    parameters = {names.get(p.name, p.name): p for p in net.collect_params().values()}
    for name, parameter in parameters.items():
        if parameter.grad_req != "null" and not all_finite(parameter.list_data()[:1]):
            return f"parameter {name!r} is not finite"
    found = _first_layer(net, inputs)
    if found:
        return found
    for name, parameter in parameters.items():
        if parameter.grad_req != "null" and not all_finite(parameter.list_grad()[:1]):
            return (
                f"every layer's output is finite; the first gradient that is not: of {name!r} "
                "(the loss function itself, or a slope that overflows)"
            )
    return "every layer's output is finite, so it is the loss function or its targets"


def _first_layer(net: Block, inputs: list[Any]) -> str:
    """The first layer, in the order of running, whose output is not finite."""
    paths = {id(block): path or block.name for path, block in walk(net)}
    found: list[str] = []

    def look(block: Block, _: Any, output: Any) -> None:
        arrays = [a for a in _flat(output) if np.dtype(a.dtype).kind == "f"]
        if not found and arrays and not all_finite(arrays):
            found.append(f"layer {paths[id(block)]!r} ({plain_type(block).__name__})")

    with _watched(net, look):
        net(*inputs)
    return f"the first output that is not finite is that of {found[0]}" if found else ""


def _flat(value: Any) -> list[Any]:
    if isinstance(value, (list, tuple)):
        return [item for part in value for item in _flat(part)]
    return [value] if isinstance(value, mx.nd.NDArray) else []


@contextmanager
def _watched(net: Block, hook: Any) -> Any:
    """``net`` imperative, in training mode and with ``hook`` on every block; then as it was."""
    statistics = [
        (p, p.list_data()[0].copy())
        for p in net.collect_params().values()
        if p.grad_req == "null" and p._data is not None
    ]
    hooks = [block.register_forward_hook(hook) for _, block in walk(net)]
    try:
        with imperative(net, train_mode=True):
            yield
    finally:
        for handle in hooks:
            handle.detach()
        for parameter, value in statistics:
            parameter.set_data(value)
