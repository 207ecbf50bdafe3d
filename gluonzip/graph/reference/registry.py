"""Operators register here under their name, in one of three kinds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace

import numpy as np

from gluonzip.graph.reference.value import Value, from_reals

Function = Callable[..., "list[Value]"]
FUNCTIONS: dict[str, Function] = {}
"""Operator name -> function(a, *values) -> list of output values."""


def _as_list(result: np.ndarray | list[np.ndarray]) -> list[np.ndarray]:
    return result if isinstance(result, list) else [result]


def on_floats(*names: str):
    """For ``f(a, *arrays) -> array(s)`` in float32; codes are dequantized first, and an
    ``out_scale`` quantizes the result."""

    def register(f):
        def function(a: SimpleNamespace, *values: Value | None) -> list[Value]:
            result = f(a, *(None if v is None else v.real() for v in values))
            return [from_reals(y, a) for y in _as_list(result)]

        for name in names:
            FUNCTIONS[name] = function
        return f

    return register


def on_codes(*names: str):
    """For ``f(a, array) -> array(s)`` that means the same on codes, whose dtype and scale stay."""

    def register(f):
        def function(a: SimpleNamespace, x: Value) -> list[Value]:
            if x.quantized and _keeps_codes(a, x):
                return [Value(np.asarray(y), x.scale) for y in _as_list(f(a, x.data))]
            return [from_reals(np.asarray(y, np.float32), a) for y in _as_list(f(a, x.real()))]

        for name in names:
            FUNCTIONS[name] = function
        return f

    return register


def _keeps_codes(a: SimpleNamespace, x: Value) -> bool:
    """Does the node ask for no codes other than its input's?"""
    out_scale = getattr(a, "out_scale", None)
    if out_scale is None:
        return True
    return out_scale == float(x.scale) and a.unsigned == (x.data.dtype == np.uint8)


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
