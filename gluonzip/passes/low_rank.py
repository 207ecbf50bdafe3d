"""Dense layers and convolutions as two thinner ones: truncated singular value decompositions."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gluonzip.errors import ConfigError, PatternError
from gluonzip.graph.ir import Constant, Graph, Names, Node, replace_node

SCHEMES = ("channel", "spatial")


@dataclass(frozen=True)
class Factorization:
    """What happened to a layer: ``rank`` of ``full`` (0: nothing, for ``reason``), weights before
    and after, and ``energy``: the share of the squared singular values that is left."""

    layer: str
    rank: int
    full: int
    before: int
    after: int
    energy: float
    reason: str = ""


def low_rank(
    graph: Graph,
    *,
    energy: float | None = None,
    rank: int | None = None,
    budget: float | None = None,
    scheme: str = "channel",
    layers: Sequence[str] = ("*",),
) -> tuple[Graph, list[Factorization]]:
    """``graph`` with the layers named (globs of node names) each in two.

    Give one of ``energy`` (the smallest rank that keeps this share of the squared singular values),
    ``rank``, or ``budget`` (the largest rank whose weights are at most this share of the layer's).
    A convolution becomes, with ``scheme="channel"``, one of ``rank`` outputs and a 1x1 (Zhang et
    al. 2015, https://arxiv.org/abs/1505.06798); with ``"spatial"`` a vertical and a horizontal one
    (Jaderberg et al. 2014, https://arxiv.org/abs/1405.3866). Nodes get ``.first`` and ``.second``
    behind their names. A layer that would not become smaller stays, and the record says so.

    Raises ConfigError (arguments), PatternError (a pattern that matches no layer).
    """
    _check(energy, rank, budget, scheme)
    graph = graph.copy()
    known = {node.name: node for node in graph.nodes if node.op in ("dense", "conv2d")}
    chosen = _chosen(known, layers)
    names, records = Names(graph), []
    for name in chosen:
        node = known[name]
        reason = _obstacle(graph, node)
        if reason:
            records.append(Factorization(name, 0, 0, 0, 0, 1.0, reason))
            continue
        records.append(_split(graph, names, node, energy, rank, budget, scheme))
    graph.prune()
    return graph, records


def _check(energy, rank, budget, scheme: str) -> None:
    if sum(value is not None for value in (energy, rank, budget)) != 1:
        raise ConfigError("low_rank needs exactly one of energy, rank and budget")
    for name, share in (("energy", energy), ("budget", budget)):
        if share is not None and not 0 < share <= 1:
            raise ConfigError(f"{name} = {share!r} must be above 0 and at most 1")
    if rank is not None and (isinstance(rank, bool) or not isinstance(rank, int) or rank < 1):
        raise ConfigError(f"rank = {rank!r} must be a positive integer")
    if scheme not in SCHEMES:
        raise ConfigError(f"scheme = {scheme!r} is unknown; use one of {list(SCHEMES)}")


def _chosen(known: dict[str, Node], patterns: Sequence[str]) -> list[str]:
    for pattern in patterns:
        if not fnmatch.filter(known, pattern):
            raise PatternError(
                f"layer pattern {pattern!r} matches no dense layer or convolution; there are "
                f"{', '.join(known) or 'none'}"
            )
    return [n for n in known if any(fnmatch.fnmatchcase(n, p) for p in patterns)]


def _obstacle(graph: Graph, node: Node) -> str:
    constant = graph.constants.get(node.inputs[1])
    if constant is None or constant.quantized:
        return "its weight is not a float constant (factorize before pruning and quantization)"
    if node.attrs.get("groups", 1) != 1:
        return "grouped convolution"
    if len(node.inputs) > 3:
        return "a residual is fused into it"
    return ""


# ---------------------------------------------------------------- one layer
def _split(graph, names, node: Node, energy, rank, budget, scheme: str) -> Factorization:
    weight = graph.constants[node.inputs[1]].data.astype(np.float64)
    matrix = _matrix(weight, scheme)
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    squares = np.cumsum(values**2)
    total = max(float(squares[-1]), 1e-300)
    chosen = _rank(squares / total, sum(matrix.shape), weight.size, energy, rank, budget)
    after = chosen * sum(matrix.shape)
    full, kept = len(values), float(squares[chosen - 1] / total) if chosen else 0.0
    if not chosen or after >= weight.size:
        reason = f"rank {max(chosen, 1)} would take {max(after, sum(matrix.shape))} weights"
        return Factorization(node.name, 0, full, weight.size, weight.size, 1.0, reason)
    root = np.sqrt(values[:chosen])
    first, second = (root[:, None] * right[:chosen]), left[:, :chosen] * root
    shapes = _shapes(weight.shape, chosen, scheme)
    first = first.reshape(shapes[0])
    second = _unfold(second, weight.shape, scheme).reshape(shapes[1])
    _install(graph, names, node, first, second, scheme)
    return Factorization(node.name, chosen, full, weight.size, after, kept)


def _matrix(weight: np.ndarray, scheme: str) -> np.ndarray:
    if weight.ndim == 2 or scheme == "channel":
        return weight.reshape(weight.shape[0], -1)
    outputs, inputs, height, width = weight.shape  # (O, W) by (I, H)
    return weight.transpose(0, 3, 1, 2).reshape(outputs * width, inputs * height)


def _rank(shares: np.ndarray, per_rank: int, size: int, energy, rank, budget) -> int:
    if rank is not None:
        return min(rank, len(shares))
    if budget is not None:
        return min(math.floor(budget * size / per_rank), len(shares))
    return min(int(np.searchsorted(shares, energy * (1 - 1e-12))) + 1, len(shares))


def _shapes(shape: tuple[int, ...], rank: int, scheme: str) -> tuple[tuple, tuple]:
    if len(shape) == 2:
        return (rank, shape[1]), (shape[0], rank)
    outputs, inputs, height, width = shape
    if scheme == "channel":
        return (rank, inputs, height, width), (outputs, rank, 1, 1)
    return (rank, inputs, height, 1), (outputs, rank, 1, width)


def _unfold(second: np.ndarray, shape: tuple[int, ...], scheme: str) -> np.ndarray:
    if len(shape) == 2 or scheme == "channel":
        return second
    return second.reshape(shape[0], shape[3], -1).transpose(0, 2, 1)  # (O, W, r) -> (O, r, W)


def _install(graph, names: Names, node: Node, first, second, scheme: str) -> None:
    middle = names.fresh(f"{node.name}.first")
    after = ("act", "out_scale", "unsigned")
    inner = {k: v for k, v in node.attrs.items() if not k.startswith(after)}
    outer = dict(node.attrs)
    if node.op == "dense":
        outer["flatten"] = False
    else:
        _divide_window(inner, outer, scheme)
    last = names.fresh(f"{node.name}.second")
    for stem, data in ((middle, first), (last, second)):
        graph.constants[f"{stem}.weight"] = Constant(np.ascontiguousarray(data, np.float32))
    made = [
        Node(node.op, middle, [node.inputs[0], f"{middle}.weight"], [middle], inner),
        Node(node.op, last, [middle, f"{last}.weight", *node.inputs[2:]], node.outputs, outer),
    ]
    replace_node(graph, node, made)


def _divide_window(inner: dict, outer: dict, scheme: str) -> None:
    """Stride, padding and dilation of the first convolution and of the second, in place."""
    if scheme == "channel":
        for key in ("stride", "pad", "dilation"):
            outer.pop(key, None)
        return
    down, right = inner.get("stride", [1, 1])
    top, left, bottom, far = inner.get("pad", [0, 0, 0, 0])
    tall, wide = inner.get("dilation", [1, 1])
    inner |= {"stride": [down, 1], "pad": [top, 0, bottom, 0], "dilation": [tall, 1]}
    outer |= {"stride": [1, right], "pad": [0, left, 0, far], "dilation": [1, wide]}
