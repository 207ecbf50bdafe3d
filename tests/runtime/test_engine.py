"""The engine as users meet it: loading, calling, errors, facts."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from engine_graphs import image, lenet

from gluonzip import archive
from gluonzip.errors import ArchiveError, ConfigError, IsaError, ShapeError, UnsupportedError
from gluonzip.graph import Constant, Graph, Input, Node, interpret
from gluonzip.runtime import Engine, isas


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.mark.parametrize("isa", isas())
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_lenet_int8_is_the_interpreters_on_every_isa_and_thread_count(rng, isa, threads):
    graph, x = lenet(quantized=True), image(rng, 3, 1, 28, 28)
    got = Engine.from_graph(graph, threads=threads, isa=isa)(x)
    np.testing.assert_array_equal(got, interpret(graph, x)[0])


@pytest.mark.parametrize("isa", isas())
def test_lenet_float(rng, isa):
    graph, x = lenet(quantized=False), image(rng, 2, 1, 28, 28)
    wanted = interpret(graph, x)[0]
    got = Engine.from_graph(graph, threads=2, isa=isa)(x)
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())


def test_load_gives_what_from_graph_gives(tmp_path, rng):
    graph, x = lenet(quantized=True), image(rng, 1, 1, 28, 28)
    archive.write(tmp_path / "lenet.glz", graph)
    engine = Engine.load(tmp_path / "lenet.glz", threads=1)
    np.testing.assert_array_equal(engine(x), Engine.from_graph(graph, threads=1)(x))
    assert engine.name == "lenet"


def test_other_batches_are_planned_anew(rng):
    graph = lenet(quantized=True)
    engine = Engine.from_graph(graph, threads=2)
    for batch in (1, 5, 1, 2, 3, 4, 6, 7, 8, 9, 10, 1):  # more than the cache holds
        x = image(rng, batch, 1, 28, 28)
        np.testing.assert_array_equal(engine(x), interpret(graph, x)[0])


@pytest.mark.parametrize("size", [(8, 8), (9, 14), (31, 20)])
def test_other_image_sizes_are_planned_anew(rng, size):
    w = Constant(rng.integers(-127, 128, (6, 3, 3, 3)).astype("int8"), scale=np.float32(0.002))
    nodes = [
        Node("quantize", "q", ["x"], ["qx"], {"scale": 0.02}),
        Node("conv2d", "conv", ["qx", "w"], ["c"],
             {"stride": [2, 2], "pad": [1, 1, 1, 1], "out_scale": 0.02}),
        Node("global_avg_pool", "pool", ["c"], ["y"]),
    ]  # fmt: skip
    graph = Graph([Input("x", (0, 3, 0, 0))], ["y"], nodes, {"w": w})
    engine = Engine.from_graph(graph, threads=1)
    for shape in ((1, 3, *size), (2, 3, 12, 12)):
        x = image(rng, *shape)
        np.testing.assert_array_equal(engine(x), interpret(graph, x)[0])


def test_strided_input_arrays_are_accepted(rng):
    graph, x = lenet(quantized=True), image(rng, 28, 28, 2, 1).transpose(2, 3, 0, 1)
    assert not x.flags.c_contiguous
    np.testing.assert_array_equal(Engine.from_graph(graph)(x), interpret(graph, x)[0])


# ---------------------------------------------------------------- threads
@pytest.mark.parametrize("threads", [1, 2])
def test_several_threads_may_call_one_engine(rng, threads):
    graph = lenet(quantized=True)
    engine = Engine.from_graph(graph, threads=threads)
    batches = [image(rng, 1 + i % 3, 1, 28, 28) for i in range(6)]
    wanted = [interpret(graph, x)[0] for x in batches]
    wrong = []

    def work(x, y):
        for _ in range(20):
            if not np.array_equal(engine(x), y):
                wrong.append(x.shape)

    workers = [
        threading.Thread(target=work, args=pair) for pair in zip(batches, wanted, strict=True)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


def test_clones_share_weights_and_agree(rng):
    engine = Engine.from_graph(lenet(quantized=True), threads=1)
    clone = engine.clone(threads=2)
    x = image(rng, 4, 1, 28, 28)
    np.testing.assert_array_equal(engine(x), clone(x))
    assert clone.threads == 2
    assert clone.memory()["weights"] == engine.memory()["weights"]


def test_threads_from_the_environment(monkeypatch):
    monkeypatch.setenv("GLUONZIP_THREADS", "3")
    assert Engine.from_graph(lenet(quantized=False)).threads == 3
    assert Engine.from_graph(lenet(quantized=False), threads=2).threads == 2
    monkeypatch.setenv("GLUONZIP_THREADS", "many")
    with pytest.raises(ConfigError, match="GLUONZIP_THREADS = 'many'"):
        Engine.from_graph(lenet(quantized=False))


def test_isa_from_argument_and_environment(monkeypatch):
    monkeypatch.setenv("GLUONZIP_ISA", "reference")
    assert Engine.from_graph(lenet(quantized=False)).isa == "reference"
    assert Engine.from_graph(lenet(quantized=False), isa=isas()[-1]).isa == isas()[-1]
    with pytest.raises(IsaError, match="sse9"):
        Engine.from_graph(lenet(quantized=False), isa="sse9")


# ---------------------------------------------------------------- bad input
def test_wrong_shape_names_input_and_both_shapes(rng):
    engine = Engine.from_graph(lenet(quantized=False))
    with pytest.raises(
        ShapeError, match=r"'data' has shape \(1, 3, 28, 28\); the network needs \(any, 1, 28, 28\)"
    ):
        engine(image(rng, 1, 3, 28, 28))
    with pytest.raises(ShapeError, match=r"'data' has shape \(28, 28\)"):
        engine(image(rng, 28, 28))
    with pytest.raises(ShapeError, match=r"'data' has shape \(0, 1, 28, 28\)"):
        engine(image(rng, 0, 1, 28, 28))


def test_wrong_dtype_names_input_and_says_what_to_do():
    engine = Engine.from_graph(lenet(quantized=False))
    with pytest.raises(ShapeError, match="'data' has dtype float64; the network needs float32"):
        engine(np.zeros((1, 1, 28, 28)))
    with pytest.raises(ShapeError, match="'data' is a list; pass a NumPy array"):
        engine([[1.0]])


def test_wrong_number_of_arrays(rng):
    engine = Engine.from_graph(lenet(quantized=False))
    with pytest.raises(ShapeError, match=r"2 arrays for 1 inputs \(data\)"):
        engine(image(rng, 1, 1, 28, 28), image(rng, 1, 1, 28, 28))


def test_an_image_too_small_for_a_layer_names_the_layer(rng):
    nodes = [Node("conv2d", "wide", ["x", "w"], ["y"])]
    w = Constant(np.ones((1, 1, 5, 5), "float32"))
    engine = Engine.from_graph(Graph([Input("x", (0, 1, 0, 0))], ["y"], nodes, {"w": w}))
    with pytest.raises(ShapeError, match="conv2d 'wide': a kernel of 5"):
        engine(image(rng, 1, 1, 4, 9))


def test_opaque_operator_is_named_at_load():
    node = Node("opaque", "nms", ["x"], ["y"], {"operator": "box_nms", "attrs": {"topk": "400"}})
    with pytest.raises(UnsupportedError, match=r"'nms'.*'box_nms'"):
        Engine.from_graph(Graph([Input("x", (1, 4))], ["y"], [node], {}))


def test_no_archive_there(tmp_path):
    with pytest.raises((ArchiveError, OSError), match=r"nothing\.glz"):
        Engine.load(tmp_path / "nothing.glz")


def test_bad_thread_counts():
    with pytest.raises(ConfigError, match="threads = 0"):
        Engine.from_graph(lenet(quantized=False), threads=0)


# ---------------------------------------------------------------- looking inside
def test_taps_are_the_interpreters_tensors(rng):
    graph, x = lenet(quantized=True), image(rng, 2, 1, 28, 28)
    names = ["data", "q", "c1", "p1", "c2", "p2", "f", "d1", "d2"]
    kept = interpret(graph, x, keep=names)[1]
    taps = Engine.from_graph(graph, threads=2).taps(names, x)
    assert list(taps) == names
    for name in names:
        assert taps[name].dtype == kept[name].dtype, name
        np.testing.assert_array_equal(taps[name], kept[name], err_msg=name)


def test_taps_of_unknown_tensors(rng):
    with pytest.raises(ConfigError, match="no tensor named 'conv9'"):
        Engine.from_graph(lenet(quantized=True)).taps(["conv9"], image(rng, 1, 1, 28, 28))


def test_profile_has_a_row_for_each_node_that_runs(rng):
    engine = Engine.from_graph(lenet(quantized=True), threads=1)
    rows = {row["name"]: row for row in engine.profile(image(rng, 2, 1, 28, 28), repeat=3)}
    assert {"conv1", "pool1", "conv2", "pool2", "fc1", "fc2"} <= set(rows)
    assert "flatten" not in rows  # costs nothing
    assert rows["conv1"]["macs"] == 2 * 24 * 24 * 20 * 25
    assert rows["fc1"]["macs"] >= 2 * 800 * 500  # pad lanes of 50 channels count too
    assert rows["conv1"]["kernel"] == "conv_s8"
    assert sum(row["share"] for row in rows.values()) == pytest.approx(1)
    assert all(row["milliseconds"] >= 0 and row["bytes"] > 0 for row in rows.values())


def test_profile_holds_layers_against_the_machines_limits(rng):
    engine = Engine.from_graph(lenet(quantized=True), threads=1)
    limits = engine.limits()
    assert limits["s8"] > limits["f32"] > 1e9
    assert limits["memory"] > 1e8
    for row in engine.profile(image(rng, 8, 1, 28, 28), repeat=3):
        seconds = row["milliseconds"] / 1e3
        assert row["macs_per_second"] == pytest.approx(row["macs"] / seconds)
        assert row["bytes_per_second"] == pytest.approx(row["bytes"] / seconds)
        amount = row["bytes"] if row["limit"] == "memory" else row["macs"]
        assert row["share_of_limit"] == pytest.approx(amount / limits[row["limit"]] / seconds)
        if row["limit"] != "memory":
            assert row["limit"] == ("s8" if "s8" in row["kernel"] else "f32")
    assert "limit" not in engine.profile(image(rng, 1, 1, 28, 28), repeat=1, limits=False)[0]


def test_the_reference_has_no_limit_of_arithmetic(rng):
    engine = Engine.from_graph(lenet(quantized=True), threads=1, isa="reference")
    rows = engine.profile(image(rng, 1, 1, 28, 28), repeat=1)
    assert {row["limit"] for row in rows} == {"memory"}


def test_facts(rng):
    engine = Engine.from_graph(lenet(quantized=True), threads=2)
    assert engine.inputs == [("data", (0, 1, 28, 28), "float32")]
    assert engine.outputs == ["d2"]
    assert "data (any, 1, 28, 28) -> d2; 2 threads" in repr(engine)
    engine(image(rng, 1, 1, 28, 28))
    memory = engine.memory()
    assert 431_080 <= memory["weights"] < 600_000
    assert 0 < memory["arena"] < 10_000_000
