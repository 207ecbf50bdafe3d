"""Batches run in chunks: the same results to the bit, and where the cut may be."""

from __future__ import annotations

import numpy as np
import pytest
from engine_graphs import floats, image, weight

from gluonzip import _core
from gluonzip.errors import ConfigError
from gluonzip.graph import Constant, Graph, Input, Node
from gluonzip.runtime import Engine, isas

SCALE = {"out_scale": 0.03}


class Chain:
    """A network that grows a node at a time; ``x`` is the newest tensor."""

    def __init__(self, quantized=False, channels=8, sparse=False):
        self.rng = np.random.default_rng(5)
        self.quantized, self.sparse = quantized, sparse
        self.nodes, self.constants, self.x, self.channels = [], {}, "data", channels
        if quantized:
            self.add("quantize", scale=0.02)

    def add(self, op, *others, inputs=None, name=None, **attrs):
        name = name or f"{op}{len(self.nodes)}"
        self.nodes.append(Node(op, name, inputs or [self.x, *others], [name], attrs))
        self.x = name
        return name

    def constant(self, value):
        name = f"c{len(self.constants)}"
        self.constants[name] = value
        return name

    def conv(self, out=8, kernel=3, added=None, **attrs):
        w = weight(self.rng, out, self.channels, kernel, kernel, quantized=self.quantized)
        if self.sparse:
            w.data[self.rng.random(w.data.shape) < 0.8] = 0
        self.channels = out
        bias = self.constant(floats(self.rng, out))
        tail = SCALE if self.quantized and "dynamic" not in attrs else {}
        attrs = {"pad": [kernel // 2] * 4, "act": "relu", **tail, **attrs}
        return self.add("conv2d", self.constant(w), bias, *([added] if added else []), **attrs)

    def across_the_batch(self):
        """No change; but not image by image."""
        for _ in range(2):
            self.add("transpose", axes=[1, 0, 2, 3])

    def graph(self, shape, outputs=None):
        """What cannot run image by image, so that chunks end before it."""
        self.add("transpose", name="end", axes=[1, 0, 2, 3])
        return Graph([Input("data", shape)], [*(outputs or []), self.x], self.nodes, self.constants)


def run(graph, x, chunk, monkeypatch, **options):
    """Outputs, and for each node that takes time the number of chunks that it ran for."""
    monkeypatch.setenv("GLUONZIP_CHUNK", chunk)
    engine = Engine.from_graph(graph, **options)
    y = engine(x)
    again = engine(x)
    y, again = (v if isinstance(v, tuple) else (v,) for v in (y, again))
    for a, b in zip(y, again, strict=True):
        np.testing.assert_array_equal(a, b)
    rows = engine.profile(x, repeat=1, limits=False)
    return y, {row["name"]: row["chunks"] for row in rows}, engine


def compare(graph, x, monkeypatch, chunk="1", **options):
    """The same with and without chunks; returns the chunks of each node."""
    whole, once, _ = run(graph, x, "never", monkeypatch, **options)
    parts, chunks, _ = run(graph, x, chunk, monkeypatch, **options)
    assert set(once.values()) == {1}
    for a, b in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(a, b)
    return chunks


# ---------------------------------------------------------------- which operators
PER_IMAGE = {
    "dense conv": lambda c: c.conv(12, 1),
    "depthwise": lambda c: c.add(
        "conv2d", c.constant(weight(c.rng, 8, 1, 3, 3, quantized=c.quantized)), groups=8,
        pad=[1] * 4, **SCALE),
    "groups": lambda c: c.add(
        "conv2d", c.constant(weight(c.rng, 8, 4, 3, 3, quantized=c.quantized)), groups=2,
        pad=[1] * 4, **SCALE),
    "transposed conv": lambda c: c.add(
        "conv_transpose2d", c.constant(weight(c.rng, 8, 8, 2, 2, quantized=c.quantized, axis=1)),
        stride=[2, 2], **SCALE),
    "residual": lambda c: (c.conv(), c.conv(added=c.x)),
    "add": lambda c: c.add("add", c.conv(), inputs=[c.x, "conv0"], **SCALE),
    "max_pool": lambda c: c.add("max_pool", kernel=[3, 3], stride=[2, 2], pad=[1] * 4),
    "avg_pool": lambda c: c.add("avg_pool", kernel=[2, 2], **SCALE),
    "global_avg_pool": lambda c: c.add("global_avg_pool", **SCALE),
    "adaptive_avg_pool": lambda c: c.add("adaptive_avg_pool", output=[3, 2], **SCALE),
    "upsample": lambda c: c.add("upsample", factor=2),
    "resize_bilinear": lambda c: c.add("resize_bilinear", size=[5, 9], **SCALE),
    "scale_shift": lambda c: c.add(
        "scale_shift", c.constant(floats(c.rng, 8)), c.constant(floats(c.rng, 8)), **SCALE),
    "sigmoid": lambda c: c.add("sigmoid", out_scale=0.01),
    "slice": lambda c: c.add("slice_axis", axis=1, begin=4, end=8),
    "pad": lambda c: c.add("pad", width=[0, 0, 0, 0, 1, 2, 0, 1]),
    "prelu": lambda c: c.add("prelu", c.constant(floats(c.rng, 8))),
    "softmax": lambda c: c.add("softmax", axis=1),
    "layer_norm": lambda c: c.add(
        "layer_norm", c.constant(floats(c.rng, 7)), c.constant(floats(c.rng, 7))),
    "l2_normalize": lambda c: c.add("l2_normalize", mode="channel"),
    "mean": lambda c: c.add("mean", axes=[2], keepdims=True, **SCALE),
    "transpose": lambda c: c.add("transpose", axes=[0, 1, 3, 2]),
    "squeeze and excitation": lambda c: (
        c.add("global_avg_pool", **SCALE),
        c.add("dense", c.constant(weight(c.rng, 8, 8, quantized=c.quantized)), **SCALE),
        c.add("sigmoid", out_scale=0.01),
        c.add("reshape", shape=[0, 8, 1, 1]),
        c.add("mul", inputs=["conv0", c.x], **SCALE)),
    "concat": lambda c: (c.conv(8), c.add("concat", inputs=["conv0", c.x], **SCALE)),
}  # fmt: skip


@pytest.mark.parametrize("quantized", [False, True])
@pytest.mark.parametrize("case", PER_IMAGE)
def test_what_runs_image_by_image(case, quantized, monkeypatch):
    chain = Chain(quantized)
    chain.conv(name="conv0")
    PER_IMAGE[case](chain)
    if not quantized:
        for node in chain.nodes:
            node.attrs.pop("out_scale", None)
    chain.channels = {"dense conv": 12, "concat": 16, "slice": 4}.get(case, 8)
    chain.conv(8, 1, name="last")
    graph = chain.graph((0, 8, 6, 7))
    chunks = compare(graph, image(chain.rng, 4, 8, 6, 7), monkeypatch, "2", threads=2)
    assert chunks["last"] == chunks["conv0"] == 2
    assert chunks["end"] == 1


WHOLE_BATCH = {
    "dynamic scale": lambda c: c.conv(dynamic=True),
    "fake_quantize_dynamic": lambda c: c.add("fake_quantize_dynamic", bits=8),
    "softmax over the batch": lambda c: c.add("softmax", axis=-4),
    "layer_norm over the batch": lambda c: c.add(
        "layer_norm", c.constant(floats(c.rng, 4)), c.constant(floats(c.rng, 4)), axis=0),
    "sum over the batch": lambda c: c.add("sum", axes=[0], keepdims=True),
    "reshape": lambda c: c.add("reshape", shape=[2, 16, 6, 7]),
    "constant of the batch": lambda c: c.add("add", c.constant(floats(c.rng, 4, 8, 6, 7))),
    "operand of fewer axes": lambda c: c.add("mul", c.constant(floats(c.rng, 8, 6, 7))),
}  # fmt: skip


@pytest.mark.parametrize("case", WHOLE_BATCH)
def test_what_takes_the_whole_batch(case, monkeypatch):
    chain = Chain()
    if case == "dynamic scale":
        chain.conv()
        w = weight(chain.rng, 8, 8, 3, 3, quantized=True)
        chain.add("conv2d", chain.constant(w), dynamic=True, name="whole", pad=[1] * 4)
    else:
        chain.conv()
        WHOLE_BATCH[case](chain)
    chain.nodes[-1].name = "whole"
    graph = chain.graph((4, 8, 6, 7))
    chunks = compare(graph, image(chain.rng, 4, 8, 6, 7), monkeypatch, "2")
    assert chunks["conv2d0"] == 2
    assert chunks.get("whole", 1) == chunks["end"] == 1


def test_a_network_of_one_operator_that_moves_the_batch_has_no_chunks(monkeypatch):
    chain = Chain()
    graph = chain.graph((0, 8, 6, 7))
    assert set(compare(graph, image(chain.rng, 4, 8, 6, 7), monkeypatch).values()) == {1}


# ---------------------------------------------------------------- chunks of a batch
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    ("batch", "wanted", "chunks"),
    [(5, 4, 5), (16, 4, 4), (16, 5, 4), (16, 99, 2), (17, 4, 17), (1, 1, 1)],
)
def test_the_largest_chunk_that_divides_the_batch(batch, wanted, chunks, threads, monkeypatch):
    chain = Chain(quantized=True)
    chain.conv()
    graph = chain.graph((0, 8, 5, 4))
    x = image(chain.rng, batch, 8, 5, 4)
    assert compare(graph, x, monkeypatch, str(wanted), threads=threads)["conv2d1"] == chunks


@pytest.mark.parametrize("quantized", [False, True])
@pytest.mark.parametrize("isa", isas())
@pytest.mark.parametrize(("size", "chunk"), [((8, 8), 1), ((7, 5), 1), ((7, 4), 4), ((6, 6), 2)])
def test_planes_of_words_at_the_cut(size, chunk, quantized, isa, monkeypatch):
    monkeypatch.setenv("GLUONZIP_SPARSE", "always")
    chain = Chain(quantized, channels=16, sparse=True)
    for name in ("a", "b"):
        chain.conv(32, name=name)
    chain.conv(32, added=chain.x, name="cut")
    # Reads planes, but its residual is for this batch alone.
    chain.conv(16, added=chain.constant(floats(chain.rng, 8, 16, *size)), name="behind")
    graph = chain.graph((8, 16, *size))
    x = image(chain.rng, 8, 16, *size)
    whole, _, _ = run(graph, x, "never", monkeypatch, threads=2, isa=isa)
    parts, chunks, _ = run(graph, x, str(chunk), monkeypatch, threads=2, isa=isa)
    # Sparse float32 sums depend on how the pixels are cut.
    atol = 0 if quantized else 1e-5 * np.abs(whole[0]).max()
    np.testing.assert_allclose(whole[0], parts[0], rtol=0, atol=atol)
    assert (chunks["cut"], chunks["behind"]) == (8 // chunk, 1)


# ---------------------------------------------------------------- where the cut may be
def residual_across() -> Chain:
    """b may not be the cut: what is added behind it comes from before it."""
    chain = Chain()
    a = chain.conv(name="a")
    b = chain.conv(name="b")
    chain.across_the_batch()
    chain.conv(name="c")
    chain.add("add", inputs=[a, "c"], name="sum")
    assert b == "b"
    return chain


def test_a_residual_does_not_cross_the_cut(monkeypatch):
    chain = residual_across()
    graph = chain.graph((0, 8, 6, 7))
    chunks = compare(graph, image(chain.rng, 4, 8, 6, 7), monkeypatch)
    assert (chunks["a"], chunks["b"], chunks["sum"]) == (4, 1, 1)


def test_outputs_do_not_come_from_the_head_and_taps_run_whole(monkeypatch):
    chain = Chain()
    a = chain.conv(name="a")
    chain.conv(name="b")
    chain.conv(name="c")
    graph = chain.graph((0, 8, 6, 7), [a])
    x = image(chain.rng, 4, 8, 6, 7)
    chunks = compare(graph, x, monkeypatch)
    assert (chunks["a"], chunks["b"], chunks["c"]) == (4, 1, 1)  # the cut itself may be given out
    _, _, engine = run(graph, x, "1", monkeypatch)
    _, _, whole = run(graph, x, "never", monkeypatch)
    names = ["a", "b", "c"]
    for name, array in whole.taps(names, x).items():
        np.testing.assert_array_equal(engine.taps(names, x)[name], array)


@pytest.mark.parametrize("quantized", [False, True])
def test_a_concat_is_the_cut_or_reads_it(quantized, monkeypatch):
    chain = Chain(quantized)
    a = chain.conv(8, name="a")
    b = chain.conv(12, name="b")
    tail = SCALE if quantized else {}
    cut = chain.add("concat", inputs=[a, b], name="inside", **tail)
    chain.channels = 20
    chain.across_the_batch()
    chain.conv(8, name="c")
    chain.add("concat", inputs=[cut, "c"], name="behind", **tail)
    graph = chain.graph((0, 8, 6, 7))
    chunks = compare(graph, image(chain.rng, 6, 8, 6, 7), monkeypatch, "3", threads=2)
    assert (chunks["a"], chunks["b"], chunks["c"]) == (2, 2, 1)
    assert "inside" not in chunks  # written in place


def two_inputs(shapes):
    w = Constant(np.random.default_rng(0).normal(size=(8, 8, 1, 1)).astype(np.float32))
    nodes = [
        Node("conv2d", "a", ["x", "w"], ["a"]),
        Node("add", "sum", ["a", "y"], ["sum"]),
        Node("conv2d", "b", ["sum", "w"], ["b"]),
        Node("transpose", "end", ["b"], ["end"], {"axes": [1, 0, 2, 3]}),
    ]
    return Graph([Input("x", shapes[0]), Input("y", shapes[1])], ["end"], nodes, {"w": w})


@pytest.mark.parametrize(("batch", "chunks"), [(4, 4), (1, 1)])
def test_every_input_has_the_batch(batch, chunks, monkeypatch):
    rng = np.random.default_rng(1)
    x, y = image(rng, 4, 8, 3, 5), image(rng, batch, 8, 3, 5)
    graph = two_inputs([x.shape, y.shape])
    results = []
    for chunk in ("never", "1"):
        monkeypatch.setenv("GLUONZIP_CHUNK", chunk)
        engine = Engine.from_graph(graph)
        results.append(engine(x, y))
    np.testing.assert_array_equal(*results)
    rows = {row["name"]: row["chunks"] for row in engine.profile(x, y, repeat=1, limits=False)}
    assert rows["b"] == chunks


# ---------------------------------------------------------------- the choice, memory, options
def wide(batch_bytes):
    """Layers whose activations take about so many bytes each, and their input."""
    chain = Chain(channels=4)
    for _ in range(3):
        chain.conv(16, 1)
    chain.add("max_pool", kernel=[4, 4], stride=[4, 4])
    batch = max(int(batch_bytes / (16 * 64 * 64 * 4)) // 4 * 4, 4)
    return chain.graph((0, 4, 64, 64)), image(chain.rng, batch, 4, 64, 64)


def test_a_batch_that_does_not_fit_the_cache_runs_in_chunks(monkeypatch):
    cache = _core.last_level_cache_bytes()
    if cache > 64 << 20:
        pytest.skip(f"a last-level cache of {cache >> 20} MB takes too large a batch")
    graph, x = wide(cache / 2)
    whole, _, before = run(graph, x, "never", monkeypatch)
    parts, chunks, after = run(graph, x, "auto", monkeypatch)
    np.testing.assert_array_equal(whole[0], parts[0])
    assert chunks["conv2d0"] > 1
    assert after.memory()["arena"] < 0.8 * before.memory()["arena"]
    few = x[:2]
    assert set(run(graph, few, "auto", monkeypatch)[1].values()) == {1}


def test_tuned_and_streamed_engines_run_chunks_too(tmp_path, monkeypatch):
    monkeypatch.setenv("GLUONZIP_CACHE", str(tmp_path))
    chain = Chain(quantized=True)
    for _ in range(3):
        chain.conv()
    graph, x = chain.graph((0, 8, 9, 9)), image(chain.rng, 6, 8, 9, 9)
    whole, _, _ = run(graph, x, "never", monkeypatch)
    monkeypatch.setenv("GLUONZIP_CHUNK", "2")
    engine = Engine.from_graph(graph, threads=2)
    engine.tune(x)
    np.testing.assert_array_equal(engine(x), whole[0])
    for y in engine.streams(2).map([x, x, x]):
        np.testing.assert_array_equal(y, whole[0])


@pytest.mark.parametrize("value", ["0", "-2", "some", "2.5", "99999999999999999999"])
def test_a_setting_that_is_none_is_refused(value, monkeypatch):
    chain = Chain()
    chain.conv()
    graph = chain.graph((0, 8, 5, 4))
    monkeypatch.setenv("GLUONZIP_CHUNK", value)
    with pytest.raises(ConfigError, match=f"GLUONZIP_CHUNK = '{value}' is not one of auto, never"):
        Engine.from_graph(graph)
