"""Layers with zeros in the engine: the sparse kernels, and when they are chosen."""

from __future__ import annotations

import numpy as np
import pytest

from gluonzip import _core
from gluonzip.errors import ConfigError
from gluonzip.graph import Constant, Graph, Input, Node, interpret
from gluonzip.runtime import Engine, best_isa, isas, sparse_costs

FAST = ["avx512vnni", "avx512vbmi2"]


def blocks(rng, shape: tuple[int, ...], density: float) -> np.ndarray:
    """int8 weights, four input channels present or absent together."""
    keep = rng.random((shape[0], shape[1] // 4, *shape[2:])) < density
    return rng.integers(-127, 128, shape).astype(np.int8) * np.repeat(keep, 4, axis=1)


def network(density: float, quantized: bool = True, size: int = 14) -> Graph:
    """3x3 convolution, strided 1x1 with a residual, dense layer."""
    rng = np.random.default_rng(3)
    codes = {
        "w1": blocks(rng, (64, 64, 3, 3), density),
        "w2": blocks(rng, (64, 64, 1, 1), density),
        "w3": blocks(rng, (40, 64), density),
    }
    scale = np.float32(0.004)
    constants = {
        name: Constant(w, scale=scale) if quantized else Constant(w.astype("float32") * scale)
        for name, w in codes.items()
    }
    out = {"out_scale": 0.02} if quantized else {}
    nodes = [
        Node("conv2d", "c1", ["x0", "w1"], ["y1"], {"pad": [1, 1, 1, 1], "act": "relu", **out}),
        Node("conv2d", "c2", ["y1", "w2", "", "y1"], ["y2"], dict(out)),
        Node("global_avg_pool", "pool", ["y2"], ["y3"]),
        Node("dense", "fc", ["y3", "w3"], ["y"]),
    ]
    if quantized:
        nodes.insert(0, Node("quantize", "q", ["x"], ["x0"], {"scale": 0.02}))
    name = "x" if quantized else "x0"
    return Graph([Input(name, (0, 64, size, size))], ["y2", "y"], nodes, constants)


def image(batch: int, size: int = 14) -> np.ndarray:
    return np.random.default_rng(5).normal(size=(batch, 64, size, size)).astype("float32")


def kernels(engine: Engine, x: np.ndarray) -> dict[str, str]:
    return {row["name"]: row["kernel"] for row in engine.profile(x, repeat=1)}


@pytest.mark.parametrize("isa", isas())
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("density", [0.0, 0.1, 0.5])
def test_int8_equals_the_interpreter(monkeypatch, isa, threads, density):
    monkeypatch.setenv("GLUONZIP_SPARSE", "always")
    graph, x = network(density), image(2)
    engine = Engine.from_graph(graph, threads=threads, isa=isa)
    (codes, y), (wanted_codes, wanted) = engine(x), interpret(graph, x)
    np.testing.assert_array_equal(codes, wanted_codes)
    np.testing.assert_allclose(y, wanted, rtol=0, atol=1e-5)
    chosen = kernels(engine, x)
    assert chosen["c1"] == chosen["c2"] == "sparse_s8"


@pytest.mark.parametrize("isa", isas())
def test_float(monkeypatch, isa):
    monkeypatch.setenv("GLUONZIP_SPARSE", "always")
    graph, x = network(0.1, quantized=False), image(2)
    engine = Engine.from_graph(graph, threads=2, isa=isa)
    for y, wanted in zip(engine(x), interpret(graph, x), strict=True):
        np.testing.assert_allclose(y, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())
    assert kernels(engine, x)["fc"] == "sparse_f32"


@pytest.mark.parametrize("isa", isas())
def test_float_sums_do_not_depend_on_the_threads(monkeypatch, isa):
    """However pixels are cut into tiles: one to eight vectors."""
    monkeypatch.setenv("GLUONZIP_SPARSE", "always")
    for size in (4, 7, 10, 14):
        graph, x = network(0.3, quantized=False, size=size), image(1, size)
        first, *others = (
            Engine.from_graph(graph, threads=threads, isa=isa)(x) for threads in (1, 2, 3, 7)
        )
        for other in others:
            for y, wanted in zip(other, first, strict=True):
                np.testing.assert_array_equal(y, wanted)


@pytest.mark.parametrize("isa", isas())
@pytest.mark.parametrize("quantized", [True, False])
def test_plans_of_several_batches_share_the_weights(monkeypatch, isa, quantized):
    """One row, few pixels and many: the same weights, packed differently for each."""
    monkeypatch.setenv("GLUONZIP_SPARSE", "always")
    graph = network(0.2, quantized, size=7)
    engine = Engine.from_graph(graph, threads=2, isa=isa)
    for batch in (1, 5, 2):
        x = image(batch, 7)
        got, wanted = engine(x), interpret(graph, x)
        if quantized:
            np.testing.assert_array_equal(got[0], wanted[0])
        for y, expected in zip(got, wanted, strict=True):
            np.testing.assert_allclose(y, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def dense_layer(quantized: bool) -> Graph:
    codes = blocks(np.random.default_rng(3), (41, 64), 0.3)
    weight = (
        Constant(codes, scale=np.float32(0.004))
        if quantized
        else Constant(codes.astype("float32") / 256)
    )
    nodes = [Node("dense", "fc", ["codes" if quantized else "x", "w"], ["y"])]
    if quantized:
        nodes.insert(0, Node("quantize", "q", ["x"], ["codes"], {"scale": 0.02}))
    return Graph([Input("x", (0, 64))], ["y"], nodes, {"w": weight})


ROW = {"sparse_gather": 0.0, "gather_row": 0.0, "sparse_stage": 1e6}  # sparse pays for one row
ROWS = {"sparse_gather": 1e6, "sparse_finish": 0.0, "sparse_stage": 0.0, "sparse_vector": 0.0,
        "sparse_word": 0.0, "sparse_row": 0.0, "sparse_spill": 0.0}  # fmt: skip


@pytest.mark.skipif(best_isa() == "reference", reason="the reference is never chosen")
@pytest.mark.parametrize("quantized", [True, False])
@pytest.mark.parametrize(("costs", "batches"), [(ROW, (1, 8)), (ROW, (8, 1)), (ROWS, (8, 1)),
                                            (ROWS, (1, 8))])  # fmt: skip
def test_each_plan_chooses(monkeypatch, quantized, costs, batches):
    monkeypatch.delenv("GLUONZIP_SPARSE", raising=False)
    sparse_costs.apply(best_isa())  # loading an engine changes nothing then
    before = _core.sparse_costs(quantized)
    graph = dense_layer(quantized)
    _core.set_sparse_costs(quantized, {**before, **costs})
    try:
        engine = Engine.from_graph(graph, threads=1)
        for batch in batches:
            x = image(batch)[:, :, 0, 0]
            expected = interpret(graph, x)[0]
            np.testing.assert_allclose(
                engine(x), expected, rtol=0, atol=1e-5 * np.abs(expected).max()
            )
            sparse = (batch == 1) == (costs is ROW)
            kernel = f"{'sparse' if sparse else 'conv'}_{'s8' if quantized else 'f32'}"
            assert kernels(engine, x)["fc"] == kernel
    finally:
        _core.set_sparse_costs(quantized, before)


@pytest.mark.skipif(best_isa() not in FAST, reason=f"chosen on {FAST} only")
def test_chosen_where_it_pays(monkeypatch):
    monkeypatch.delenv("GLUONZIP_SPARSE", raising=False)
    x = image(1)
    assert kernels(Engine.from_graph(network(0.1), threads=1), x)["c1"] == "sparse_s8"
    assert kernels(Engine.from_graph(network(0.9), threads=1), x)["c1"] == "conv_s8"
    floats = Engine.from_graph(network(0.1, quantized=False), threads=1)
    assert kernels(floats, x)["c1"] == "sparse_f32"


def test_never_chosen_where_there_is_no_kernel_for_the_isa(monkeypatch):
    monkeypatch.delenv("GLUONZIP_SPARSE", raising=False)
    engine = Engine.from_graph(network(0.02), threads=1, isa="reference")
    assert kernels(engine, image(1))["c1"] == "conv_s8"


def test_never(monkeypatch):
    monkeypatch.setenv("GLUONZIP_SPARSE", "never")
    assert kernels(Engine.from_graph(network(0.02), threads=1), image(1))["c1"] == "conv_s8"


def test_weights_take_less_memory(monkeypatch):
    sizes = {}
    for policy in ("always", "never"):
        monkeypatch.setenv("GLUONZIP_SPARSE", policy)
        engine = Engine.from_graph(network(0.1), threads=1)
        engine(image(1))
        sizes[policy] = engine.memory()["weights"]
    assert sizes["always"] < 0.5 * sizes["never"]


def test_an_unknown_policy_is_an_error(monkeypatch):
    monkeypatch.setenv("GLUONZIP_SPARSE", "sometimes")
    with pytest.raises(ConfigError, match="GLUONZIP_SPARSE = 'sometimes'.*auto, always, never"):
        Engine.from_graph(network(0.5), threads=1)(image(1))
