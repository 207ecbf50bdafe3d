"""Where quantizers stand."""

from __future__ import annotations

import numpy as np
import pytest

from gluonzip.errors import PatternError
from gluonzip.graph import Constant, Graph, Node, infer_types
from gluonzip.passes import simplify
from gluonzip.passes.quantize import activation_points, insert_fake_quantize, lower


def groups(graph: Graph, skip=()) -> list[set[str]]:
    """Tensors that share a scale, groups of one left out."""
    points = activation_points(graph, skip)
    found: dict[str, set[str]] = {}
    for name, leader in points.items():
        found.setdefault(leader, set()).add(name)
    return [group for group in found.values() if len(group) > 1]


def test_lenet(networks):
    graph = simplify(networks["lenet"]())
    points = activation_points(graph)
    # Behind relu, not before; pools and flatten pass the wish on; the output is float32.
    made_by = {node.output: node.name for node in graph.nodes}
    assert [made_by.get(name, name) for name in points] == ["data", "conv2d", "relu_1", "dense"]
    assert all(name == leader for name, leader in points.items())


def test_residual_edges_are_points_and_fused_sums_are_not(networks):
    graph = simplify(networks["residual"]())
    points = activation_points(graph)
    residuals = [n.inputs[3] for n in graph.nodes if n.op == "conv2d" and len(n.inputs) > 3]
    assert set(residuals) <= set(points)
    assert set(points) == {"data"} | {n.output for n in graph.nodes} - set(graph.outputs)


def test_all_that_goes_into_a_concat_shares_a_scale(networks):
    graph = simplify(networks["inception"]())
    (concat,) = (n for n in graph.nodes if n.op == "concat")
    (group,) = groups(graph)
    pooled = next(n for n in graph.nodes if n.op == "max_pool")
    # The branch that is only pooled quantizes what goes into the pool.
    expected = {pooled.inputs[0] if name == pooled.output else name for name in concat.inputs}
    assert group == expected
    assert concat.output not in activation_points(graph)


def test_concats_of_concats_share_one_scale(networks):
    graph = simplify(networks["dense_blocks"]())
    (group,) = groups(graph)
    assert len(group) == 3


def test_skipped_layers_want_nothing(networks):
    graph = simplify(networks["lenet"]())
    first = graph.nodes[0].name
    assert "data" in activation_points(graph)
    assert "data" not in activation_points(graph, skip=[first])
    every = [n.name for n in graph.nodes if n.op in ("conv2d", "dense")]
    assert activation_points(graph, skip=every) == {}


def test_unknown_names_to_skip(networks):
    with pytest.raises(PatternError, match="skip names no node of graph 'test': conv9"):
        activation_points(networks["lenet"](), skip=["conv9"])


def test_outputs_behind_the_last_layer_stay_float(builder):
    b = builder(3, 4, 4)
    x = b.conv("data", 3, 4)
    b.node("add", [x, x])
    graph = b.done(b.node("softmax", [b.node("global_avg_pool", [x])]))
    assert list(activation_points(graph)) == ["data"]


def test_data_in_front_of_its_batch_norm_stays_float(networks):
    points = activation_points(simplify(networks["preactivation"]()))
    assert "data" not in points


def test_tensors_with_quantizers_get_no_other(builder):
    b = builder(3, 4, 4)
    quantized = b.node("fake_quantize", ["data", b.constant(0.1)])
    x = b.conv(quantized, 3, 4)
    graph = b.done(b.conv(x, 4, 4))
    assert list(activation_points(graph)) == [x]


def test_element_wise_functions_between_layers_run_in_int8(builder):
    b = builder(3, 4, 4)
    x = b.conv("data", 3, 4)
    y = b.node("hard_swish", [x])
    graph = b.done(b.conv(y, 4, 4))
    assert list(activation_points(graph)) == ["data", x, y]


@pytest.mark.parametrize("op", ["add", "mul"])
def test_both_operands_of_sums_and_products_are_quantized(builder, op):
    b = builder(3, 4, 4)
    x = b.conv("data", 3, 4)
    y = b.node(op, [x, b.node("sigmoid", [x])])
    graph = b.done(b.conv(y, 4, 4))
    assert list(activation_points(graph)) == ["data", x, "sigmoid", y]


@pytest.mark.parametrize("op", ["add", "mul"])
def test_sums_and_products_with_a_constant_stay_float(builder, op):
    b = builder(3, 4, 4)
    x = b.conv("data", 3, 4)
    b.graph.constants["c"] = Constant(np.ones((1, 4, 1, 1), np.float32))
    y = b.node(op, [x, "c"])
    graph = b.done(b.conv(y, 4, 4))
    assert list(activation_points(graph)) == ["data", y]


@pytest.mark.parametrize(
    ("op", "attrs"),
    [("mean", {"axes": [2, 3], "keepdims": True}), ("adaptive_avg_pool", {"output": [2, 2]}),
     ("resize_bilinear", {"size": [7, 5]}), ("upsample", {"factor": 2}),
     ("slice_axis", {"axis": 1, "begin": 1})],
)  # fmt: skip
def test_nothing_between_two_layers_runs_in_float32(builder, op, attrs):
    b = builder(3, 4, 4)
    y = b.node(op, [b.conv("data", 3, 4)], **attrs)
    graph = b.done(b.conv(y, 3 if op == "slice_axis" else 4, 4))
    ranges = dict.fromkeys(activation_points(graph), 2.0)
    lowered = lower(insert_fake_quantize(graph, ranges))
    ops = [node.op for node in lowered.nodes]
    assert ops == ["quantize", "conv2d", op, "conv2d"]
    types = infer_types(lowered)
    assert {types[node.output].dtype for node in lowered.nodes[:-1]} == {"int8"}


def test_layers_whose_weight_is_computed_stay_float(builder):
    b = builder(3, 4, 4)
    weight = b.node("reshape", ["data"], shape=[3, -1, 1, 1])
    b.graph.nodes.append(Node("conv2d", "dynamic", ["data", weight], ["y"]))
    assert activation_points(b.done("y")) == {}
