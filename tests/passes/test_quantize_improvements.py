"""Equalization, rounding and bias correction: same function, best codes, same means."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from gluonzip.errors import PatternError
from gluonzip.graph import interpret
from gluonzip.passes import fold_constants, optimize, simplify
from gluonzip.passes.quantize import calibrate, insert_fake_quantize
from gluonzip.passes.quantize.bias import correct_bias
from gluonzip.passes.quantize.equalize import equalize, relax_clips
from gluonzip.passes.quantize.layer_inputs import layer_moments, patches
from gluonzip.passes.quantize.rounding import adaptive_codes, quantize_weights
from gluonzip.spec import PerChannel, WeightQuantization, max_code

NAMES = ["lenet", "residual", "inception", "mobile"]


@pytest.fixture(params=NAMES)
def graph(request, networks):
    return simplify(networks[request.param]())


def layers_of(graph):
    return [n for n in graph.nodes if n.op in ("conv2d", "dense")]


# ---------------------------------------------------------------- equalization
def test_equalization_keeps_the_function(graph, sample):
    x = sample(graph, 3)
    for before, after in zip(interpret(graph, x), interpret(equalize(graph), x), strict=True):
        np.testing.assert_allclose(after, before, rtol=1e-3, atol=1e-4 * np.abs(before).max())


def channel_ranges(graph, first, second):
    out = np.abs(graph.constants[first].data).reshape(len(graph.constants[first].data), -1)
    into = graph.constants[second].data
    return out.max(axis=1), np.abs(into).max(axis=(0, 2, 3))


def test_equalized_neighbours_have_equal_ranges(networks):
    from gluonzip.graph import Constant, Graph, Input, Node

    rng = np.random.default_rng(3)
    spread = np.exp(rng.normal(0, 2, (6, 1, 1, 1)))
    constants = {
        "w": Constant((rng.normal(size=(6, 3, 3, 3)) * spread).astype(np.float32)),
        "b": Constant(rng.normal(size=6).astype(np.float32)),
        "v": Constant(rng.normal(size=(5, 6, 3, 3)).astype(np.float32)),
    }
    nodes = [
        Node("conv2d", "one", ["x", "w", "b"], ["y"], {"act": "relu"}),
        Node("max_pool", "pool", ["y"], ["p"], {"kernel": [2, 2], "stride": [2, 2]}),
        Node("conv2d", "two", ["p", "v"], ["z"]),
    ]
    graph = Graph([Input("x", (0, 3, 10, 10))], ["z"], nodes, constants)
    after = equalize(graph)
    one, two = channel_ranges(after, "w", "v")
    np.testing.assert_allclose(one, two, rtol=1e-3)
    before = channel_ranges(graph, "w", "v")
    np.testing.assert_allclose(one, np.sqrt(before[0] * before[1]), rtol=1e-3)
    x = rng.normal(size=(2, 3, 10, 10)).astype(np.float32)
    np.testing.assert_allclose(interpret(after, x)[0], interpret(graph, x)[0], rtol=1e-3, atol=1e-3)
    graph.outputs = ["z", "y"]  # what is read elsewhere stays as it is
    np.testing.assert_array_equal(equalize(graph).constants["w"].data, graph.constants["w"].data)


def test_a_clip_stops_equalization_until_it_is_relaxed():
    from gluonzip.graph import Constant, Graph, Input, Node

    rng = np.random.default_rng(3)
    w = rng.normal(size=(4, 3, 1, 1)).astype(np.float32) * np.array([1, 9, 1, 1]).reshape(
        4, 1, 1, 1
    )
    constants = {"w": Constant(w.astype(np.float32)), "v": Constant(np.ones((2, 4, 1, 1), "f4"))}
    clip = {"act": "clip", "act_min": 0.0, "act_max": 6.0}
    nodes = [
        Node("conv2d", "one", ["x", "w"], ["y"], clip),
        Node("conv2d", "two", ["y", "v"], ["z"]),
    ]
    graph = Graph([Input("x", (0, 3, 4, 4))], ["z"], nodes, constants)
    np.testing.assert_array_equal(equalize(graph).constants["w"].data, constants["w"].data)
    relaxed = relax_clips(graph)
    assert not np.array_equal(equalize(relaxed).constants["w"].data, w)
    small = rng.normal(size=(1, 3, 4, 4)).astype(np.float32) * 0.05
    np.testing.assert_allclose(
        interpret(equalize(relaxed), small)[0], interpret(graph, small)[0], atol=1e-5
    )


# ---------------------------------------------------------------- moments
def test_patches_times_weights_are_the_weighted_sums(graph, sample):
    x = sample(graph, 2)
    keep = [n.inputs[0] for n in layers_of(graph)]
    kept = interpret(graph, x, keep=keep)[1]
    for node in layers_of(graph):
        bare = graph.copy()
        weight = graph.constants[node.inputs[1]].data
        rows = patches(np.asarray(kept[node.inputs[0]]), node, weight.shape)
        blocks = weight.reshape(rows.shape[0], -1, rows.shape[2])
        got = np.einsum("gpk,gok->pgo", rows, blocks).reshape(rows.shape[1], -1)
        bare.nodes = [type(node)(node.op, "n", ["in", node.inputs[1]], ["out"], plain(node.attrs))]
        bare.inputs = [type(bare.inputs[0])("in", kept[node.inputs[0]].shape)]
        bare.outputs = ["out"]
        want = interpret(bare, kept[node.inputs[0]])[0]
        want = np.moveaxis(want, 1, -1).reshape(-1, want.shape[1]) if want.ndim == 4 else want
        np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-3)


def plain(attrs):
    return {k: v for k, v in attrs.items() if not k.startswith("act")}


# ---------------------------------------------------------------- rounding
def objective(codes, weight, second):
    d = codes - weight
    return np.einsum("ok,kl,ol->o", d, second, d)


@pytest.mark.parametrize("limit", [1, 7, 127])
def test_adaptive_rounding_gains_most_of_what_an_exhaustive_search_finds(limit):
    gained = possible = 0.0
    for seed in range(8):
        rng = np.random.default_rng(seed)
        weight = (rng.normal(size=(3, 7)) * limit / 2).astype(np.float32)
        weight[:, 2] = 0
        x = rng.normal(size=(40, 7)) @ rng.normal(size=(7, 7)) + 1
        second = (x.T @ x / len(x)).astype(np.float32)
        codes = adaptive_codes(weight, second, limit)
        assert (np.abs(codes) <= limit).all()
        assert (codes[:, 2] == 0).all()
        nearest = np.clip(np.rint(weight), -limit, limit)
        found, rounded = objective(codes, weight, second), objective(nearest, weight, second)
        assert (found <= rounded * (1 + 1e-5)).all()
        gained += (rounded - found).sum()
        possible += (rounded - exhaustive(weight, second, limit)).sum()
    assert gained >= 0.6 * possible > 0


def exhaustive(weight, second, limit):
    """The least objective of each output, of all codes near its weights."""
    turns = np.array(list(itertools.product((-1, 0, 1, 2), repeat=6)))
    turns = np.insert(turns, 2, 0, axis=1)
    low = np.floor(np.clip(weight, -limit, limit))
    best = []
    for row, start in zip(weight, low, strict=True):
        candidates = np.clip(start + turns, -limit, limit)
        best.append(objective(candidates, row, second).min())
    return np.array(best)


def test_rounding_lowers_the_error_of_real_layers_and_keeps_zeros(graph, sample):
    x = sample(graph, 16)
    for node in layers_of(graph)[:1]:
        graph.constants[node.inputs[1]].data[0] = 0
    what = WeightQuantization(bits=4, granularity=PerChannel())
    moments = layer_moments(graph, [x])
    plainly, adapted = quantize_weights(graph, what), quantize_weights(graph, what, moments)
    for node in layers_of(graph):
        name = node.inputs[1]
        assert adapted.constants[name].quantized
        codes = adapted.constants[name].data
        assert np.abs(codes).max() <= max_code(4)
        assert (codes[graph.constants[name].data == 0] == 0).all()
        second = moments[node.name].second

        def error(version, name=name, second=second):
            d = version.constants[name].dense() - graph.constants[name].data
            rows = d.reshape(second.shape[0], -1, second.shape[1])
            return np.einsum("gok,gkl,gol->", rows, second, rows)

        assert error(adapted) <= error(plainly) * (1 + 1e-4)
    first = layers_of(graph)[0].name
    assert (
        not quantize_weights(graph, what, skip=[first])
        .constants[layers_of(graph)[0].inputs[1]]
        .quantized
    )
    with pytest.raises(PatternError, match="skip names no node"):
        quantize_weights(graph, what, skip=["nothing"])


# ---------------------------------------------------------------- bias
def test_bias_correction_restores_the_mean_of_each_channel(networks, sample):
    dense = simplify(fold_constants(networks["mobile"]()))
    x = sample(dense, 32)
    moments = layer_moments(dense, [x], second=False)
    what = WeightQuantization(bits=3)
    integers = optimize(
        insert_fake_quantize(quantize_weights(dense, what), calibrate(dense, [x]), what)
    )
    corrected = correct_bias(integers, dense, moments)
    checked = 0
    for node in layers_of(dense):
        kept = interpret(dense, x, keep=[node.inputs[0]])[1][node.inputs[0]]
        rows = patches(np.asarray(kept), node, dense.constants[node.inputs[1]].data.shape)

        def mean(version, node=node, rows=rows):
            twin = next(n for n in version.nodes if n.name == node.name)
            weight = version.constants[twin.inputs[1]].dense()
            bias = version.constants[twin.inputs[2]].dense() if len(twin.inputs) > 2 else 0
            blocks = weight.reshape(rows.shape[0], -1, rows.shape[2])
            return np.einsum("gpk,gok->go", rows, blocks).ravel() / rows.shape[1] + bias

        want = mean(dense)
        assert np.abs(mean(integers) - want).max() > 1e-3
        np.testing.assert_allclose(mean(corrected), want, atol=1e-4 * (1 + np.abs(want).max()))
        checked += 1
    assert checked > 3
