"""Which activations get unsigned codes, and what it brings."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from gluonzip import archive
from gluonzip.errors import ConfigError
from gluonzip.graph import Constant, Graph, Input, Node, infer_types, interpret
from gluonzip.passes import optimize, quantize_graph
from gluonzip.passes.quantize import calibrate, insert_fake_quantize, lower, simulate
from gluonzip.passes.quantize.signs import Range, non_negative
from gluonzip.runtime import CalibrationEngine, Engine, isas
from gluonzip.spec import ActivationQuantization, PerChannel, WeightQuantization

PER_CHANNEL = WeightQuantization(8, PerChannel())


def behind(*ops: tuple[str, dict]) -> Graph:
    """A convolution, ``ops`` one after the other, and a convolution that reads their output."""
    rng = np.random.default_rng(0)
    constants = {
        "w1": Constant(rng.normal(size=(8, 3, 3, 3)).astype(np.float32)),
        "w2": Constant(rng.normal(size=(4, 8, 1, 1)).astype(np.float32)),
    }
    nodes = [Node("conv2d", "c1", ["x", "w1"], ["x0"])]
    for at, (op, attrs) in enumerate(ops):
        nodes.append(Node(op, f"op{at}", [f"x{at}"], [f"x{at + 1}"], attrs))
    nodes.append(Node("conv2d", "c2", [f"x{len(ops)}", "w2"], ["y"]))
    return Graph([Input("x", (0, 3, 8, 8))], ["y"], nodes, constants)


def images(count: int = 16, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 3, 8, 8)).astype(np.float32)


def read_by(graph: Graph, layer: str) -> str:
    return infer_types(graph)[graph.node(layer).inputs[0]].dtype


POOL = {"kernel": [2, 2], "stride": [2, 2]}
NON_NEGATIVE = {
    "relu": [("relu", {})],
    "relu6": [("clip", {"min": 0.0, "max": 6.0})],
    "sigmoid": [("sigmoid", {})],
    "max pool": [("relu", {}), ("max_pool", POOL)],
    "avg pool": [("relu", {}), ("avg_pool", POOL)],
    "padding": [("relu", {}), ("pad", {"width": [0, 0, 0, 0, 1, 1, 1, 1]})],
    "hard sigmoid": [("hard_sigmoid", {})],
}
OF_EITHER_SIGN = {
    "nothing": [],
    "leaky relu": [("leaky_relu", {"slope": 0.1})],
    "tanh": [("tanh", {})],
    "swish": [("swish", {})],
    "relu, then not": [("relu", {}), ("add_scalar", {"value": -1.0})],
    "pool of either sign": [("max_pool", {"kernel": [1, 1], "stride": [2, 2]})],
    "low clip": [("clip", {"min": -1.0, "max": 6.0})],
}


@pytest.mark.parametrize("where", NON_NEGATIVE)
def test_unsigned_behind(where):
    graph = quantize_graph(behind(*NON_NEGATIVE[where]), [images()])
    assert read_by(graph, "c2") == "uint8"
    assert read_by(graph, "c1") == "int8"


@pytest.mark.parametrize("where", OF_EITHER_SIGN)
def test_signed_behind(where):
    graph = quantize_graph(behind(*OF_EITHER_SIGN[where]), [images()])
    assert read_by(graph, "c2") == "int8"


def test_an_input_without_negative_values():
    """Images as bytes: every code is exact."""
    x = np.random.default_rng(0).integers(0, 256, (8, 3, 8, 8)).astype(np.float32)
    x.flat[0] = 255
    graph = quantize_graph(behind(), [x])
    (quantize,) = (n for n in graph.nodes if n.op == "quantize")
    assert quantize.attrs == {"scale": 1.0, "unsigned": True}


def test_signed_switches_it_off():
    what = ActivationQuantization(signed=True)
    graph = quantize_graph(behind(("relu", {})), [images()], activations=what)
    assert read_by(graph, "c2") == "int8"
    assert not any(n.attrs.get("unsigned") for n in graph.nodes)
    with pytest.raises(ConfigError, match="signed = None must be True or False"):
        ActivationQuantization(signed=None)


def test_dynamic_codes_are_symmetric():
    what = ActivationQuantization(mode="dynamic")
    graph = quantize_graph(behind(("relu", {})), [images()], activations=what)
    assert not any(n.attrs.get("unsigned") for n in graph.nodes)


def test_ranges_that_are_plain_numbers_leave_it_to_the_graph():
    graph = behind(("relu", {}))
    found = {name: float(value) for name, value in calibrate(graph, [images()]).items()}
    made = optimize(insert_fake_quantize(graph, found))
    assert (read_by(made, "c1"), read_by(made, "c2")) == ("int8", "uint8")


def test_a_group_is_signed_if_a_member_is():
    """What is concatenated shares a scale, and the sign."""
    graph = behind(("relu", {}))
    graph.nodes.insert(2, Node("concat", "both", ["x0", "x1"], ["xb"]))
    graph.constants["w2"] = Constant(np.ones((4, 16, 1, 1), np.float32))
    graph.node("c2").inputs[0] = "xb"
    x = images()
    found = calibrate(graph, [x])
    assert all(found[name].signed for name in ("x0", "x1"))
    made = quantize_graph(graph, [x])
    assert read_by(made, "c2") == "int8"
    np.testing.assert_array_equal(Engine.from_graph(made)(x), interpret(made, x)[0])


def test_ranges_are_numbers_that_know_their_sign():
    low, high = Range(2.0, False), Range(1.0, True)
    assert (low, low.signed, high.signed) == (2.0, False, True)
    joint = low.join(high)
    assert (float(joint), joint.signed) == (2.0, True)
    copy = pickle.loads(pickle.dumps(low))
    assert (copy, copy.signed) == (2.0, False)


def test_the_engine_sees_the_signs_that_the_interpreter_sees():
    graph, x = behind(("relu", {}), ("max_pool", POOL)), images()
    of_engine = calibrate(graph, [x[:8], x[8:]], run=CalibrationEngine(graph))
    of_interpreter = calibrate(graph, [x[:8], x[8:]])
    assert of_engine.keys() == of_interpreter.keys()
    for name, value in of_engine.items():
        assert value.signed == of_interpreter[name].signed, name
        assert value == pytest.approx(of_interpreter[name], rel=1e-5)


def test_non_negative_says_what_the_graph_guarantees():
    graph = behind(("relu", {}), ("max_pool", POOL), ("add_scalar", {"value": -1.0}))
    assert non_negative(graph) == {"x1", "x2"}


@pytest.mark.parametrize("isa", isas())
def test_engine_and_interpreter_agree(isa, network, sample, tmp_path):
    x = sample(network, 3)
    graph = quantize_graph(network, [x], PER_CHANNEL)
    archive.write(tmp_path / "n.glz", graph)
    engine = Engine.load(tmp_path / "n.glz", isa=isa)
    fresh = sample(network, 2, seed=9)
    got = engine(fresh)
    got = got if isinstance(got, tuple) else [got]
    for mine, want in zip(got, interpret(graph, fresh), strict=True):
        if any(node.op == "softmax" for node in graph.nodes):  # in float32
            np.testing.assert_allclose(mine, want, rtol=1e-6)
        else:
            np.testing.assert_array_equal(mine, want)


def test_simulation_and_back(network, sample):
    x = sample(network, 3)
    graph = quantize_graph(network, [x], PER_CHANNEL)
    again = lower(simulate(graph))
    types = [t.dtype for t in infer_types(graph).values()]
    assert types.count("uint8") == [t.dtype for t in infer_types(again).values()].count("uint8")
    for got, want in zip(interpret(again, x), interpret(graph, x), strict=True):
        assert np.abs(got - want).mean() <= 0.01 * np.abs(want).max()


# ---------------------------------------------------------------- what it brings
def deep_relu_network() -> Graph:
    rng = np.random.default_rng(3)
    nodes, constants, x = [], {}, "data"
    for at, (ins, outs) in enumerate([(3, 32), (32, 32), (32, 32), (32, 32)]):
        weight = rng.normal(0, (2 / (9 * ins)) ** 0.5, (outs, ins, 3, 3))
        constants[f"w{at}"] = Constant(weight.astype(np.float32))
        attrs = {"pad": [1, 1, 1, 1], "act": "relu"}
        nodes.append(Node("conv2d", f"c{at}", [x, f"w{at}"], [f"x{at}"], attrs))
        x = f"x{at}"
    constants["fc"] = Constant(rng.normal(size=(10, 32 * 64)).astype(np.float32))
    nodes.append(Node("dense", "fc", [x, "fc"], ["y"]))
    return Graph([Input("data", (0, 3, 8, 8))], ["y"], nodes, constants)


def decibels(want: np.ndarray, got: np.ndarray) -> float:
    return 10 * np.log10(np.square(want).sum() / np.square(want - got).sum())


def test_a_relu_network_gains_decibels_on_data_that_it_was_not_calibrated_on():
    graph = deep_relu_network()
    fresh = images(64, seed=8)
    want = interpret(graph, fresh)[0]
    found = []
    for signed in (True, False):
        what = ActivationQuantization(signed=signed)
        integers = quantize_graph(graph, [images(64)], PER_CHANNEL, what)
        ranges = calibrate(graph, [images(64)], activations=what)
        rounded = insert_fake_quantize(graph, ranges, activations=what)
        for node in rounded.nodes:  # activations alone: those behind ReLUs
            if node.op == "fake_quantize" and node.inputs[0] in {"data", *graph.constants}:
                node.op, node.inputs, node.attrs = "identity", node.inputs[:1], {}
        both = interpret(integers, fresh)[0], interpret(rounded, fresh)[0]
        found.append([decibels(want, got) for got in both])
    (whole, alone), (unsigned_whole, unsigned_alone) = found
    assert unsigned_alone - alone == pytest.approx(6, abs=0.5)
    assert unsigned_whole - whole > 2  # with the weights' noise, which is what it was
