"""Settings that are the same for all layers, or given by layer pattern."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from gluonzip.gluon.layers import Layer, select
from gluonzip.gluon.structure import Block

T = TypeVar("T")
ByLayer = T | None | Mapping[Any, T | None]
"""One value for all layers, or patterns (as :func:`select` takes them) to values."""


def by_layer(net: Block, chosen: Mapping[str, Layer], given: ByLayer[T]) -> dict[str, T | None]:
    """The value of each layer of ``chosen``.

    Of a mapping, the last pattern that matches a layer counts, and a layer that none matches gets
    None. Raises PatternError for a pattern that matches no layer of ``net``.
    """
    if not isinstance(given, Mapping):
        return dict.fromkeys(chosen, given)
    found: dict[str, T | None] = dict.fromkeys(chosen)
    for pattern, value in given.items():
        for name in select(net, pattern):
            if name in found:
                found[name] = value
    return found
