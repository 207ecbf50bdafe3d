"""Scorers against independent formulas."""

import numpy as np
import pytest

from gluonzip.errors import ConfigError, DataError
from gluonzip.graph.ir import Constant, Graph, Input, Node
from gluonzip.passes.prune import find_groups, score

RNG = np.random.default_rng(2)


def conv_graph(bn=True, **constants):
    """data -> a (3 to 6 channels) -> batch norm -> out, which stays."""
    values = {
        "a.weight": RNG.normal(size=(6, 3, 2, 2)),
        "out.weight": RNG.normal(size=(2, 6, 1, 1)),
        "bn.gamma": RNG.normal(size=6),
        **{f"bn.{n}": np.ones(6) for n in ("beta", "mean", "var")},
        **constants,
    }
    nodes = [Node("conv2d", "a", ["data", "a.weight"], ["a"])]
    if bn:
        names = [f"bn.{n}" for n in ("gamma", "beta", "mean", "var")]
        nodes.append(Node("batch_norm", "bn", ["a", *names], ["bn"]))
    nodes.append(Node("conv2d", "out", ["bn" if bn else "a", "out.weight"], ["out"]))
    used = {name for node in nodes for name in node.inputs}
    held = {n: Constant(v.astype(np.float32)) for n, v in values.items() if n in used}
    return Graph([Input("data", (0, 3, 8, 8))], ["out"], nodes, held)


def scores_of(graph, layer, *args, **options):
    """Scores in the order of the layer's channels."""
    found = find_groups(graph)
    scores = score(found, *args, **options)
    return np.array([scores[c] for c in found.layers[layer].tolist()])


def filters(graph):
    return graph.constants["a.weight"].data.astype(np.float64)


def normalized(values):
    return values / np.abs(values).mean()


def test_l1_and_l2():
    graph = conv_graph()
    rows = list(filters(graph))
    for name, order in (("l1", 1), ("l2", 2)):
        expected = normalized(np.array([np.linalg.norm(row.ravel(), order) for row in rows]))
        np.testing.assert_allclose(scores_of(graph, "a", name), expected, rtol=1e-5)


def test_bn_scale():
    graph = conv_graph()
    expected = normalized(np.abs(graph.constants["bn.gamma"].data))
    np.testing.assert_allclose(scores_of(graph, "a", "bn_scale"), expected, rtol=1e-5)
    found = find_groups(conv_graph(bn=False))
    assert score(found, "bn_scale") == {}


def test_fpgm():
    graph = conv_graph()
    rows = [row.ravel() for row in filters(graph)]
    expected = np.array([sum(np.linalg.norm(a - b) for b in rows) for a in rows])
    np.testing.assert_allclose(scores_of(graph, "a", "fpgm"), normalized(expected), rtol=1e-5)


def test_fpgm_finds_the_filter_in_the_middle():
    weight = np.array([-2.0, 0.1, 2.1, -1.0, 3.0, -3.0]).reshape(6, 1, 1, 1) * np.ones((6, 3, 2, 2))
    graph = conv_graph(**{"a.weight": weight})
    assert scores_of(graph, "a", "fpgm").argmin() == 1


def test_taylor():
    graph = conv_graph()
    gradient = RNG.normal(size=(6, 3, 2, 2))
    gradients = {"a.weight": gradient, "out.weight": np.ones((2, 6, 1, 1))}
    expected = np.abs(np.einsum("oikl,oikl->o", filters(graph), gradient))
    actual = scores_of(graph, "a", "taylor", gradients=gradients)
    np.testing.assert_allclose(actual, normalized(expected), rtol=1e-5)


def test_random_depends_on_the_seed_alone():
    graph = conv_graph()
    one, again, other = (scores_of(graph, "a", "random", seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)


def test_layers_of_a_group_count_the_same():
    """Residual: the mean of both layers' scores, each divided by its mean."""
    graph = conv_graph(bn=False)
    weight = RNG.normal(size=(6, 3, 2, 2)).astype(np.float32) * 100
    graph.constants["b.weight"] = Constant(weight)
    graph.nodes[1:1] = [
        Node("conv2d", "b", ["data", "b.weight"], ["b"]),
        Node("add", "sum", ["a", "b"], ["sum"]),
    ]
    graph.nodes[-1].inputs[0] = "sum"
    one, other = (np.abs(w).sum((1, 2, 3)) for w in (filters(graph), weight))
    expected = (normalized(one) + normalized(other)) / 2
    np.testing.assert_allclose(scores_of(graph, "a", "l1"), expected, rtol=1e-5)
    np.testing.assert_array_equal(scores_of(graph, "a", "l1"), scores_of(graph, "b", "l1"))


@pytest.mark.parametrize("groups", [1, 2])
def test_transposed_convolutions_and_embeddings_are_scored_by_output(groups):
    weight = RNG.normal(size=(4, 3, 2, 2)).astype(np.float32)
    outs = 3 * groups
    out = RNG.normal(size=(2, outs, 1, 1)).astype(np.float32)
    graph = Graph(
        [Input("data", (0, 4, 4, 4))],
        ["out"],
        [
            Node("conv_transpose2d", "a", ["data", "w"], ["a"], {"groups": groups}),
            Node("conv2d", "out", ["a", "v"], ["out"]),
        ],
        {"w": Constant(weight), "v": Constant(out)},
    )
    seen = {}

    def spy(member):
        seen[member.name] = member.weight
        return np.ones(len(member.weight))

    score(find_groups(graph), spy)
    parts = np.split(weight, groups)  # inputs of each group
    expected = np.stack([p[:, o].ravel() for p in parts for o in range(3)])
    np.testing.assert_array_equal(seen["w"], expected)


def test_errors():
    graph = conv_graph()
    found = find_groups(graph)
    with pytest.raises(ConfigError, match="'l3' is unknown; use a function or one of bn_scale"):
        score(found, "l3")
    with pytest.raises(DataError, match=r"needs the gradient of 'a\.weight' \(layer 'a'\)"):
        score(found, "taylor")
    with pytest.raises(DataError, match=r"'a.weight' has shape \(2,\); the parameter has \(6, 3"):
        score(found, "taylor", gradients={"a.weight": np.ones(2)})
    with pytest.raises(DataError, match=r"gave shape \(1,\) for 'a.weight', which has 6 channels"):
        score(found, lambda member: np.ones(1))
    with pytest.raises(DataError, match=r"scores of 'a\.weight' .* are not finite"):
        score(found, lambda member: np.full(len(member.weight), np.nan))
    graph.constants["a.weight"].data[0, 0] = np.inf
    with pytest.raises(DataError, match=r"weight 'a\.weight' of layer 'a' holds values"):
        score(found, "l1")
