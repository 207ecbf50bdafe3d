"""Dense layers whose weights have few bits: packed in memory, exact on every ISA."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gluonzip.archive import to_bytes
from gluonzip.graph import Constant, Graph, Input, Node, interpret
from gluonzip.runtime import Engine, isas

BITS = {1: (-1, 1), 2: (-1, 0, 1), 3: range(-3, 4), 4: range(-7, 8), 8: range(-127, 128)}


def layer(rng, rows, outputs, inputs, bits, out_scale=None, act="none", shape=None, unsigned=False):
    """``unsigned``: codes of both sides."""
    codes = rng.choice(np.array(BITS[bits], np.int8), (outputs, inputs))
    scale = rng.uniform(0.001, 0.01, outputs).astype("float32")
    constants = {
        "w": Constant(codes, scale, bits=bits),
        "b": Constant(rng.standard_normal(outputs).astype("float32")),
    }
    attrs = {"out_scale": out_scale, "act": act, "unsigned": unsigned}
    nodes = [
        Node("quantize", "q", ["x"], ["c"], {"scale": 0.02, "unsigned": unsigned}),
        Node("dense", "fc", ["c", "w", "b"], ["y"], attrs),
    ]
    return Graph([Input("x", shape or (0, inputs))], ["y"], nodes, constants)


def kernel_of(engine, x):
    return next(row["kernel"] for row in engine.profile(x) if row["name"] == "fc")


def assert_exact(graph, x, isa, threads=1, kernel="dense_low_bits"):
    engine = Engine.from_graph(graph, isa=isa, threads=threads)
    np.testing.assert_array_equal(engine(x), interpret(graph, x)[0])
    assert kernel_of(engine, x) == kernel


@pytest.mark.parametrize("isa", isas())
@pytest.mark.parametrize("bits", [1, 2, 3, 4])
@pytest.mark.parametrize("rows", [1, 2, 3, 5, 8, 11])
def test_rows(rows, bits, isa):
    rng = np.random.default_rng(rows)
    graph = layer(rng, rows, 37, 150, bits, out_scale=0.05, act="relu")
    assert_exact(graph, rng.standard_normal((rows, 150)).astype("f4"), isa)


@pytest.mark.parametrize("isa", isas())
@pytest.mark.parametrize("unsigned", [False, True])
@pytest.mark.parametrize("outputs", [64, 300, 500, 512])
def test_many_outputs(outputs, unsigned, isa):
    """More panels than a vector of codes holds."""
    rng = np.random.default_rng(outputs)
    for rows, threads in ((1, 1), (3, 2)):
        graph = layer(rng, rows, outputs, 90, 4, out_scale=0.05, act="relu", unsigned=unsigned)
        assert_exact(graph, rng.standard_normal((rows, 90)).astype("f4"), isa, threads)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    rows=st.integers(1, 15),
    outputs=st.integers(1, 600),
    inputs=st.integers(1, 200),
    bits=st.sampled_from([1, 2, 3, 4]),
    isa=st.sampled_from(isas()),
    threads=st.sampled_from([1, 2]),
    out_scale=st.sampled_from([None, 0.03]),
    unsigned=st.booleans(),
)
def test_any_size(rows, outputs, inputs, bits, isa, threads, out_scale, unsigned):
    rng = np.random.default_rng([rows, outputs, inputs])
    graph = layer(rng, rows, outputs, inputs, bits, out_scale, unsigned=unsigned)
    x = (4 * rng.standard_normal((rows, inputs))).astype("f4")
    engine = Engine.from_graph(graph, isa=isa, threads=threads)
    np.testing.assert_array_equal(engine(x), interpret(graph, x)[0])


@pytest.mark.parametrize("isa", isas())
@pytest.mark.parametrize("bits", [1, 2, 4])
def test_largest_sums(bits, isa):
    """Every product as large as it gets: nothing saturates on the way."""
    inputs = 4096
    for sign in (1, -1):
        rng = np.random.default_rng(0)
        graph = layer(rng, 1, 33, inputs, bits)
        top = max(BITS[bits])
        codes = np.full((33, inputs), top * sign, np.int8)
        codes[1::2] *= -1
        graph.constants["w"] = Constant(codes, graph.constants["w"].scale, bits=bits)
        for value in (100.0, -100.0):
            assert_exact(graph, np.full((1, inputs), value, "f4"), isa)


@pytest.mark.parametrize("isa", isas())
def test_behind_an_image_whose_channels_are_no_multiple_of_four(isa):
    rng = np.random.default_rng(1)
    for bits in (1, 2, 4):
        graph = layer(rng, 2, 20, 6 * 25, bits, shape=(0, 6, 5, 5))
        x = rng.standard_normal((2, 6, 5, 5)).astype("f4")
        assert_exact(graph, x, isa)


def test_an_engine_made_for_one_row_takes_many():
    rng = np.random.default_rng(2)
    graph = layer(rng, 1, 64, 128, 4)
    engine = Engine.from_graph(graph)
    engine(rng.standard_normal((1, 128)).astype("f4"))
    x = rng.standard_normal((300, 128)).astype("f4")
    np.testing.assert_array_equal(engine(x), interpret(graph, x)[0])


def test_many_rows_at_first_are_expanded():
    """Where the graph says so: they do not wait for their weights."""
    rng = np.random.default_rng(2)
    graph = layer(rng, 1, 64, 128, 4, shape=(300, 128))
    x = rng.standard_normal((300, 128)).astype("f4")
    assert_exact(graph, x, isas()[-1], kernel="conv_s8")


def test_dynamic_inputs():
    rng = np.random.default_rng(3)
    graph = layer(rng, 1, 64, 128, 4)
    graph.nodes = [Node("dense", "fc", ["x", "w", "b"], ["y"], {"dynamic": True})]
    for isa in isas():
        x = rng.standard_normal((2, 128)).astype("f4")
        assert_exact(graph, x, isa, kernel="dynamic_scale+quantize+dense_low_bits")


@pytest.mark.parametrize(
    ("bits", "share"), [(1, 1 / 8), (2, 1 / 4), (3, 1 / 2), (4, 1 / 2), (8, 1)]
)
def test_memory_of_the_weights(bits, share):
    rng = np.random.default_rng(4)
    engine = Engine.from_graph(layer(rng, 1, 512, 2048, bits))
    engine(np.zeros((1, 2048), "f4"))
    weights = engine.memory()["weights"]
    assert share * 512 * 2048 <= weights <= share * 512 * 2048 + 512 * 20


RESIDENT = """
import sys
from gluonzip.runtime import Engine
import numpy as np

def resident():  # kB
    return next(int(row.split()[1]) for row in open("/proc/self/status") if "VmRSS" in row)

before = resident()
engine = Engine.load(sys.argv[1], threads=1)
engine(np.zeros((1, 2048), "f4"))
print(resident() - before)
"""


def test_memory_of_a_process(tmp_path):
    """Sixteen layers of 4 MB as codes take half of that once they are loaded."""
    rng = np.random.default_rng(5)
    codes = rng.integers(-7, 8, (2048, 2048)).astype(np.int8)
    taken = {}
    for bits in (4, 8):
        nodes, constants = [Node("quantize", "q", ["x"], ["t0"], {"scale": 0.02})], {}
        for i in range(16):
            own = np.roll(codes, i, 0) * (9 if bits == 8 else 1)
            constants[f"w{i}"] = Constant(own.astype(np.int8), np.array(1e-4, "f4"), bits=bits)
            attrs = {"out_scale": 0.02}
            nodes.append(Node("dense", f"fc{i}", [f"t{i}", f"w{i}"], [f"t{i + 1}"], attrs))
        nodes.append(Node("dequantize", "real", ["t16"], ["y"]))
        path = tmp_path / f"{bits}.glz"
        path.write_bytes(
            to_bytes(Graph([Input("x", (0, 2048))], ["y"], nodes, constants), raw=True)
        )
        run = [sys.executable, "-c", RESIDENT, str(path)]
        taken[bits] = int(subprocess.run(run, capture_output=True, check=True).stdout) / 1024
    assert 32 < taken[4] < 32 + 16, taken  # MB
    assert taken[8] > 64, taken
