"""Floats in two bytes: float16 or bfloat16 in the archive, float32 again when it is loaded."""

from __future__ import annotations

import fnmatch
from collections.abc import Collection, Iterator
from dataclasses import replace

import numpy as np

from gluonzip.errors import DataError, PatternError
from gluonzip.graph import OPS, Constant, Graph, Node
from gluonzip.spec import FloatStorage

LARGEST = {"float16": 65504.0, "bfloat16": 3.3895313892515355e38}


def store(graph: Graph, what: FloatStorage, layers: Collection[str] = ("*",)) -> Graph:
    """``graph`` with the float32 constants of ``layers`` rounded to what two bytes hold.

    The last step before an archive is written, after :func:`optimize`: float16 constants are of
    that dtype, bfloat16 ones stay float32 with 16 zero bits, which an archive leaves out; the
    engine computes in float32 with both. ``layers``: names or globs of weighted nodes, with which
    go the constants that only they read; ``"*"`` alone means every constant. Ties round to even.
    Codes and their scales stay as they are. ``graph.meta["storage"]`` records what was done.

    Raises PatternError for a pattern that matches nothing; DataError, naming layer and constant,
    for values that are not finite or too large.
    """
    chosen = _chosen(graph, layers)
    graph = graph.copy()
    if what.dtype == "float32":
        return graph
    for name, constant in graph.constants.items():
        if name in chosen and not constant.quantized and constant.data.dtype == np.float32:
            data = rounded(constant.data, what.dtype, f"{chosen[name]}: {name!r}")
            graph.constants[name] = replace(constant, data=data)
    graph.meta["storage"] = {"dtype": what.dtype, "constants": len(chosen)}
    return graph


def rounded(data: np.ndarray, dtype: str, what: str) -> np.ndarray:
    """float32 values to float16, or to the bfloat16 among float32; DataError starts with
    ``what``."""
    bad = data.size - int(np.isfinite(data).sum())
    if bad:
        raise DataError(f"{what} has {bad} non-finite values (NaN or infinity) of {data.size}")
    with np.errstate(over="ignore"):
        found = data.astype(np.float16) if dtype == "float16" else _bfloat16(data)
    large = found.size - int(np.isfinite(found).sum())
    if large:
        advice = "bfloat16" if dtype == "float16" else "float32"
        raise DataError(
            f"{what} has {large} values that {dtype} does not hold (up to "
            f"{np.abs(data).max():.6g}, its largest is {LARGEST[dtype]:.6g}); leave the layer out "
            f"(layers=) or use {advice}"
        )
    return found


def widen(graph: Graph) -> Graph:
    """``graph`` with float32 in place of float16 constants."""
    if not any(c.data.dtype == np.float16 for c in graph.constants.values()):
        return graph
    graph = graph.copy()
    for name, constant in graph.constants.items():
        if constant.data.dtype == np.float16:
            graph.constants[name] = Constant(constant.data.astype(np.float32))
    return graph


def _bfloat16(data: np.ndarray) -> np.ndarray:
    """Nearest values with 8 bits of precision, ties to even, as float32."""
    bits = np.ascontiguousarray(data).view(np.uint32)
    even = (bits >> 16) & 1
    return ((bits + np.uint32(0x7FFF) + even) & np.uint32(0xFFFF0000)).view(np.float32)


def _chosen(graph: Graph, layers: Collection[str]) -> dict[str, str]:
    """Constant -> how errors call the layer that reads it."""
    readers = graph.consumers()
    kept = {n.inputs[1] for n in graph.nodes if n.op == "fake_quantize"}  # scales
    named = {node.name for node in graph.nodes if OPS[node.op].weight_axis is not None}
    matched = set(_matched(layers, named))
    found = {}
    for name in graph.constants:
        using = readers.get(name, [])
        wanted = set(layers) == {"*"} or (using and all(n.name in matched for n in using))
        if wanted and name not in kept:
            found[name] = _label(using)
    return found


def _label(using: list[Node]) -> str:
    return f"layer {using[0].name!r}" if using else "no layer"


def _matched(patterns: Collection[str], names: Collection[str]) -> Iterator[str]:
    for pattern in patterns:
        found = [name for name in names if fnmatch.fnmatchcase(name, pattern)]
        if not found and pattern != "*":
            known = ", ".join(sorted(names)[:8])
            raise PatternError(f"layer pattern {pattern!r} matches nothing; layers are: {known}")
        yield from found
