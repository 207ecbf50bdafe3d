"""Symbols inside a network (GluonCV's feature extractors, imported parts) as Gluon layers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from gluonzip.errors import ConfigError
from gluonzip.gluon._mxnet import mx
from gluonzip.gluon.rebuild import GraphBlock
from gluonzip.gluon.structure import Block, HybridBlock, clear_caches, require_legacy_arrays, walk
from gluonzip.gluon.tracing import Traced, trace_net

Shape = tuple[int, ...]
SymbolBlock = mx.gluon.SymbolBlock


def expand_symbols(net: Block, *shapes: Shape) -> dict[str, GraphBlock]:
    """Replace every ``SymbolBlock`` in ``net`` by a network of Gluon layers, in place.

    A ``SymbolBlock`` has no layers to prune or quantize in training. GluonCV's SSD, Faster and Mask
    R-CNN have their backbones in one. Call this after weights are loaded and before anything is
    wrapped, and before the trainer is made. ``shapes``: of the inputs of ``net``, as for
    :func:`gluonzip.gluon.trace`; the network is called once on zeros.

    Outputs, values, devices, multipliers (``lr_mult``, ``wd_mult``), ``grad_req`` and parameter
    names stay, so files of ``save_parameters`` fit both forms. Returns the new blocks by path,
    empty if there was nothing to replace.

    Raises ConfigError when ``net`` itself is a SymbolBlock, or one was not reached by the call,
    and as :func:`gluonzip.gluon.trace`.
    """
    require_legacy_arrays("expand_symbols")
    if isinstance(net, SymbolBlock):
        raise ConfigError(
            f"network {net.name!r} is itself a SymbolBlock and cannot be replaced in place; use "
            "GraphBlock(trace(net, shape))"
        )
    found = {path: block for path, block in walk(net) if isinstance(block, SymbolBlock)}
    if not found:
        return {}
    inputs = _input_shapes(net, list(found.values()), shapes)
    replaced = {}
    for path, block in found.items():
        if id(block) not in inputs:
            raise ConfigError(
                f"the SymbolBlock {path!r} is not used by a call with inputs of shapes "
                f"{list(shapes)}, so the shapes of its inputs are not known"
            )
        replaced[path] = _expanded(block, inputs[id(block)])
        _put(net, block, replaced[path])
    clear_caches(net)
    return replaced


# ---------------------------------------------------------------- what goes into each
def _input_shapes(
    net: Block, symbols: list[SymbolBlock], shapes: tuple[Shape, ...]
) -> dict[int, list[Shape]]:
    """Shapes of the inputs of each symbol block, by its id, seen in one call of ``net``."""
    if not shapes:
        raise ConfigError(
            "expand_symbols needs the shape of each input, e.g. (1, 3, 512, 512): the network has "
            "a SymbolBlock"
        )
    seen: dict[int, list[Shape]] = {}

    def note(block: Block, inputs: tuple[Any, ...]) -> None:
        seen.setdefault(id(block), [x.shape for x in inputs])

    hooks = [block.register_forward_pre_hook(note) for block in symbols]
    contexts = [p.list_ctx()[0] for p in net.collect_params().values()]
    try:
        with _imperative(net), mx.autograd.pause(train_mode=False):
            net(*[mx.nd.zeros(shape, ctx=contexts[0]) for shape in shapes])
            mx.nd.waitall()
    finally:
        for hook in hooks:
            hook.detach()
    return seen


@contextmanager
def _imperative(net: Block) -> Iterator[None]:
    """Hooks of children do not fire under a hybridized parent."""
    active = [
        block
        for _, block in walk(net)
        if isinstance(block, HybridBlock) and block._active and not isinstance(block, SymbolBlock)
    ]
    for block in active:
        block._active = False
    try:
        yield
    finally:
        for block in active:
            block._active = True


# ---------------------------------------------------------------- the exchange
def _expanded(block: SymbolBlock, shapes: list[Shape]) -> GraphBlock:
    traced = trace_net(block, *shapes)
    old = block._collect_params_with_prefix()
    name, first = next(iter(old.items()))
    prefix = first.name.removesuffix(name)
    made = GraphBlock(traced.graph, prefix=prefix, ctx=first.list_ctx())
    _copy_settings(old, made._collect_params_with_prefix())
    _set_normalizations(made, traced)
    if block._active:
        made.hybridize()
    return made


def _copy_settings(old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    for name, parameter in new.items():
        before = old.get(name)
        if before is None:
            continue
        parameter.lr_mult, parameter.wd_mult = before.lr_mult, before.wd_mult
        if parameter.grad_req != before.grad_req:
            parameter.grad_req = before.grad_req


def _set_normalizations(made: GraphBlock, traced: Traced) -> None:
    """What a graph does not say of a batch norm, for it matters in training alone."""
    batch_norms = [b for _, b in walk(made) if isinstance(b, mx.gluon.nn.BatchNorm)]
    by_mean = {block.running_mean.name: block for block in batch_norms}
    for node in traced.symbol.nodes:
        if "BatchNorm" not in node.operator:
            continue
        mean = traced.symbol.nodes[node.inputs[3][0]].name
        if mean in by_mean:
            settings = by_mean[mean]._kwargs
            settings["momentum"] = float(node.attrs.get("momentum", 0.9))
            settings["use_global_stats"] = node.attrs.get("use_global_stats") in ("True", "1")


def _put(net: Block, old: Block, new: Block) -> None:
    """``new`` in every place where a block of ``net`` holds ``old``."""
    for _, parent in walk(net):
        for name, child in parent._children.items():
            if child is old:
                parent._children[name] = new
        for name, value in vars(parent).items():
            if value is old:
                parent.__dict__[name] = new
