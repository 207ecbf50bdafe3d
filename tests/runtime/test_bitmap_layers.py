"""Dense layers at batch 1 whose int8 weights are kept as a bitmap: results, and when they are."""

from __future__ import annotations

import numpy as np
import pytest

from gluonzip import _core
from gluonzip.graph import Constant, Graph, Input, Node, interpret
from gluonzip.runtime import Engine, isas, sparse_costs

HERE = [isa for isa in isas() if _core.has_bitmap(isa)]
needs_bitmaps = pytest.mark.skipif(not HERE, reason="no instruction set here has bitmaps")
BITMAP, WORDS, DENSE = "sparse_bitmap_s8", "sparse_s8", "conv_s8"


@pytest.fixture(autouse=True)
def built_in_costs(tmp_path, monkeypatch):
    monkeypatch.setenv("GLUONZIP_CACHE", str(tmp_path))
    monkeypatch.delenv("GLUONZIP_SPARSE", raising=False)
    for isa in HERE:
        sparse_costs.apply(isa)


def codes(keep: np.ndarray) -> np.ndarray:
    random = np.random.default_rng(3)
    return (random.integers(1, 128, keep.shape) * random.choice([-1, 1], keep.shape) * keep).astype(
        np.int8
    )


def kept(out: int, inputs: int, density: float, block: int = 1) -> np.ndarray:
    keep = np.random.default_rng(4).random((out, inputs // block)) < density
    return np.repeat(keep, block, axis=1)


def layer(weights: np.ndarray, unsigned: bool = False) -> Graph:
    nodes = [
        Node("quantize", "q", ["x"], ["codes"], {"scale": 0.02, "unsigned": unsigned}),
        Node("dense", "fc", ["codes", "w", "b"], ["y"], {"out_scale": 0.5, "act": "relu"}),
    ]
    constants = {
        "w": Constant(weights, scale=np.float32(0.004)),
        "b": Constant(np.linspace(-1, 1, len(weights), dtype=np.float32)),
    }
    return Graph([Input("x", (0, weights.shape[1]))], ["y"], nodes, constants)


def rows(batch: int, inputs: int) -> np.ndarray:
    return np.random.default_rng(5).normal(size=(batch, inputs)).astype(np.float32)


def profile(engine: Engine, x: np.ndarray) -> dict:
    return next(row for row in engine.profile(x, repeat=1, limits=False) if row["name"] == "fc")


@needs_bitmaps
@pytest.mark.parametrize("unsigned", [False, True])
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(("out", "inputs"), [(70, 300), (16, 256), (33, 61)])
def test_results_equal_the_interpreter_at_every_batch(monkeypatch, unsigned, threads, out, inputs):
    """One row as a bitmap, several as words, one again: in whichever order they are asked for."""
    monkeypatch.setenv("GLUONZIP_SPARSE", "always")
    weights = codes(kept(out, inputs, 0.4))
    weights[5] = 0
    graph = layer(weights, unsigned)
    for batches in ((1, 3, 20), (20, 1)):
        engine = Engine.from_graph(graph, threads=threads, isa=HERE[-1])
        for batch in batches:
            x = rows(batch, inputs)
            np.testing.assert_array_equal(engine(x), interpret(graph, x)[0])
            assert profile(engine, x)["kernel"] == (BITMAP if batch == 1 else WORDS)


@needs_bitmaps
@pytest.mark.parametrize(
    ("density", "block", "kernel"),
    [(0.3, 1, BITMAP), (0.15, 1, BITMAP), (0.25, 4, BITMAP), (0.05, 4, WORDS), (1.0, 1, DENSE)],
)
def test_the_faster_form_is_taken(density, block, kernel):
    graph = layer(codes(kept(256, 1024, density, block)))
    x = rows(1, 1024)
    row = profile(Engine.from_graph(graph, threads=1, isa=HERE[-1]), x)
    assert row["kernel"] == kernel
    if kernel == BITMAP:
        assert "of 262144 weights are not zero; a bitmap of them is estimated at 0." in row["note"]


def test_other_instruction_sets_keep_words(monkeypatch):
    monkeypatch.setenv("GLUONZIP_SPARSE", "always")
    graph, x = layer(codes(kept(40, 100, 0.2))), rows(1, 100)
    for isa in isas():
        if isa in HERE:
            continue
        engine = Engine.from_graph(graph, threads=1, isa=isa)
        np.testing.assert_array_equal(engine(x), interpret(graph, x)[0])
        assert profile(engine, x)["kernel"] == WORDS


@needs_bitmaps
def test_a_bitmap_that_a_batch_wants_dense_is_spread_out():
    graph = layer(codes(kept(256, 1024, 0.28)))
    engine = Engine.from_graph(graph, threads=1, isa=HERE[-1])
    for batch, kernel in ((1, BITMAP), (64, DENSE), (1, BITMAP)):
        x = rows(batch, 1024)
        np.testing.assert_array_equal(engine(x), interpret(graph, x)[0])
        assert profile(engine, x)["kernel"] == kernel


@needs_bitmaps
def test_what_the_last_cache_may_hold_must_pay_there_too():
    """Half the weights: from memory 0.63 of dense's bytes, from a cache dense is faster."""
    graph, x = layer(codes(kept(256, 1024, 0.5))), rows(1, 1024)
    row = profile(Engine.from_graph(graph, threads=1, isa=HERE[-1]), x)
    assert row["kernel"] == DENSE
    assert "a bitmap of them is estimated at 0.6" in row["note"]


@needs_bitmaps
def test_memory_is_a_bit_a_weight_and_a_byte_for_each_that_is_not_zero():
    weights = codes(kept(256, 1024, 0.15))
    engine = Engine.from_graph(layer(weights), threads=1, isa=HERE[-1])
    engine(rows(1, 1024))
    least = weights.size // 8 + np.count_nonzero(weights)
    assert least < engine.memory()["weights"] < least + 64 * 256
