"""Structured pruning of a Gluon network: fewer channels, really fewer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from gluonzip.gluon._mxnet import mx
from gluonzip.gluon.criteria.gradients import loss_gradients, network_gradients
from gluonzip.gluon.rebuild import GraphBlock
from gluonzip.gluon.structure import Block
from gluonzip.gluon.tracing import trace_net
from gluonzip.passes.prune import (
    Criterion,
    Member,
    PruningRecord,
    find_groups,
    resolve,
    select,
    shrink,
)

Shape = tuple[int, ...]


def prune_channels(
    net: Block,
    input_shape: Shape | Sequence[Shape],
    ratio: float = 0.3,
    scorer: str | Callable[[Member], np.ndarray | None] = "l1",
    scope: str = "local",
    round_to: int = 8,
    skip: Sequence[str] = (),
    gradients: Mapping[str, Any] | None = None,
    minimum: int = 1,
    seed: int = 0,
    data: Any = None,
    loss: Any = None,
    movement: Mapping[str, Any] | None = None,
) -> tuple[GraphBlock, PruningRecord]:
    """``net`` with its least important channels removed, as a new network, and what was removed.

    ``input_shape``: e.g. ``(1, 3, 224, 224)``, or a list of shapes for several inputs. ``scorer``:
    a criterion (``gluonzip.passes.prune.SCORERS``: ``l1``, ``l2``, ``bn_scale``, ``fpgm``,
    ``taylor``, ``snip``, ``movement``, ``random``, ...) or a function of your own from a
    :class:`~gluonzip.passes.prune.Member` to importances. Gradients for ``taylor`` and ``snip``:
    from ``data`` and ``loss`` (:func:`gluonzip.gluon.loss_gradients`), or ``gradients`` (structural
    parameter name -> array), or else the last ``backward()``. ``movement``: a
    :class:`gluonzip.gluon.Movement`. Other arguments: :func:`gluonzip.passes.prune.select`.

    ``net`` itself is left as it is. The new one has the same layer and parameter names, the
    ``grad_req``, ``lr_mult`` and ``wd_mult`` of its parameters, its device, and is ready to be
    fine-tuned; ``print(record.to_text())`` shows layers, parameters and multiply-accumulates
    before and after, and why channels stayed where they did.

    Raises ConfigError, PatternError or DataError for arguments that do not fit, and what ``trace``
    raises.
    """
    shapes = [input_shape] if _is_shape(input_shape) else list(input_shape)
    traced = trace_net(net, *shapes)
    graph = traced.graph
    groups = find_groups(
        graph,
        shapes={i.name: tuple(shape) for i, shape in zip(graph.inputs, shapes, strict=True)},
        foreign={name: traced.shapes.get(entry) for name, entry in traced.entries.items()},
    )
    gradients = _gradients(net, scorer, gradients, data, loss)
    selection = select(
        groups,
        ratio=ratio,
        scorer=scorer,
        scope=scope,
        round_to=round_to,
        minimum=minimum,
        skip=skip,
        gradients={name: _array(value) for name, value in gradients.items()},
        seed=seed,
        movement=None if movement is None else dict(movement),
    )
    small, record = shrink(selection)
    block = GraphBlock(small, ctx=_context(net))
    _copy_settings(net, block)
    return block, record


def _is_shape(value: Any) -> bool:
    return isinstance(value, (tuple, list)) and all(isinstance(n, (int, np.integer)) for n in value)


def _array(value: Any) -> np.ndarray:
    return value.asnumpy() if isinstance(value, mx.nd.NDArray) else np.asarray(value)


def _gradients(
    net: Block, scorer: Any, given: Mapping[str, Any] | None, data: Any, loss: Any
) -> Mapping[str, Any]:
    """Those that were given, or of the loss over the data, or of the last backward pass."""
    criterion = resolve(scorer)
    registered = isinstance(criterion, Criterion)
    if given is not None:
        return given
    if data is not None and (not registered or criterion.needs == "gradient"):
        first = registered and criterion.first_batch
        return loss_gradients(net, data, loss, first_batch=first)
    if registered and criterion.needs == "gradient":
        return network_gradients(net, net.collect_params().values())
    return {}


def _context(net: Block) -> list[Any]:
    for parameter in net.collect_params().values():
        if parameter._data is not None:
            return parameter.list_ctx()
    return [mx.cpu()]


def _copy_settings(net: Block, block: GraphBlock) -> None:
    """How each parameter trains: as in the original."""
    original = net._collect_params_with_prefix()
    for name, parameter in block._collect_params_with_prefix().items():
        if name in original:
            source = original[name]
            parameter.lr_mult, parameter.wd_mult = source.lr_mult, source.wd_mult
            parameter._differentiable = source._differentiable
            parameter.grad_req = source.grad_req
