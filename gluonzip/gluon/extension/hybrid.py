"""Hybridized networks run the operators, while their symbols stay free of them.

Gluon builds one symbol for a hybridized block, compiles it and keeps it: ``export``, AMP and
``optimize_for`` read the kept one. A symbol with operators of an extension loads only where that
library is. So the block's symbol is built twice: with the operators, to be compiled, and with
MXNet's own, to be kept. This needs a change in ``HybridBlock`` itself, as any network may hold a
compressed layer.
"""

from __future__ import annotations

import functools
from typing import Any

from gluonzip.gluon._mxnet import mx
from gluonzip.gluon.extension import operators
from gluonzip.gluon.structure import HybridBlock, walk
from gluonzip.gluon.wrapper import Compressed


def install() -> None:
    """Once a process."""
    original = HybridBlock._build_cache
    if hasattr(original, "__wrapped__"):
        return

    @functools.wraps(original)
    def build_cache(self: Any, *args: Any) -> None:
        if not _concerned(self, args):
            original(self, *args)
            return
        self._cached_graph = ()
        with operators.in_symbols():
            original(self, *args)
        self._cached_graph = ()
        self._get_graph(*args)

    HybridBlock._build_cache = build_cache


def _concerned(block: Any, args: tuple[Any, ...]) -> bool:
    """Does ``block`` quantize, on a CPU and by MXNet's own graph?"""
    if not operators.loaded() or block._backend:
        return False
    arrays = mx.gluon.block._flatten(args, "input")[0]
    if any(isinstance(a, mx.nd.NDArray) and a.context.device_type != "cpu" for a in arrays):
        return False
    return any(isinstance(b, Compressed) for _, b in walk(block))
