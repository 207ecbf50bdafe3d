"""Batch norms go into weights or their scales, or become scale_shift."""

from __future__ import annotations

import numpy as np
import pytest

from gluonzip.errors import DataError
from gluonzip.graph import Constant, Graph, Input, Node, interpret, validate
from gluonzip.passes import fold_batch_norm

f32 = np.float32


def layer_and_norm(op: str, groups: int = 1, bias: bool = True, axis: int = 1, **attrs) -> Graph:
    rng = np.random.default_rng(0)
    shape = {"conv2d": (6, 4 // groups, 3, 3), "conv_transpose2d": (4, 6 // groups, 3, 3)}
    weight = rng.normal(0, 1, shape.get(op, (6, 64))).astype(f32)
    if groups != 1:
        attrs["groups"] = groups
    constants = {"w": Constant(weight)}
    if bias:
        constants["b"] = Constant(rng.normal(0, 1, 6).astype(f32))
    for name in ("gamma", "beta", "mean"):
        constants[name] = Constant(rng.normal(0, 1, 6).astype(f32))
    constants["var"] = Constant(rng.uniform(0.1, 2, 6).astype(f32))
    inputs = ["x", "w", *(["b"] if bias else [])]
    nodes = [
        Node(op, "layer", inputs, ["a"], attrs),
        Node("batch_norm", "bn", ["a", "gamma", "beta", "mean", "var"], ["y"], {"axis": axis}),
    ]
    return Graph([Input("x", (0, 4, 4, 4))], ["y"], nodes, constants)


X = np.random.default_rng(1).normal(0, 1, (2, 4, 4, 4)).astype(f32)


def quantized(graph: Graph, per_channel: bool) -> Graph:
    data = graph.constants["w"].data
    axis = 1 if graph.nodes[0].op == "conv_transpose2d" else 0
    others = tuple(i for i in range(data.ndim) if i != axis)
    largest = np.abs(data).max(axis=others if per_channel else None)
    scale = (largest / 127).astype(f32)
    shape = [-1 if i == axis and per_channel else 1 for i in range(data.ndim)]
    codes = np.rint(data / scale.reshape(shape)).astype(np.int8)
    graph.constants["w"] = Constant(codes, scale, axis)
    return graph


def check(graph: Graph, ops: list[str]) -> Graph:
    folded = fold_batch_norm(graph)
    validate(folded)
    assert [node.op for node in folded.nodes] == ops
    for got, want in zip(interpret(folded, X), interpret(graph, X), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)
    return folded


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("op", ["conv2d", "conv_transpose2d"])
def test_into_convolution(op, groups, bias):
    check(layer_and_norm(op, groups, bias), [op])


@pytest.mark.parametrize("axis", [1, -1])
def test_into_dense(axis):
    check(layer_and_norm("dense", axis=axis), ["dense"])


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("op", ["conv2d", "conv_transpose2d", "dense"])
def test_codes_stay_and_scales_change(op, per_channel):
    graph = quantized(layer_and_norm(op), per_channel)
    folded = check(graph, [op])
    old, new = graph.constants["w"], folded.constants["w"]
    np.testing.assert_array_equal(new.data, old.data)
    assert new.scale.shape == (6,)
    constants = graph.constants
    factor = constants["gamma"].data / np.sqrt(constants["var"].data + 1e-5)
    np.testing.assert_allclose(new.scale, old.channel_scale() * factor, rtol=1e-6)


def test_zeros_of_a_pruned_weight_stay_zeros():
    graph = layer_and_norm("conv2d")
    graph.constants["w"].data[:, ::2] = 0
    weight = check(graph, ["conv2d"]).constants["w"].data
    assert not weight[:, ::2].any()
    assert not np.signbit(weight[:, ::2]).any()


def test_two_in_a_row():
    graph = layer_and_norm("conv2d")
    graph.nodes.append(Node("batch_norm", "b2", ["y", "gamma", "beta", "mean", "var"], ["z"]))
    graph.outputs = ["z"]
    check(graph, ["conv2d"])


def test_shared_weight_is_not_changed_for_its_other_reader():
    graph = layer_and_norm("conv2d")
    graph.nodes.append(Node("conv2d", "other", ["x", "w", "b"], ["z"]))
    graph.outputs.append("z")
    folded = check(graph, ["conv2d", "conv2d"])
    np.testing.assert_array_equal(folded.constants["w"].data, graph.constants["w"].data)


def leftover(change) -> Graph:
    graph = layer_and_norm("conv2d")
    change(graph)
    return graph


LEFTOVERS = {
    "another reader": lambda g: (
        g.nodes.append(Node("relu", "r", ["a"], ["z"])),
        g.outputs.append("z"),
    ),
    "an output": lambda g: g.outputs.append("a"),
    "an activation": lambda g: g.nodes[0].attrs.update(act="relu"),
    "another axis": lambda g: (
        g.nodes[1].attrs.update(axis=2),
        g.nodes[0].attrs.update(pad=[2, 1, 2, 1]),
    ),
}


@pytest.mark.parametrize("case", LEFTOVERS)
def test_what_cannot_fold_becomes_scale_shift(case):
    graph = leftover(LEFTOVERS[case])
    folded = fold_batch_norm(graph)
    validate(folded)
    assert "batch_norm" not in {node.op for node in folded.nodes}
    assert "scale_shift" in {node.op for node in folded.nodes}
    for got, want in zip(interpret(folded, X), interpret(graph, X), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


def test_quantized_grouped_transposed_convolution_keeps_its_norm_apart():
    check(
        quantized(layer_and_norm("conv_transpose2d", 2), False), ["conv_transpose2d", "scale_shift"]
    )


def test_norm_of_the_input():
    graph = layer_and_norm("conv2d")
    graph.nodes = [Node("batch_norm", "bn", ["x", *graph.nodes[1].inputs[1:]], ["y"])]
    graph.inputs = [Input("x", (0, 6))]
    folded = fold_batch_norm(graph)
    assert [node.op for node in folded.nodes] == ["scale_shift"]
    x = X.reshape(-1)[:12].reshape(2, 6)
    np.testing.assert_allclose(
        interpret(folded, x)[0], interpret(graph, x)[0], rtol=1e-5, atol=1e-5
    )


def test_norm_whose_parameters_are_computed_stays():
    graph = layer_and_norm("conv2d")
    graph.inputs.append(Input("g", (6,)))
    graph.nodes[1].inputs[1] = "g"
    assert [node.op for node in fold_batch_norm(graph).nodes] == ["conv2d", "batch_norm"]


def test_negative_variance_is_named():
    graph = layer_and_norm("conv2d")
    graph.constants["var"].data[2] = -0.5
    with pytest.raises(DataError, match=r"batch norm 'bn': 'var' holds 1 variances below 0 of 6"):
        fold_batch_norm(graph)
