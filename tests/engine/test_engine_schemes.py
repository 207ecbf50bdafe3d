"""Scales per group, ternary and binary weights, dynamic inputs: engine against interpreter."""

import numpy as np
import pytest
from engine_graphs import check, floats, image, one_node

from gluonzip.archive import inspect, read, to_bytes
from gluonzip.graph import Constant, Graph, Input, Node
from gluonzip.graph.scales import spread
from gluonzip.runtime import Engine, isas


@pytest.fixture
def rng():
    return np.random.default_rng(17)


def codes(rng, shape, bits):
    if bits == 1:
        return rng.choice(np.array([-1, 1], np.int8), shape)
    limit = 2 ** (bits - 1) - 1
    return rng.integers(-limit, limit + 1, shape).astype(np.int8)


def quantized(rng, shape, bits, scales, axis=0):
    scale = rng.uniform(0.01, 0.1, scales).astype("float32")
    return Constant(codes(rng, shape, bits), scale, axis, bits)


WEIGHTED = {
    "conv2d": ((2, 6, 7, 5), (8, 6, 3, 3), 0),
    "conv_transpose2d": ((1, 6, 4, 5), (6, 8, 3, 3), 1),
    "dense": ((3, 54), (8, 54), 0),
}


# ---------------------------------------------------------------- scales per group
@pytest.mark.parametrize("x_scale", [None, 0.02])
@pytest.mark.parametrize("op", WEIGHTED)
def test_per_group(rng, op, x_scale):
    shape, w, axis = WEIGHTED[op]
    constant = quantized(rng, w, 4, (8, 6), axis)
    graph = one_node(op, [shape], {"w": constant, "b": floats(rng, 8)}, {}, (x_scale,))
    check(graph, image(rng, *shape), rtol=1e-5)


def test_per_group_with_int8_output(rng):
    constant = quantized(rng, (8, 6, 3, 3), 8, (8, 2))
    graph = one_node("conv2d", [(1, 6, 5, 5)], {"w": constant}, {"out_scale": 0.5})
    x = image(rng, 1, 6, 5, 5)
    (got,) = check(graph, x, exact=False, rtol=1.01 / 127)  # a code next to it at worst
    assert len(np.unique(got)) > 20


def test_embedding_per_group(rng):
    constant = quantized(rng, (9, 8), 4, (9, 2))
    graph = Graph([Input("x", (5,))], ["y"], [Node("embedding", "e", ["x", "w"], ["y"])], {})
    graph.constants["w"] = constant
    check(graph, np.array([0, 8, 3, 3, 1], "float32"))


# ---------------------------------------------------------------- few bits
@pytest.mark.parametrize("isa", isas())
@pytest.mark.parametrize("bits", [1, 2, 3, 4])
@pytest.mark.parametrize("op", WEIGHTED)
def test_few_bits_are_exact(rng, op, bits, isa):
    shape, w, axis = WEIGHTED[op]
    constants = {"w": quantized(rng, w, bits, (8,), axis), "b": floats(rng, 8)}
    graph = one_node(op, [shape], constants, {"out_scale": 0.05, "act": "relu"}, (0.02,))
    check(graph, image(rng, *shape), isa=isa, exact=True)


# ---------------------------------------------------------------- archive
@pytest.mark.parametrize("bits", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("scales", [(), (6,), (6, 9)])
@pytest.mark.parametrize("raw", [False, True])
def test_archive_gives_back_codes_and_scales(rng, bits, scales, raw):
    constant = quantized(rng, (6, 3, 3, 3), bits, scales)
    graph = one_node("conv2d", [(1, 3, 8, 8)], {"w": constant})
    found = read(to_bytes(graph, raw=raw)).constants["w"]
    assert (found.bits, found.axis) == (bits, 0)
    np.testing.assert_array_equal(found.data, constant.data)
    np.testing.assert_array_equal(found.scale, constant.scale)
    x = image(rng, 1, 3, 8, 8)
    dense = one_node("conv2d", [(1, 3, 8, 8)], {"w": Constant(constant.dense())})
    np.testing.assert_allclose(
        Engine.from_graph(graph)(x), Engine.from_graph(dense)(x), rtol=1e-5, atol=1e-5
    )


def test_bytes_of_few_bits(rng):
    sizes = {}
    for bits in (1, 2, 4):
        graph = one_node("dense", [(1, 512)], {"w": quantized(rng, (64, 512), bits, (64,))})
        (section,) = (s for s in inspect(to_bytes(graph)).sections if s.name == "w")
        assert section.bits == bits
        sizes[bits] = section.bytes / (64 * 512) * 8
    assert sizes[1] <= 1.0  # bits a weight
    assert sizes[2] <= 1.62  # three values, equally likely: log2(3) = 1.585
    assert sizes[4] <= 4.0


# ---------------------------------------------------------------- dynamic inputs
DYNAMIC = {
    "convolution": ("conv2d", (2, 6, 7, 5), (8, 6, 3, 3), {"pad": [1, 1, 1, 1]}),
    "first layer": ("conv2d", (1, 3, 9, 9), (20, 3, 5, 5), {}),
    "depthwise": ("conv2d", (2, 8, 6, 6), (8, 1, 3, 3), {"groups": 8, "pad": [1, 1, 1, 1]}),
    "groups": ("conv2d", (1, 8, 6, 6), (12, 4, 3, 3), {"groups": 2}),
    "dense": ("dense", (3, 54), (8, 54), {}),
    "dense behind an image": ("dense", (3, 5, 4, 4), (8, 80), {}),
    "dense, rank 3": ("dense", (2, 3, 10), (7, 10), {"flatten": False}),
}


@pytest.mark.parametrize("isa", isas())
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("case", DYNAMIC)
def test_dynamic(rng, case, threads, isa):
    op, shape, w, attrs = DYNAMIC[case]
    constants = {"w": quantized(rng, w, 8, (w[0],)), "b": floats(rng, w[0])}
    graph = one_node(op, [shape], constants, {**attrs, "dynamic": True, "act": "relu"})
    for size in (1.0, 50.0):
        check(graph, size * image(rng, *shape), threads=threads, isa=isa, exact=True)


@pytest.mark.parametrize("out_scale", [None, 0.3])
def test_dynamic_with_residual_and_int8_output(rng, out_scale):
    shape = (2, 6, 7, 5)
    constants = {"w": quantized(rng, (6, 6, 3, 3), 8, ()), "b": floats(rng, 6)}
    attrs = {"pad": [1, 1, 1, 1], "dynamic": True, "out_scale": out_scale}
    nodes = [Node("conv2d", "c", ["x", "w", "b", "r"], ["y"], attrs)]
    graph = Graph([Input("x", shape), Input("r", shape)], ["y"], nodes, constants)
    check(graph, image(rng, *shape), image(rng, *shape), exact=True)


def test_dynamic_layer_behind_int8(rng):
    """Codes of a static scale count as real values, which get a scale of their own."""
    constants = {"w": quantized(rng, (8, 54), 8, (8,))}
    graph = one_node("dense", [(3, 54)], constants, {"dynamic": True}, (0.5,))
    check(graph, image(rng, 3, 54), exact=True)


def test_dynamic_reads_a_slice_of_a_concat(rng):
    constants = {"w": quantized(rng, (8, 6, 1, 1), 8, (8,))}
    nodes = [
        Node("relu", "r", ["x"], ["a"]),
        Node("concat", "cat", ["a", "x2"], ["both"]),
        Node("conv2d", "c", ["a", "w"], ["y"], {"dynamic": True}),
    ]
    shape = (2, 6, 5, 5)
    graph = Graph([Input("x", shape), Input("x2", shape)], ["y", "both"], nodes, constants)
    check(graph, image(rng, *shape), 100 * image(rng, *shape))


@pytest.mark.parametrize("x", [0.0, 1e-42, 1e30])
def test_dynamic_inputs_of_any_size(rng, x):
    constants = {"w": quantized(rng, (8, 54), 8, (8,))}
    graph = one_node("dense", [(2, 54)], constants, {"dynamic": True})
    check(graph, np.full((2, 54), x, "float32"), exact=True)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_dynamic_inputs_that_are_not_finite_show(rng, bad):
    constants = {"w": quantized(rng, (8, 54), 8, (8,))}
    graph = one_node("dense", [(2, 54)], constants, {"dynamic": True})
    x = image(rng, 2, 54)
    x[0, 3] = bad
    assert not np.isfinite(Engine.from_graph(graph)(x)).any()


@pytest.mark.parametrize("bits", [3, 8])
def test_simulated_dynamic_quantizer(rng, bits):
    graph = one_node("fake_quantize_dynamic", [(2, 3, 4)], {}, {"bits": bits})
    check(graph, image(rng, 2, 3, 4), exact=True)


def test_spread_of_scales(rng):
    data = rng.standard_normal((4, 6, 2))
    scale = rng.standard_normal((6, 2))
    wide = spread(scale, data.shape, 1)
    for channel in range(6):
        row = data[:, channel].reshape(2, 4)
        want = (row * scale[channel, :, None]).reshape(4, 2)
        np.testing.assert_array_equal((data * wide)[:, channel], want)
