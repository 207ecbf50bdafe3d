"""Put fake quantizers into a graph: on weights and, with calibrated ranges, on activations."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from gluonzip.errors import ConfigError
from gluonzip.graph import OPS, Constant, Graph, Names, Node
from gluonzip.passes.quantize.dynamic import insert_dynamic
from gluonzip.passes.quantize.kinds import activation_codes, moves_codes
from gluonzip.passes.quantize.points import activation_points, check_names
from gluonzip.passes.quantize.schemes import has_axis, rounded, scale_of, weight_scale
from gluonzip.passes.quantize.signs import Range, non_negative
from gluonzip.spec import (
    ActivationQuantization,
    WeightQuantization,
    granularity_name,
)


def insert_fake_quantize(
    graph: Graph,
    ranges: Mapping[str, float],
    weights: WeightQuantization | None = None,
    activations: ActivationQuantization | None = None,
    skip: Collection[str] = (),
) -> Graph:
    """``graph`` with a ``fake_quantize`` behind each activation point and on each weight.

    Activations of mode "dynamic" get a ``fake_quantize_dynamic`` before each layer instead, those
    of mode "none" nothing; neither needs ``ranges``, which is what :func:`calibrate` found for this
    very graph and ``skip`` (names of layers that stay float32). Scales: the range by the highest
    code, per tensor or, of weights, per output channel; a tensor of zeros gets scale 1. An
    activation whose range has nothing below zero gets unsigned codes, and so does a group that
    shares a scale if all its members do (a range that is a plain number, not a
    :class:`signs.Range`, does not say, but the graph may: behind a ReLU).
    ``graph.meta["quantization"]`` records the bits of each layer and, for those left alone, why.
    The graph's outputs stay float32. Raises ConfigError for a missing, unknown or unusable range,
    DataError for a weight that is not finite.
    """
    graph = graph.copy()
    activations = activations or ActivationQuantization()
    quantized: dict[str, float] = {}
    if activations.mode == "static":
        quantized = _insert_on_activations(graph, ranges, activations, skip)
    _insert_on_weights(graph, weights or WeightQuantization(), skip)
    if activations.mode == "dynamic":
        insert_dynamic(graph, activations.bits, skip)
    graph.meta["quantization"]["activations"] = quantized
    graph.meta["quantization"]["mode"] = activations.mode
    return graph


def fake_quantize_weights(
    graph: Graph, weights: WeightQuantization | None = None, skip: Collection[str] = ()
) -> Graph:
    """``graph`` with a ``fake_quantize`` on each weight alone.

    On a graph whose batch norms are not folded yet, weights are quantized as they were trained and
    ``optimize`` then folds the batch norms into their scales: better than a scale per tensor for
    weights that batch norms have spread apart.
    """
    graph = graph.copy()
    _insert_on_weights(graph, weights or WeightQuantization(), skip)
    return graph


# ---------------------------------------------------------------- weights
def _insert_on_weights(graph: Graph, config: WeightQuantization, skip: Collection[str]) -> None:
    check_names(graph, skip)
    record = {"layers": {}, "skipped": {}, **graph.meta.get("quantization", {})}
    graph.meta["quantization"] = record
    producers, names = graph.producers(), Names(graph)
    quantizers: dict[tuple[str, bool], Node] = {}
    for node in graph.nodes:
        axis = OPS[node.op].weight_axis
        if axis is None or _is_quantized(graph, node, producers):
            continue
        if reason := _reason_to_skip(graph, node, skip):
            record["skipped"][node.name] = reason
            continue
        key = node.inputs[1], axis
        if key not in quantizers:
            quantizers[key] = _weight_quantizer(graph, names, node, config, axis)
        node.inputs[1] = quantizers[key].output
        granularity = granularity_name(config.granularity)
        record["layers"][node.name] = {"bits": config.bits, "granularity": granularity}
        record["skipped"].pop(node.name, None)
    graph.nodes = [*quantizers.values(), *graph.nodes]
    _keep_names(graph, {name: node for (name, _), node in quantizers.items()})


def _keep_names(graph: Graph, quantizers: Mapping[str, Node]) -> None:
    """Rounded values take their weight's name where nobody reads the weight any more."""
    read = {name for node in graph.nodes for name in node.inputs} | set(graph.outputs)
    for name, node in quantizers.items():
        if name not in read:
            graph.constants[name] = graph.constants.pop(node.inputs[0])
            node.inputs[0] = name


def _is_quantized(graph: Graph, node: Node, producers: Mapping[str, Node]) -> bool:
    """Already, by codes or by a quantizer."""
    weight = graph.constants.get(node.inputs[1])
    if weight is not None:
        return weight.quantized
    producer = producers.get(node.inputs[1])
    return producer is not None and producer.op == "fake_quantize"


def _reason_to_skip(graph: Graph, node: Node, skip: Collection[str]) -> str | None:
    if node.name in skip:
        return "excluded by name"
    return None if node.inputs[1] in graph.constants else "its weight is not a constant"


def _weight_quantizer(
    graph: Graph, names: Names, node: Node, config: WeightQuantization, axis: int
) -> Node:
    weight = node.inputs[1]
    data = graph.constants[weight].data
    along = axis if has_axis(config) else None
    scale = weight_scale(data, config, along, node.name)
    values = rounded(data, config, along, node.name)
    quantizer = _fake_quantize(graph, names, weight, scale, config.bits)
    if values is not data:
        quantizer.inputs[0] = names.fresh(f"{weight}_rounded")
        graph.constants[quantizer.inputs[0]] = Constant(values)
    quantizer.attrs["axis"] = axis
    return quantizer


# ---------------------------------------------------------------- activations
def _insert_on_activations(
    graph: Graph,
    ranges: Mapping[str, float],
    config: ActivationQuantization,
    skip: Collection[str],
) -> dict[str, float]:
    points = activation_points(graph, skip)
    _check_ranges(graph, points, ranges)
    used, positive = _ranges_in_use(graph), non_negative(graph)
    joint: dict[str, Range] = {}  # of each group: one scale for all its members
    for name, leader in points.items():
        signed = getattr(ranges[name], "signed", name not in positive) or config.signed
        found = used.get(name) or Range(ranges[name], signed)
        joint[leader] = found.join(joint[leader]) if leader in joint else found
    quantizers, names = {}, Names(graph)
    for name, leader in points.items():
        unsigned = not joint[leader].signed
        scale = scale_of(float(joint[leader]), config.bits, unsigned)
        quantizers[name] = _fake_quantize(graph, names, name, scale, config.bits)
        if unsigned:
            quantizers[name].attrs["unsigned"] = True
    for node in graph.nodes:
        node.inputs = [quantizers[n].output if n in quantizers else n for n in node.inputs]
    nodes = [quantizers[i.name] for i in graph.inputs if i.name in quantizers]
    for node in graph.nodes:
        nodes.append(node)
        nodes += [quantizers[name] for name in node.outputs if name in quantizers]
    graph.nodes = nodes
    return {name: float(ranges[name]) for name in points}


def _ranges_in_use(graph: Graph) -> dict[str, Range]:
    """Ranges of the quantizers that are there already, on the tensors whose values they quantize:
    a new one of the same range makes them idle."""
    found: dict[str, Range] = {}
    for node in reversed(graph.nodes):
        if node.op == "fake_quantize" and (codes := activation_codes(graph, node)) is not None:
            sources, values = node.inputs[:1], [Range(codes.reach, not codes.unsigned)]
        elif moves_codes(node) or node.op == "concat":
            sources = node.inputs
            values = [found[name] for name in node.outputs if name in found]
        else:
            continue
        for name in sources:
            for value in values:
                found[name] = value.join(found[name]) if name in found else value
    return found


def _check_ranges(graph: Graph, points: Mapping[str, str], ranges: Mapping[str, float]) -> None:
    missing = [name for name in points if name not in ranges]
    if missing:
        raise ConfigError(
            f"no range for {len(missing)} activation(s): {', '.join(missing[:5])}; call calibrate "
            "on this very graph, with the same skip"
        )
    known = {i.name for i in graph.inputs} | set(graph.producers())
    unknown = sorted(set(ranges) - known)
    if unknown:
        raise ConfigError(f"ranges name tensors that the graph lacks: {', '.join(unknown[:5])}")
    for name in points:
        if not (np.isfinite(ranges[name]) and ranges[name] >= 0):
            raise ConfigError(f"the range of {name!r} is {ranges[name]!r}; it must be finite, >= 0")


def _fake_quantize(graph: Graph, names: Names, name: str, scale: np.ndarray, bits: int) -> Node:
    """A quantizer node on tensor ``name`` and the constant of its scale."""
    scale_name = names.fresh(f"{name}_scale")
    graph.constants[scale_name] = Constant(np.asarray(scale, np.float32))
    out = names.fresh(f"{name}_quantized")
    return Node("fake_quantize", out, [name, scale_name], [out], {"bits": bits})
