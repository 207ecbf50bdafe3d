"""Operators register here under their name, in one of three kinds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace

import numpy as np

from gluonzip.graph.reference.value import Value, quantize

Function = Callable[..., "list[Value]"]
FUNCTIONS: dict[str, Function] = {}
"""Operator name -> function(a, *values) -> list of output values."""


def _as_list(result: np.ndarray | list[np.ndarray]) -> list[np.ndarray]:
    return result if isinstance(result, list) else [result]


def on_floats(*names: str):
    """For ``f(a, *arrays) -> array(s)`` in float32; int8 inputs are dequantized first, and
    an ``out_scale`` quantizes the result."""

    def register(f):
        def function(a: SimpleNamespace, *values: Value | None) -> list[Value]:
            result = f(a, *(None if v is None else v.real() for v in values))
            out_scale = getattr(a, "out_scale", None)
            arrays = _as_list(result)
            if out_scale is not None:
                return [quantize(y, out_scale) for y in arrays]
            return [Value(np.asarray(y, np.float32)) for y in arrays]

        for name in names:
            FUNCTIONS[name] = function
        return f

    return register


def on_codes(*names: str):
    """For ``f(a, array) -> array(s)`` that means the same on int8 codes, whose scale stays."""

    def register(f):
        def function(a: SimpleNamespace, x: Value) -> list[Value]:
            out_scale = getattr(a, "out_scale", None)
            if x.quantized and out_scale in (None, float(x.scale)):
                return [Value(np.asarray(y), x.scale) for y in _as_list(f(a, x.data))]
            arrays = [np.asarray(y, np.float32) for y in _as_list(f(a, x.real()))]
            return [Value(y) if out_scale is None else quantize(y, out_scale) for y in arrays]

        for name in names:
            FUNCTIONS[name] = function
        return f

    return register


def on_values(*names: str):
    """For ``f(a, *values) -> Value`` that looks after integers itself."""

    def register(f):
        for name in names:
            FUNCTIONS[name] = lambda a, *values: [f(a, *values)]
        return f

    return register


def run(op: str, a: SimpleNamespace, values: Sequence[Value | None]) -> list[Value]:
    """The outputs of one operator."""
    return FUNCTIONS[op](a, *values)
