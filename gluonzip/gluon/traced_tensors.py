"""Intermediate tensors of a traced network, computed by MXNet."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from gluonzip.gluon._mxnet import mx
from gluonzip.gluon.arrays import view
from gluonzip.gluon.tracing import Traced


class TracedTensors:
    """``tensors(inputs, names)``: tensors of ``traced.graph`` by name, as MXNet computes them.

    ``names`` are among :attr:`available`; the compiled graph of the last names is kept.
    """

    def __init__(self, traced: Traced) -> None:
        self.traced = traced
        self.inputs = [i.name for i in traced.graph.inputs]
        self._names: tuple[str, ...] = ()
        self._operator = None
        self._arguments: list[str] = []
        values = iter(traced.values.values())
        self._context = next((v.context for v in values), mx.cpu())

    @property
    def available(self) -> Collection[str]:
        """Tensors that MXNet has as well: not those between two nodes that one operator became."""
        return self.traced.entries.keys()

    def __call__(
        self, inputs: Sequence[np.ndarray], names: Collection[str]
    ) -> dict[str, np.ndarray]:
        given = dict(zip(self.inputs, inputs, strict=True))
        found = {name: given[name] for name in names if name in given}
        self._prepare(tuple(name for name in names if name not in given))
        if self._names:
            arrays = {k: mx.nd.array(v, self._context, v.dtype) for k, v in given.items()}
            values = {**self.traced.values, **arrays}
            with mx.autograd.pause(train_mode=False):
                outputs = self._operator(*[values[name] for name in self._arguments])
            outputs = outputs if isinstance(outputs, list) else [outputs]
            found.update(zip(self._names, map(view, outputs), strict=True))
        return found

    def _prepare(self, names: tuple[str, ...]) -> None:
        if names == self._names:
            return
        symbol = self.traced.symbol.select([self.traced.entries[name] for name in names])
        self._names, self._operator = names, mx.nd.CachedOp(symbol)
        self._arguments = symbol.list_inputs()
