"""Graphs cut into segments for the engine and for another framework."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gluonzip.graph import Constant, Graph, Input, Node, interpret, known_types
from gluonzip.passes import optimize, quantize_graph
from gluonzip.passes.partition import partition
from gluonzip.passes.quantize import insert_fake_quantize
from gluonzip.passes.quantize.signs import Range

rng = np.random.default_rng(0)
STEP = st.tuples(st.sampled_from("dofar"), st.integers(0, 50), st.integers(0, 50))


def dense(name, x, y):
    return Node("dense", name, [x, f"{name}.weight"], [y])


def foreign(name, *inputs):
    return Node("opaque", name, list(inputs), [name], {"operator": "sort", "attrs": {}})


def graph(nodes, outputs):
    weights = {
        f"{n.name}.weight": Constant(rng.standard_normal((4, 4)).astype(np.float32))
        for n in nodes
        if n.op == "dense"
    }
    return Graph([Input("x", (0, 4))], outputs, nodes, weights)


def run(segments, x):
    """Each segment by the interpreter; foreign operators sort rows."""
    values = {"x": x}
    for segment in segments:
        piece = segment.graph.copy()
        if segment.in_engine:
            piece.inputs = [Input(i.name, values[i.name].shape) for i in piece.inputs]
            made = interpret(piece, {i.name: values[i.name] for i in piece.inputs})
            values.update(zip(piece.outputs, made, strict=True))
        else:
            for node in piece.nodes:
                values[node.output] = alone(node, values)
    return values


def alone(node, values):
    if node.op == "opaque":
        return np.sort(values[node.inputs[0]], axis=1)
    inputs = [Input(name, values[name].shape) for name in node.inputs]
    return interpret(Graph(inputs, node.outputs, [node], {}), [values[n] for n in node.inputs])[0]


def test_a_graph_that_the_engine_runs_is_one_segment():
    g = graph([dense("a", "x", "y"), Node("relu", "r", ["y"], ["z"])], ["z"])
    (segment,) = partition(g)
    assert segment.in_engine
    assert segment.graph is g


def test_what_lies_behind_without_weights_stays_behind():
    nodes = [dense("a", "x", "y"), foreign("s", "y"), Node("relu", "r", ["s"], ["z"])]
    engine, other = partition(graph(nodes, ["z"]))
    assert [n.name for n in engine.graph.nodes] == ["a"]
    assert dict(other.foreign) == {"s": "the op table has no such operator", "r": ""}
    assert "sort 's' (the op table has no such operator)" in str(other)


def test_a_layer_behind_is_worth_coming_back_for():
    nodes = [dense("a", "x", "y"), foreign("s", "y"), dense("b", "s", "z")]
    assert [s.in_engine for s in partition(graph(nodes, ["z"]))] == [True, False, True]


def test_parallel_branches_share_segments():
    """Two branches around foreign nodes: no segment waits for itself."""
    nodes = [
        dense("a", "x", "y"), foreign("s", "y"), foreign("t", "x"),
        dense("b", "s", "u"), dense("c", "t", "v"), Node("add", "sum", ["u", "v"], ["z"]),
    ]  # fmt: skip
    first, second, third = partition(graph(nodes, ["z"]))
    assert {n.name for n in second.graph.nodes} == {"s", "t"}
    assert {n.name for n in third.graph.nodes} == {"b", "c", "sum"}
    assert [i.name for i in first.graph.inputs] == ["x"]


def test_nodes_can_be_sent_elsewhere_with_a_reason():
    g = graph([dense("a", "x", "y"), Node("relu", "r", ["y"], ["z"])], ["z"])
    other, *rest = partition(g, {"a": "its weight is computed"})
    assert not rest
    assert other.foreign["a"] == "its weight is computed"


def test_integers_cross_as_their_real_values():
    nodes = [dense("a", "x", "y"), Node("relu", "r", ["y"], ["z"]), dense("b", "z", "out")]
    x = rng.standard_normal((8, 4)).astype(np.float32)
    g = quantize_graph(graph(nodes, ["out"]), [x])
    middle = next(n for n in g.nodes if n.name == "b")
    segments = partition(g, {middle.name: "to cut here"})
    assert [s.in_engine for s in segments] == [True, False]
    assert segments[0].graph.nodes[-1].op == "dequantize"
    (border,) = segments[1].graph.inputs
    g2 = g.copy()
    codes = interpret(g2, x, keep=[border.name])[1][border.name]
    real = run(segments[:1], x)[border.name]
    scale = np.abs(real[codes != 0] / codes[codes != 0].astype(np.float32))
    np.testing.assert_allclose(scale, scale[0], rtol=1e-6)


def test_unsigned_codes_cross_and_come_back():
    """Read on both sides of a foreign operator: the same codes on both."""
    nodes = [
        *(dense("a", "x", "y"), Node("relu", "r", ["y"], ["z"]), dense("b", "z", "v")),
        *(foreign("s", "v"), Node("add", "sum", ["s", "z"], ["u"]), dense("c", "u", "out")),
    ]
    x = rng.standard_normal((8, 4)).astype(np.float32)
    whole = graph(nodes, ["out"])
    ranges = {"x": Range(4, True), "z": Range(6, False), "s": Range(50, True), "u": Range(50, True)}
    g = optimize(insert_fake_quantize(whole, ranges))
    codes = {n: t for n, t in known_types(g).items() if t.dtype == "uint8"}
    assert codes
    segments = partition(g)
    assert [s.in_engine for s in segments] == [True, False, True]
    (again,) = (
        n for n in segments[2].graph.nodes if n.op == "quantize" and n.attrs.get("unsigned")
    )
    assert again.attrs["scale"] == next(iter(codes.values())).scale
    got = run(segments, x)["out"]
    first = g.copy()
    first.outputs = ["v"]
    first.prune()
    v, kept = interpret(first, x, keep=list(codes))
    (z,) = [kept[name] * np.float32(codes[name].scale) for name in codes]
    last = whole.copy()
    last.inputs, last.nodes = [Input("s", (0, 4)), Input("z", (0, 4))], last.nodes[-2:]
    want = interpret(last, {"s": np.sort(v[0], axis=1), "z": z})[0]
    assert np.abs(got - want).max() <= 0.05 * np.abs(want).max()


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.lists(STEP, min_size=1, max_size=12))
def test_segments_compute_what_the_graph_computes(steps):
    tensors, nodes = ["x"], []
    for at, (kind, first, second) in enumerate(steps):
        a, b = tensors[first % len(tensors)], tensors[second % len(tensors)]
        name = f"n{at}"
        if kind == "d":
            nodes.append(dense(name, a, name))
        elif kind in "of":
            nodes.append(foreign(name, a))
        elif kind == "a":
            nodes.append(Node("add", name, [a, b], [name]))
        else:
            nodes.append(Node("relu", name, [a], [name]))
        tensors.append(name)
    g = graph(nodes, [nodes[-1].output])
    x = rng.standard_normal((2, 4)).astype(np.float32)
    values = {"x": x, **{n: c.data for n, c in g.constants.items()}}
    for node in g.nodes:
        values[node.output] = alone(node, values)
    got = run(partition(g), x)[g.outputs[0]]
    np.testing.assert_allclose(got, values[g.outputs[0]], rtol=1e-5, atol=1e-5)
