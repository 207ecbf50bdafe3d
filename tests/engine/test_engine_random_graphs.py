"""Random small networks: the planner's layouts, aliases and in-place concats against the
interpreter, on any number of threads."""

from __future__ import annotations

import os
from unittest import mock

import numpy as np
import pytest
from engine_graphs import check, floats, image, weight
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from gluonzip.graph import Graph, Input, Node
from gluonzip.runtime import Engine, isas

DETERMINISTIC = settings(
    max_examples=60,
    derandomize=True,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


class Builder:
    """Grows a graph whose tensors are images; remembers the shape and scale of each."""

    def __init__(self, draw, quantized: bool):
        self.draw, self.quantized = draw, quantized
        self.rng = np.random.default_rng(draw(st.integers(0, 2**16)))
        self.nodes: list[Node] = []
        self.constants = {}
        shape = (
            draw(st.integers(1, 4)),
            draw(st.integers(1, 9)),
            *draw(st.tuples(*[st.integers(4, 9)] * 2)),
        )
        self.input = Input("x", shape)
        self.tensors = {"x": shape}
        if quantized:
            unsigned = draw(st.booleans())
            self.add("quantize", ["x"], shape, {"scale": 0.02, "unsigned": unsigned})
            del self.tensors["x"]

    def add(self, op, inputs, shape, attrs=None):
        name = f"{op}{len(self.nodes)}"
        self.nodes.append(Node(op, f"n{len(self.nodes)}", inputs, [name], attrs or {}))
        self.tensors[name] = shape

    def scale(self):
        if not self.quantized:
            return {}
        scale, unsigned = self.draw(st.sampled_from([0.02, 0.02, 0.031])), self.draw(st.booleans())
        return {"out_scale": scale, "unsigned": unsigned}

    def pick(self, like=None):
        names = [n for n, s in self.tensors.items() if like is None or s == like]
        return self.draw(st.sampled_from(names))

    def constant(self, c):
        name = f"c{len(self.constants)}"
        self.constants[name] = c
        return name

    # ------------------------------------------------------------ one step of growth
    def conv(self):
        x = self.pick()
        n, c, h, w = self.tensors[x]
        out, k = self.draw(st.sampled_from([3, 4, 8, 20])), self.draw(st.sampled_from([1, 3]))
        s = self.draw(st.sampled_from([1, 1, 2]))
        inputs = [x, self.constant(weight(self.rng, out, c, k, k, quantized=self.quantized)),
                  self.constant(floats(self.rng, out))]  # fmt: skip
        shape = (n, out, (h - 1) // s + 1, (w - 1) // s + 1)
        if any(t == shape for t in self.tensors.values()) and self.draw(st.booleans()):
            inputs.append(self.pick(shape))
        act = self.draw(st.sampled_from(["none", "relu"]))
        attrs = {"pad": [k // 2] * 4, "stride": [s, s], "act": act, **self.scale()}
        self.add("conv2d", inputs, shape, attrs)

    def depthwise(self):
        x = self.pick()
        c = self.tensors[x][1]
        w = self.constant(weight(self.rng, c, 1, 3, 3, quantized=self.quantized))
        attrs = {"pad": [1] * 4, "groups": c, **self.scale()}
        self.add("conv2d", [x, w, ""], self.tensors[x], attrs)

    def pool(self):
        x = self.pick()
        op = self.draw(st.sampled_from(["max_pool", "avg_pool"]))
        scale = self.scale() if op == "avg_pool" else {}
        attrs = {"kernel": [3, 3], "pad": [1] * 4, **scale}
        self.add(op, [x], self.tensors[x], attrs)

    def add_two(self):
        x = self.pick()
        self.add("add", [x, self.pick(self.tensors[x])], self.tensors[x], self.scale())

    def concat(self):
        x = self.pick()
        n, _, h, w = self.tensors[x]
        same = [t for t, s in self.tensors.items() if (s[0], *s[2:]) == (n, h, w)]
        inputs = self.draw(st.lists(st.sampled_from(same), min_size=1, max_size=3))
        channels = sum(self.tensors[t][1] for t in inputs)
        if channels <= 64:
            self.add("concat", inputs, (n, channels, h, w), self.scale())

    def unary(self):
        x = self.pick()
        op = self.draw(st.sampled_from(["relu", "sigmoid", "identity"]))
        self.add(op, [x], self.tensors[x], self.scale() if op == "sigmoid" else {})

    def affine(self):
        x = self.pick()
        c = self.tensors[x][1]
        parameters = [self.constant(floats(self.rng, c)) for _ in range(2)]
        self.add("scale_shift", [x, *parameters], self.tensors[x], {"act": "relu", **self.scale()})

    def head(self, x):
        n, c, h, w = self.tensors[x]
        w = self.constant(weight(self.rng, 5, c * h * w, quantized=self.quantized))
        self.add("flatten", [x], (n, c * h * w))
        flat = next(reversed(self.tensors))
        del self.tensors[flat]
        self.nodes.append(Node("dense", "head", [flat, w], ["head"]))


GROWTH = [
    "conv",
    "conv",
    "conv",
    "depthwise",
    "pool",
    "add_two",
    "concat",
    "concat",
    "unary",
    "affine",
]


@st.composite
def networks(draw, quantized):
    builder = Builder(draw, quantized)
    for _ in range(draw(st.integers(2, 10))):
        getattr(builder, draw(st.sampled_from(GROWTH)))()
    outputs = draw(st.lists(st.sampled_from(list(builder.tensors)), min_size=1, max_size=2))
    builder.head(next(reversed(builder.tensors)))
    graph = Graph([builder.input], [*outputs, "head"], builder.nodes, builder.constants)
    graph.prune()
    return graph, image(builder.rng, *builder.input.shape)


@DETERMINISTIC
@given(networks(quantized=True), st.integers(1, 3), st.sampled_from(isas()))
def test_int8_networks(network, threads, isa):
    graph, x = network
    check(graph, x, threads=threads, isa=isa, exact=True)


@DETERMINISTIC
@given(networks(quantized=False), st.integers(1, 3), st.sampled_from(isas()))
def test_float_networks(network, threads, isa):
    graph, x = network
    check(graph, x, threads=threads, isa=isa, rtol=1e-4)


@DETERMINISTIC
@given(st.booleans().flatmap(networks), st.integers(1, 2), st.integers(1, 2))
def test_chunks_of_a_batch_change_nothing(network, threads, images):
    graph, x = network
    results = []
    for chunk in ("never", str(images)):
        with mock.patch.dict(os.environ, {"GLUONZIP_CHUNK": chunk}):
            engine = Engine.from_graph(graph, threads=threads)
            results.append(engine(x))
    for whole, parts in zip(*results, strict=True):
        np.testing.assert_array_equal(whole, parts)
    event(f"chunks: {max(row['chunks'] for row in engine.profile(x, repeat=1, limits=False))}")


def chain_of_concats() -> Graph:
    """A dense block: each layer's output joins all before it."""
    rng = np.random.default_rng(3)
    nodes, constants, x, channels = [], {}, "x0", 8
    nodes.append(Node("quantize", "q", ["data"], ["x0"], {"scale": 0.02}))
    for i in range(5):
        constants[f"w{i}"] = weight(rng, 4, channels, 3, 3, quantized=True)
        attrs = {"pad": [1] * 4, "act": "relu", "out_scale": 0.02}
        nodes.append(Node("conv2d", f"conv{i}", [x, f"w{i}"], [f"y{i}"], attrs))
        nodes.append(Node("concat", f"concat{i}", [x, f"y{i}"], [f"x{i + 1}"], {"out_scale": 0.02}))
        x, channels = f"x{i + 1}", channels + 4
    return Graph([Input("data", (0, 8, 0, 0))], [x], nodes, constants)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_dense_block_copies_nothing(threads):
    graph = chain_of_concats()
    x = image(np.random.default_rng(0), 2, 8, 6, 5)
    check(graph, x, threads=threads)
    rows = Engine.from_graph(graph, threads=threads).profile(x, repeat=1)
    assert not [row["name"] for row in rows if row["op"] == "concat"]
