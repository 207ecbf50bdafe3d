"""calibrate_graph against the interpreter's calibration, and from network to integers."""

import mxnet as mx
import numpy as np
import pytest

from gluonzip.errors import ConfigError, DataError, UnsupportedError
from gluonzip.gluon import calibrate_graph, graph_calibration, trace
from gluonzip.graph import interpret
from gluonzip.passes import optimize
from gluonzip.passes.quantize import calibrate, insert_fake_quantize
from gluonzip.runtime import CalibrationEngine
from gluonzip.spec import ActivationQuantization

SHAPE = (1, 3, 64, 64)
X = np.random.default_rng(0).standard_normal((6, *SHAPE[1:])).astype("float32")


@pytest.fixture(scope="module", params=["resnet18_v1", "mobilenetv2_0.25"])
def net(request):
    mx.random.seed(1)
    block = mx.gluon.model_zoo.vision.get_model(request.param, classes=10)
    block.initialize(mx.init.Xavier())
    return block


@pytest.fixture(params=["engine", "mxnet"])
def route(request, monkeypatch):
    """What runs: the engine, or MXNet because the engine cannot."""
    if request.param == "mxnet":
        monkeypatch.setattr(graph_calibration, "CalibrationEngine", _Unable)


class _Unable:
    def __init__(self, graph, threads):
        raise UnsupportedError("the engine has no operator 'opaque'")


@pytest.mark.parametrize("observer", ["minmax", "percentile"])
@pytest.mark.parametrize("optimized", [True, False])
@pytest.mark.parametrize("memory", [10**9, 10**6])
def test_ranges_are_those_of_the_interpreter(net, observer, optimized, memory, route, monkeypatch):
    monkeypatch.setattr(graph_calibration, "MEMORY", memory)
    monkeypatch.setattr(graph_calibration, "ENGINE_ROWS", 3)
    graph = trace(net, SHAPE)
    graph = optimize(graph) if optimized else graph
    what = ActivationQuantization(observer=observer)
    got = calibrate_graph(net, graph, [X[:4], X[4:]], activations=what)
    expected = calibrate(graph, [X], run=CalibrationEngine(graph), activations=what)
    if observer == "minmax":
        assert expected == pytest.approx(calibrate(graph, [X]), rel=1e-5)
    assert list(got) == list(expected)
    assert got == pytest.approx(expected, rel=1e-5 if observer == "minmax" else 1e-3)


def test_from_a_network_to_integers(net):
    graph = optimize(trace(net, SHAPE))
    integers = optimize(insert_fake_quantize(graph, calibrate_graph(net, graph, X)))
    expected = net(mx.nd.array(X)).asnumpy()
    (got,) = interpret(integers, X)
    cosine = (got * expected).sum() / np.linalg.norm(got) / np.linalg.norm(expected)
    assert cosine > 0.98


def test_non_finite_values_inside_the_network_are_counted(net, route):
    graph = trace(net, SHAPE)
    huge = np.sign(X[:2]) * np.float32(3e38)
    with pytest.raises(DataError, match=r"batch 0: tensor '.*' has \d+ non-finite values"):
        calibrate_graph(net, graph, huge)


def test_errors(net):
    graph = optimize(trace(net, SHAPE))
    with pytest.raises(DataError, match="calibration data"):
        calibrate_graph(net, graph, [])
    with pytest.raises(DataError, match="batch 1 of the calibration data"):
        calibrate_graph(net, graph, [X, X * np.float32(np.inf)])
    graph.meta.clear()
    with pytest.raises(ConfigError, match="needs a graph made by"):
        calibrate_graph(net, graph, X)


def test_mxnet_needs_the_network_that_was_traced(net, monkeypatch):
    monkeypatch.setattr(graph_calibration, "CalibrationEngine", _Unable)
    graph = optimize(trace(net, SHAPE))
    other = mx.gluon.model_zoo.vision.squeezenet1_1()
    other.initialize()
    with pytest.raises(UnsupportedError, match="are not in the network; trace it again"):
        calibrate_graph(other, _with_shapes(graph), np.zeros((1, 3, 224, 224), "float32"))


def _with_shapes(graph):
    graph = graph.copy()
    graph.meta["input_shapes"] = [[1, 3, 224, 224]]
    return graph
