"""The weighted layers of a network, and choosing among them."""

from __future__ import annotations

import difflib
import fnmatch
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gluonzip.errors import DataError, PatternError
from gluonzip.gluon._mxnet import mx
from gluonzip.gluon.arrays import view
from gluonzip.gluon.structure import Block, HybridBlock, Parameter, plain_type, walk

_gluon = mx.gluon


@dataclass(frozen=True, eq=False)
class Layer:
    """A block that holds weights.

    ``name``: structural path (``features.0``); a network that is itself a layer goes by its
    block's name. ``weights``: its weight parameters by attribute; ``weight`` alone for most
    layers, ``l0_i2h_weight`` and the like for recurrent ones. ``obstacle``: why the layer cannot be
    compressed; "" when it can.
    """

    name: str
    block: Block
    weights: Mapping[str, Parameter]
    obstacle: str = ""

    @property
    def kind(self) -> str:
        """The layer's type as the user wrote it, e.g. ``Conv2D``."""
        return plain_type(self.block).__name__

    @property
    def size(self) -> int:
        """Number of weights (0 while a shape is not known)."""
        return sum(_size(p) for p in self.weights.values())

    @property
    def transposed(self) -> bool:
        """Is axis 0 of the weight the input channels (transposed convolutions)?"""
        return getattr(self.block, "_op_name", "") == "Deconvolution"

    def data(self, attribute: str) -> Any:
        """A weight as NDArray. DataError when it is not initialized or not finite."""
        parameter = self.weights[attribute]
        if parameter._data is None:
            hint = "run one forward pass" if parameter._deferred_init else "call net.initialize()"
            raise DataError(f"parameter '{self.name}.{attribute}' has no values yet: {hint} first")
        if getattr(self.block, "_kwargs", {}).get("num_group", 1) > 1:
            # Inference has oneDNN rearrange this weight later, for operators that cannot read it
            # so: only a read from Python that comes after that puts it back.
            mx.nd.waitall()
        value = parameter.list_data()[0]
        if not np.isfinite(view(value)).all():
            raise DataError(
                f"parameter '{self.name}.{attribute}' holds values that are not finite (NaN or "
                "infinity); retrain or reload it"
            )
        return value


Selection = (
    None | str | type | Callable[[Layer], bool] | Iterable["str | type | Callable[[Layer], bool]"]
)


def layers(net: Block) -> dict[str, Layer]:
    """Every weighted layer of ``net`` by structural name, in the order of the blocks.

    Weighted: a block that itself holds a parameter called ``weight`` or ``..._weight`` (Dense,
    convolutions, Embedding, recurrent layers and cells, and custom blocks of the same form).
    """
    found = {}
    for path, block in walk(net):
        weights = _weights(block)
        if weights:
            name = path or block.name
            found[name] = Layer(name, block, weights, _obstacle(block, weights))
    return found


def _weights(block: Block) -> dict[str, Parameter]:
    return {
        attribute: parameter
        for attribute, parameter in block._reg_params.items()
        if attribute == "weight" or attribute.endswith("_weight")
    }


def _size(parameter: Parameter) -> int:
    size = 1
    for n in parameter.shape or (0,):
        size *= max(int(n), 0)
    return size


def _obstacle(block: Block, weights: Mapping[str, Parameter]) -> str:
    cls = plain_type(block)
    if isinstance(block, _gluon.SymbolBlock):
        return (
            "an imported symbol has no layers to wrap; gluonzip.gluon.expand_symbols(net, shape) "
            "gives it layers"
        )
    if not isinstance(block, HybridBlock):
        return f"{cls.__name__} is a plain Block that reads its parameters itself"
    if not cls.forward.__module__.startswith("mxnet."):
        return f"{cls.__name__} overrides forward, so its weight cannot be replaced in a call"
    if getattr(block, "_op_name", "") == "Deconvolution" and len(block._kwargs["kernel"]) == 3:
        return "MXNet has no gradient for a 3-D transposed convolution whose weight is computed"
    if any(p.shape is not None and len(p.shape) < 2 for p in weights.values()):
        return "the weight has one axis only (a scale or a bias)"
    if any(p._grad_stype != "default" or p._stype != "default" for p in weights.values()):
        return "the weight or its gradient is stored row-sparse"
    return ""


# ---------------------------------------------------------------- selection
def select(net: Block, selection: Selection) -> dict[str, Layer]:
    """The layers that ``selection`` names.

    None: all. A string: a name or glob (``features.*``). A type: layers of that type (and its
    subclasses). A function from Layer to bool. Several of these: their union. Raises PatternError
    for any of them that matches nothing.
    """
    known = layers(net)
    if selection is None:
        return known
    chosen: set[str] = set()
    for pattern in _patterns(selection):
        matches = {name for name, layer in known.items() if _matches(pattern, layer)}
        if not matches:
            raise PatternError(_unmatched(pattern, known))
        chosen |= matches
    return {name: layer for name, layer in known.items() if name in chosen}


def _patterns(selection: Any) -> Iterator[Any]:
    if isinstance(selection, (str, type)) or callable(selection):
        yield selection
        return
    try:
        yield from selection
    except TypeError:
        raise PatternError(
            f"layers = {selection!r} is not a name, glob, layer type, predicate or list of these"
        ) from None


def _matches(pattern: Any, layer: Layer) -> bool:
    if isinstance(pattern, str):
        return fnmatch.fnmatchcase(layer.name, pattern)
    if isinstance(pattern, type):
        return isinstance(layer.block, pattern)
    if callable(pattern):
        return bool(pattern(layer))
    raise PatternError(f"layer pattern {pattern!r} is not a name, glob, layer type or predicate")


def _unmatched(pattern: Any, known: Mapping[str, Layer]) -> str:
    if not known:
        return f"layer pattern {_show(pattern)} matches nothing: the network has no weighted layers"
    if isinstance(pattern, type):
        kinds = ", ".join(dict.fromkeys(layer.kind for layer in known.values()))
        return f"layer type {_show(pattern)} matches nothing; the network has {kinds}"
    text = re.sub(r"[*?\[\]]", "", pattern) if isinstance(pattern, str) else ""
    near = difflib.get_close_matches(text, known, n=5, cutoff=0.4) or list(known)[:5]
    more = "" if len(near) == len(known) else f" (of {len(known)} layers)"
    return f"layer pattern {_show(pattern)} matches nothing; near names: {', '.join(near)}{more}"


def _show(pattern: Any) -> str:
    return pattern.__name__ if hasattr(pattern, "__name__") else repr(pattern)
