"""Shrunk graphs compute what the original computes when nobody reads the removed channels."""

import numpy as np
import prune_graphs as nets
import pytest

from gluonzip.graph import infer_types, interpret, validate
from gluonzip.passes.prune import select, shrink


def random_input(graph, rng):
    arrays = []
    for i in graph.inputs:
        shape = tuple(n or 1 for n in i.shape)
        values = rng.integers(0, 10, shape) if len(shape) == 2 else rng.normal(size=shape)
        arrays.append(values.astype(np.float32))
    return arrays


@pytest.mark.parametrize("scope", ["local", "global"])
@pytest.mark.parametrize("build", nets.TOPOLOGIES, ids=lambda f: f.__name__)
def test_shrunk_graph_equals_original_with_unread_channels(build, scope):
    graph = build()
    selection = select(graph, ratio=0.5, scope=scope, round_to=1)
    small, record = shrink(selection)
    validate(small)
    before, after = (infer_types(g)[g.outputs[0]].shape for g in (graph, small))
    assert before == after
    assert len(selection.removed) > 0
    assert record.parameters[1] < record.parameters[0]
    inputs = random_input(graph, np.random.default_rng(1))
    expected = interpret(nets.unread(selection), inputs)
    actual = interpret(small, inputs)
    np.testing.assert_allclose(actual[0], expected[0], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("build", nets.TOPOLOGIES, ids=lambda f: f.__name__)
def test_parameters_are_as_recorded(build):
    graph = build()
    small, record = shrink(select(graph, ratio=0.4, round_to=1))
    assert record.parameters == tuple(
        sum(c.data.size for c in g.constants.values()) for g in (graph, small)
    )
    sizes = {layer.name: layer for layer in record.layers}
    for name, indices in record.removed.items():
        before, after = sizes[name].channels
        assert before - after == len(indices)
        first, then = sizes[name].parameters  # 0 for the second reader of a shared weight
        assert then < first or first == 0
    for name, axes in record.kept.items():
        for axis, indices in axes.items():
            assert small.constants[name].data.shape[axis] == len(indices)
            assert np.all(np.diff(indices) > 0)
