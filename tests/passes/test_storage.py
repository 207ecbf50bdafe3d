"""Floats in two bytes: rounding, bytes, errors."""

import numpy as np
import pytest

from gluonzip.archive import inspect, read, to_bytes
from gluonzip.errors import ConfigError, DataError, PatternError
from gluonzip.graph import Constant, Graph, Input, Node, interpret
from gluonzip.onnx import to_model
from gluonzip.passes import optimize, store
from gluonzip.runtime import Engine
from gluonzip.spec import FloatStorage


def network():
    rng = np.random.default_rng(2)
    constants = {
        "w": rng.standard_normal((8, 3, 3, 3)), "b": rng.standard_normal(8),
        "v": rng.standard_normal((40, 8 * 36)), "c": rng.standard_normal(40),
    }  # fmt: skip
    nodes = [
        Node("conv2d", "conv", ["x", "w", "b"], ["y"], {"act": "relu"}),
        Node("dense", "fc", ["y", "v", "c"], ["z"]),
    ]
    table = {name: Constant(data.astype("float32")) for name, data in constants.items()}
    return Graph([Input("x", (0, 3, 8, 8))], ["z"], nodes, table)


def bfloat16(x):
    """The nearest multiples of 2^(exponent - 7), ties to even."""
    unit = np.exp2(np.floor(np.log2(np.abs(x.astype(np.float64)))) - 7)
    return (np.rint(x / unit) * unit).astype(np.float32)


ROUND = {"float16": lambda x: x.astype(np.float16).astype(np.float32), "bfloat16": bfloat16}
each_dtype = pytest.mark.parametrize("dtype", ["float16", "bfloat16"])


@each_dtype
def test_values_and_bytes(dtype):
    graph, x = network(), np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype("f4")
    stored = store(graph, FloatStorage(dtype))
    wanted = network()
    for name, constant in graph.constants.items():
        wanted.constants[name] = Constant(ROUND[dtype](constant.data))
        np.testing.assert_array_equal(
            stored.constants[name].data.astype("f4"), wanted.constants[name].data
        )
    data = to_bytes(stored)
    for section in inspect(data).sections:
        assert section.bytes <= 2 * graph.constants[section.name].data.size
        assert section.bits == 16 or section.bytes < 2 * section.elements  # or smaller still
    assert len(data) < 0.55 * len(to_bytes(graph))
    (reference,) = interpret(wanted, x)
    for source in (stored, read(data)):
        np.testing.assert_array_equal(interpret(source, x)[0], reference)
    np.testing.assert_allclose(Engine.from_graph(stored)(x), reference, rtol=1e-4, atol=1e-4)


@each_dtype
def test_layers_by_pattern(dtype):
    graph = network()
    stored = store(graph, FloatStorage(dtype), ["f*"])
    same = {n for n, c in graph.constants.items() if stored.constants[n].data is c.data}
    assert same == {"w", "b"}
    with pytest.raises(PatternError, match=r"pattern 'dense\*' matches nothing; .* conv, fc"):
        store(graph, FloatStorage(dtype), ["dense*"])


def test_codes_stay():
    graph = network()
    graph.constants["w"] = Constant(np.ones((8, 3, 3, 3), np.int8), np.array(0.1, "f4"))
    stored = store(graph, FloatStorage())
    assert stored.constants["w"] is graph.constants["w"]
    assert store(graph, FloatStorage("float32")).constants == graph.constants


def test_what_is_read_back_exports_and_optimizes():
    graph = store(network(), FloatStorage("float16"))
    loaded = read(to_bytes(graph))
    assert optimize(loaded).constants["w"].data.dtype == np.float32
    to_model(loaded)


@pytest.mark.parametrize(
    ("dtype", "value", "advice"), [("float16", 65520, "bfloat16"), ("bfloat16", 3.4e38, "float32")]
)
def test_values_that_overflow(dtype, value, advice):
    graph = network()
    graph.constants["v"].data[3, 5] = -value
    message = f"layer 'fc': 'v' has 1 values that {dtype} does not hold .* or use {advice}"
    with pytest.raises(DataError, match=message):
        store(graph, FloatStorage(dtype))
    store(graph, FloatStorage(dtype), ["conv"])


@each_dtype
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite(dtype, value):
    graph = network()
    graph.constants["c"].data[7] = value
    with pytest.raises(DataError, match="layer 'fc': 'c' has 1 non-finite values .* of 40"):
        store(graph, FloatStorage(dtype))


@each_dtype
@pytest.mark.parametrize("value", [0.0, -0.0, 65504.0, 1e-8, 1e-42, 1.00390625, -1.01171875])
def test_borders(dtype, value):
    """Largest, smallest, and halves between two neighbours."""
    graph = network()
    graph.constants["c"].data[:] = value
    stored = store(graph, FloatStorage(dtype)).constants["c"].data.astype("f4")
    if dtype == "float16" or value in (0.0, 1e-42):
        wanted = np.float32(np.float16(value)) if dtype == "float16" else np.abs(stored) * value
        assert dtype == "bfloat16" or (stored == wanted).all()
        assert np.abs(stored).max() <= max(abs(value) * 1.01, 1e-40)
    else:
        np.testing.assert_array_equal(stored, bfloat16(np.full(40, value, "f4")))


def test_unknown_dtype():
    with pytest.raises(ConfigError, match="dtype = 'float8' is unknown"):
        FloatStorage("float8")
