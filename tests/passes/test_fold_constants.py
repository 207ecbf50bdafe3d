"""What depends on constants only is computed at once."""

from __future__ import annotations

import numpy as np
import pytest

from gluonzip.graph import Constant, Graph, Input, Node, interpret, validate
from gluonzip.passes import fold_constants

f32 = np.float32


def masked_and_quantized(bits: int = 8, scale=None, axis: int = 0) -> Graph:
    """dense(x, fake_quantize(weight * mask)) as a wrapped network is traced."""
    rng = np.random.default_rng(0)
    weight = rng.normal(0, 1, (4, 6)).astype(f32)
    mask = (np.abs(weight) > 0.7).astype(f32)
    scale = np.asarray(np.abs(weight).max() / 127 if scale is None else scale, f32)
    nodes = [
        Node("mul", "masking", ["weight", "mask"], ["masked"]),
        Node("fake_quantize", "q", ["masked", "s"], ["qw"], {"bits": bits, "axis": axis}),
        Node("dense", "fc", ["x", "qw"], ["y"]),
    ]
    constants = {"weight": Constant(weight), "mask": Constant(mask), "s": Constant(scale)}
    return Graph([Input("x", (0, 6))], ["y"], nodes, constants)


X = np.random.default_rng(1).normal(0, 1, (3, 6)).astype(f32)


@pytest.mark.parametrize(
    ("bits", "scale"),
    [(8, None), (4, 0.4), (8, [0.02, 0.03, 0.04, 0.05])],
    ids=["8", "4", "channel"],
)
def test_fake_quantized_weight_becomes_integers_under_its_own_name(bits, scale):
    graph = masked_and_quantized(bits, scale)
    folded = fold_constants(graph)
    validate(folded)
    assert [node.op for node in folded.nodes] == ["dense"]
    assert list(folded.constants) == ["weight"]
    weight = folded.constants["weight"]
    assert weight.quantized
    assert (weight.bits, weight.data.dtype, weight.axis) == (bits, np.int8, 0)
    np.testing.assert_array_equal(weight.data == 0, graph.constants["mask"].data == 0)
    np.testing.assert_allclose(
        interpret(folded, X)[0], interpret(graph, X)[0], rtol=1e-5, atol=1e-6
    )


def test_codes_are_those_of_the_interpreter():
    graph = masked_and_quantized()
    _, kept = interpret(graph, X, keep=["qw"])
    np.testing.assert_array_equal(fold_constants(graph).constants["weight"].dense(), kept["qw"])


def test_masked_weights_are_positive_zeros():
    graph = masked_and_quantized()
    graph.nodes[1:] = [Node("dense", "fc", ["x", "masked"], ["y"])]
    weight = fold_constants(graph).constants["weight"].data
    zeros = weight[graph.constants["mask"].data == 0]
    assert zeros.size
    assert not np.signbit(zeros).any()


def test_scale_along_another_axis_stays_float():
    graph = masked_and_quantized(scale=np.full(6, 0.05), axis=1)
    weight = fold_constants(graph).constants["weight"]
    assert not weight.quantized
    np.testing.assert_allclose(np.rint(weight.data / f32(0.05)) * f32(0.05), weight.data)


def test_quantized_constant_that_is_no_weight_stays_float():
    graph = masked_and_quantized()
    graph.nodes[2] = Node("add", "sum", ["x", "row"], ["y"])
    graph.nodes.insert(2, Node("slice_axis", "pick", ["qw"], ["row"], {"axis": 0, "end": 1}))
    folded = fold_constants(graph)
    validate(folded)
    assert [node.op for node in folded.nodes] == ["add"]
    np.testing.assert_array_equal(interpret(folded, X)[0], interpret(graph, X)[0])


def test_a_source_that_others_read_keeps_its_value():
    graph = masked_and_quantized()
    graph.nodes.append(Node("dense", "raw", ["x", "weight"], ["z"]))
    graph.outputs.append("z")
    folded = fold_constants(graph)
    for got, want in zip(interpret(folded, X), interpret(graph, X), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(folded.constants["weight"].data, graph.constants["weight"].data)


def test_outputs_of_the_graph_and_opaque_nodes_stay():
    nodes = [
        Node("square", "sq", ["c"], ["y"]),
        Node("opaque", "prior", ["c"], ["z"], {"operator": "box_prior"}),
    ]
    graph = Graph([], ["y", "z"], nodes, {"c": Constant(np.ones(2, f32))})
    assert [node.op for node in fold_constants(graph).nodes] == ["square", "opaque"]


def test_several_outputs():
    nodes = [
        Node("split", "parts", ["c"], ["a", "b"], {"axis": 0}),
        Node("add", "s", ["x", "a"], ["t"]),
        Node("mul", "m", ["t", "b"], ["y"]),
    ]
    c = Constant(np.array([[1, 2], [3, 4]], f32))
    graph = Graph([Input("x", (2,))], ["y"], nodes, {"c": c})
    folded = fold_constants(graph)
    assert set(folded.constants) == {"a", "b"}
    np.testing.assert_array_equal(interpret(folded, np.zeros(2, f32))[0], [[3, 8]])
