"""What the tracer reads of an MXNet symbol: nodes, entries, shapes, values of entries."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gluonzip.errors import ShapeError
from gluonzip.gluon import tags
from gluonzip.gluon._mxnet import mx
from gluonzip.gluon.unquantized import in_floats

Entry = tuple[int, int]
"""(index of a node, index of one of its outputs)."""


class SymbolNode:
    """A node of the symbol's JSON."""

    def __init__(self, raw: Mapping[str, Any]) -> None:
        attrs = raw.get("attrs", raw.get("attr", raw.get("param", {})))
        self.operator: str = raw["op"]
        self.name: str = raw["name"]
        self.inputs: list[Entry] = [(item[0], item[1]) for item in raw["inputs"]]
        self.tag = tags.read(attrs)
        self.attrs = {k: v for k, v in attrs.items() if not k.startswith("__")}

    @property
    def is_variable(self) -> bool:
        return self.operator == "null"


class SymbolGraph:
    """A symbol as nodes in topological order. ``heads`` are the outputs."""

    def __init__(self, symbol: Any) -> None:
        self._json = in_floats(json.loads(symbol.tojson()))
        self.nodes = [SymbolNode(raw) for raw in self._json["nodes"]]
        self.heads: list[Entry] = [(head[0], head[1]) for head in self._json["heads"]]
        self.used: list[Entry] = sorted(
            {entry for node in self.nodes for entry in node.inputs} | set(self.heads)
        )
        self._outputs = {node: out + 1 for node, out in self.used}  # the last one is the largest

    def outputs_of(self, index: int) -> int:
        """How many of a node's outputs are used (at least one, up to the last used)."""
        return self._outputs.get(index, 1)

    def select(self, entries: Sequence[Entry]) -> Any:
        """A symbol whose outputs are ``entries``."""
        document = dict(self._json, heads=[[node, out, 0] for node, out in entries])
        return mx.sym.load_json(json.dumps(document))

    def infer_shapes(
        self, known: Mapping[str, tuple[int, ...]]
    ) -> dict[Entry, tuple[int, ...] | None]:
        """The shape of each used entry, from those of variables; None where MXNet cannot tell.

        Raises ShapeError with MXNet's reason when the shapes contradict the network.
        """
        symbol = self.select(self.used)
        wanted = set(symbol.list_inputs())
        known = {name: shape for name, shape in known.items() if name in wanted}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                _, shapes, _ = symbol.infer_shape(**known)
                if shapes is None:
                    _, shapes, _ = symbol.infer_shape_partial(**known)
        except mx.MXNetError as error:
            raise ShapeError(
                f"the network does not accept the given input shapes: {reason(error)}"
            ) from error
        complete = [s if s and all(n > 0 for n in s) else None for s in shapes or []]
        return dict(zip(self.used, complete or [None] * len(self.used), strict=True))

    def infer_dtypes(self, known: Mapping[str, Any]) -> dict[Entry, str]:
        """The dtype of each used entry; empty where MXNet cannot tell. ``known``: of variables."""
        symbol = self.select(self.used)
        wanted = set(symbol.list_inputs())
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                _, found, _ = symbol.infer_type(**{k: v for k, v in known.items() if k in wanted})
        except mx.MXNetError:
            found = None
        return dict(zip(self.used, [np.dtype(d).name for d in found or []], strict=bool(found)))

    def evaluate(self, entries: Sequence[Entry], values: Mapping[str, Any]) -> list[np.ndarray]:
        """Values of entries that depend on variables in ``values`` (NDArrays) alone."""
        if not entries:
            return []
        symbol = self.select(entries)
        with mx.autograd.pause(train_mode=False):
            if symbol.list_inputs():
                outputs = mx.nd.CachedOp(symbol)(*[values[n] for n in symbol.list_inputs()])
            else:  # nothing to call it with
                outputs = symbol.eval(ctx=mx.cpu())
        return [o.asnumpy() for o in (outputs if isinstance(outputs, list) else [outputs])]


def reason(error: Exception) -> str:
    """The telling line of an MXNetError, without its C++ stack trace."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if "Error" in line or "Check failed" in line]
    return (telling or lines or [type(error).__name__])[-1]
