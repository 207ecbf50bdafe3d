"""Weights to integers at once: to the nearest code, or to those that keep the layer's output.

Adaptive rounding takes the objective of M. Nagel et al., "Up or Down? Adaptive Rounding for
Post-Training Quantization" (AdaRound), ICML 2020, arXiv:2004.10568, equation 20: codes such that
E[(dW x)^2] = dW E[x x^T] dW^T is least. Where they relax the choice and descend a gradient, here
the error of each rounded column is made up for by the next ones (E. Frantar et al., "GPTQ",
arXiv:2210.17323), and then one weight after the other is turned wherever that lowers the objective:
no settings, no randomness, never worse than rounding to nearest. Zeros stay zeros.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from gluonzip.graph import OPS, Constant, Graph, Node
from gluonzip.graph.scales import spread
from gluonzip.passes.quantize.layer_inputs import Moments
from gluonzip.passes.quantize.points import check_names
from gluonzip.passes.quantize.schemes import has_axis, quantized_codes
from gluonzip.spec import WeightQuantization, max_code

SWEEPS = 20


def quantize_weights(
    graph: Graph,
    weights: Mapping[str, WeightQuantization] | WeightQuantization,
    moments: Mapping[str, Moments] | None = None,
    skip: Collection[str] = (),
) -> Graph:
    """``graph`` with the weights of its layers as integers: what ``insert_fake_quantize`` finds
    already done.

    ``weights``: one for all, or one for each layer by name (others stay float32). ``moments``
    (:func:`layer_moments`): layers that have second moments are rounded adaptively, the others to
    nearest. A weight that several layers share, or that has a scale per group, ternary and binary
    weights are rounded to nearest.
    """
    check_names(graph, skip)
    graph = graph.copy()
    readers: dict[str, int] = {}
    for node in graph.nodes:
        for name in node.present_inputs():
            readers[name] = readers.get(name, 0) + 1
    for node in graph.nodes:
        what = weights if isinstance(weights, WeightQuantization) else weights.get(node.name)
        axis = OPS[node.op].weight_axis
        if axis is None or what is None or node.name in skip:
            continue
        constant = graph.constants.get(node.inputs[1])
        if constant is None or constant.quantized:
            continue
        of_layer = (moments or {}).get(node.name) if readers[node.inputs[1]] == 1 else None
        graph.constants[node.inputs[1]] = _quantized(node, constant.data, what, axis, of_layer)
    return graph


def _quantized(
    node: Node, data: np.ndarray, what: WeightQuantization, axis: int, moments: Moments | None
) -> Constant:
    along = axis if has_axis(what) else None
    codes, scale = quantized_codes(data, what, along, node.name)
    second = None if moments is None else moments.second
    # The objective is that of steps which all inputs of an output share.
    if second is not None and axis == 0 and type(what) is WeightQuantization and scale.ndim < 2:
        steps = spread(scale, data.shape, axis)
        codes = _by_group(data / steps, second, max_code(what.bits)).astype(np.int8)
    return Constant(codes, scale, along or 0, what.bits)


def _by_group(weight: np.ndarray, second: np.ndarray, limit: int) -> np.ndarray:
    groups = second.shape[0]
    rows = weight.reshape(groups, weight.shape[0] // groups, -1)
    found = [adaptive_codes(w, h, limit) for w, h in zip(rows, second, strict=True)]
    return np.concatenate(found).reshape(weight.shape)


def adaptive_codes(weight: np.ndarray, second: np.ndarray, limit: int) -> np.ndarray:
    """Codes of ``weight`` (outputs, K), in units of its scale, float32.

    ``second``: (K, K), E[x x^T]. Starts from the nearest codes or from those with feedback,
    whichever are better for an output, and goes down from there.
    """
    weight = weight.astype(np.float32)
    nearest = np.clip(np.rint(weight), -limit, limit)
    fed_back = _with_feedback(weight, second, limit)
    better = _objective(fed_back - weight, second) < _objective(nearest - weight, second)
    codes = np.where(better[:, None], fed_back, nearest)
    return _descend(codes, weight, second, limit)


def _objective(error: np.ndarray, second: np.ndarray) -> np.ndarray:
    """For each output."""
    return ((error @ second) * error).sum(axis=1)


def _with_feedback(weight: np.ndarray, second: np.ndarray, limit: int) -> np.ndarray:
    """Column by column, each column's rounding error spread over those that are still real."""
    size = len(second)
    damped = second.astype(np.float64) + np.eye(size) * max(0.01 * np.trace(second) / size, 1e-30)
    factor = np.linalg.cholesky(np.linalg.inv(damped)).T.astype(np.float32)  # upper
    left, codes, zeros = weight.copy(), np.zeros_like(weight), weight == 0
    for k in range(size):
        codes[:, k] = np.where(zeros[:, k], 0, np.clip(np.rint(left[:, k]), -limit, limit))
        error = (left[:, k] - codes[:, k]) / factor[k, k]
        left[:, k + 1 :] -= error[:, None] * factor[k, k + 1 :]
    return codes


def _descend(codes: np.ndarray, weight: np.ndarray, second: np.ndarray, limit: int) -> np.ndarray:
    """Steps of one code, as long as any lowers the objective (SWEEPS times over all at most)."""
    slope, curvature = (codes - weight) @ second, np.diagonal(second)
    for _ in range(SWEEPS):
        turned = 0
        for k in np.flatnonzero(curvature > 0):
            step = -np.sign(slope[:, k])
            free = (weight[:, k] != 0) & (np.abs(codes[:, k] + step) <= limit)
            gain = 2 * step * slope[:, k] + curvature[k]
            rows = np.flatnonzero(free & (step != 0) & (gain < -1e-6 * curvature[k]))
            if rows.size:
                codes[rows, k] += step[rows]
                slope[rows] += step[rows, None] * second[k]
                turned += rows.size
        if not turned:
            break
    return codes
