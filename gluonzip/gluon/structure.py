"""A network's blocks and parameters by structural name (``features.0``, ``features.0.weight``)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from gluonzip.errors import UnsupportedError
from gluonzip.gluon._mxnet import mx

Block = mx.gluon.Block
HybridBlock = mx.gluon.HybridBlock
Parameter = mx.gluon.Parameter


def plain_type(block: Block) -> type:
    """The block's own type, without what compression put around it."""
    return getattr(type(block), "plain_type", type(block))


def walk(net: Block) -> Iterator[tuple[str, Block]]:
    """Every block once, parents first, with its path; the root's path is "".

    A block registered twice comes with the first of its paths.
    """
    seen: set[int] = set()

    def visit(path: str, block: Block) -> Iterator[tuple[str, Block]]:
        if id(block) in seen:
            return
        seen.add(id(block))
        yield path, block
        for name, child in block._children.items():
            yield from visit(f"{path}.{name}" if path else name, child)

    yield from visit("", net)


def require_legacy_arrays(what: str) -> None:
    """UnsupportedError under ``mx.npx.set_np()``, whose operators are others."""
    if mx.util.is_np_array():
        raise UnsupportedError(
            f"{what} does not support MXNet's NumPy arrays (mx.npx.set_np()); call "
            "mx.npx.reset_np() and use networks of mx.nd arrays"
        )


def parameter_names(net: Block) -> dict[str, str]:
    """MXNet's parameter name -> structural name (the first, for a shared parameter).

    Structural names are those of ``save_parameters``.
    """
    names: dict[str, str] = {}
    for structural, parameter in net._collect_params_with_prefix().items():
        names.setdefault(parameter.name, structural)
    return names


def parameter_owners(net: Block) -> dict[str, str]:
    """MXNet's parameter name -> path of the block that holds it."""
    owners: dict[str, str] = {}
    for path, block in walk(net):
        if isinstance(block, mx.gluon.SymbolBlock):
            # One block holds every layer; their own names are all there is.
            for name, parameter in block._reg_params.items():
                stem = name.rpartition("_")[0] or name
                owners.setdefault(parameter.name, f"{path}.{stem}" if path else stem)
            continue
        for parameter in block._reg_params.values():
            owners.setdefault(parameter.name, path or block.name)
    return owners


@contextmanager
def imperative(net: Block, train_mode: bool) -> Iterator[None]:
    """Run ``net`` without its compiled graphs and without recording, so that its blocks' Python
    code and hooks run; then as it was."""
    active = [
        block
        for _, block in walk(net)
        if isinstance(block, HybridBlock)
        and block._active
        and not isinstance(block, mx.gluon.SymbolBlock)
    ]
    try:
        for block in active:
            block._active = False
        with mx.autograd.pause(train_mode=train_mode):
            yield
    finally:
        for block in active:
            block._active = True


def clear_caches(net: Block) -> None:
    """Forget the graphs that hybridized blocks have cached; the next forward builds new ones."""
    for _, block in walk(net):
        if isinstance(block, HybridBlock):
            block._clear_cached_op()
