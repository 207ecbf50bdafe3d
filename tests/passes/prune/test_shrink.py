"""Shrunk graphs compute what the original computes when nobody reads the removed channels."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gluonzip.graph import infer_types, interpret, validate
from gluonzip.passes.prune import select, shrink

_spec = importlib.util.spec_from_file_location("prune_nets", Path(__file__).parent / "nets.py")
nets = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(nets)

READS_ON = {"conv2d": 1, "dense": 1, "conv_transpose2d": 0}
"""The weight's axis that counts the channels a layer reads."""


def unread(selection):
    """The original graph, its layers blind to the removed channels: the oracle."""
    found = selection.found
    graph = found.graph.copy()
    producers = graph.producers()
    for node in graph.nodes:
        if node.op not in READS_ON:
            continue
        name = node.inputs[1]
        while name in producers:
            name = producers[name].inputs[0]
        axis = READS_ON[node.op]
        classes = found.axes[name].get(axis)
        if classes is None:
            continue
        constant = graph.constants[name]
        data = np.moveaxis(constant.data.copy(), axis, 0)
        data[np.isin(classes, selection.removed)] = 0
        graph.constants[name] = replace(constant, data=np.moveaxis(data, 0, axis))
    return graph


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
    expected = interpret(unread(selection), inputs)
    actual = interpret(small, inputs)
    np.testing.assert_allclose(actual[0], expected[0], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("build", nets.TOPOLOGIES, ids=lambda f: f.__name__)
def test_parameters_are_as_recorded(build):
    graph = build()
    small, record = shrink(select(graph, ratio=0.4, round_to=1))
    assert record.parameters == tuple(
        sum(c.data.size for c in g.constants.values()) for g in (graph, small)
    )
    for name, axes in record.kept.items():
        for axis, indices in axes.items():
            assert small.constants[name].data.shape[axis] == len(indices)
            assert np.all(np.diff(indices) > 0)
