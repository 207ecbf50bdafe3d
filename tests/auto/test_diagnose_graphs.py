"""diagnose() on graphs and archives, without MXNet: against the interpreter and NumPy."""

import math
import subprocess
import sys

import numpy as np
import pytest

from gluonzip import archive
from gluonzip.auto import diagnose
from gluonzip.errors import ConfigError, DataError, ShapeError
from gluonzip.graph import Constant, Graph, Input, Node, interpret
from gluonzip.passes import optimize, quantize_graph, simplify
from gluonzip.runtime import Engine

RNG = np.random.default_rng(5)
X = RNG.normal(size=(40, 3, 6, 6)).astype("float32")


def network():
    """A residual block: convolution, batch norm, relu; convolution, sum, relu; dense."""
    rng = np.random.default_rng(0)

    def constant(*shape, low=None):
        data = rng.normal(size=shape) if low is None else rng.uniform(low, 2, shape)
        return Constant((data / np.sqrt(np.prod(shape[1:]) or 1)).astype("float32"))

    constants = {
        "a.weight": constant(8, 3, 3, 3),
        "gamma": constant(8, low=0.5),
        "beta": constant(8),
        "mean": constant(8),
        "var": constant(8, low=0.5),
        "b.weight": constant(8, 8, 3, 3),
        "c.weight": constant(5, 288),
        "c.bias": constant(5),
    }
    pad = {"pad": [1, 1, 1, 1]}
    nodes = [
        Node("conv2d", "a", ["data", "a.weight"], ["a"], dict(pad)),
        Node("batch_norm", "n", ["a", "gamma", "beta", "mean", "var"], ["n"]),
        Node("relu", "r", ["n"], ["r"]),
        Node("conv2d", "b", ["r", "b.weight"], ["b"], dict(pad)),
        Node("add", "s", ["b", "r"], ["s"]),
        Node("relu", "t", ["s"], ["t"]),
        Node("dense", "c", ["t", "c.weight", "c.bias"], ["c"]),
    ]
    return Graph([Input("data", (0, 3, 6, 6))], ["c"], nodes, constants, "block")


def quantized(graph, **settings):
    return quantize_graph(graph, [X], **settings)


def sqnr(d, c):
    d, c = d.astype("float64"), c.astype("float64")
    return 10 * math.log10((d**2).sum() / ((d - c) ** 2).sum())


def real_tensors(graph, names):
    """Tensors of a graph with integers, by the interpreter, as real numbers."""
    from gluonzip.graph import infer_types

    types = infer_types(graph, {"data": X.shape})
    kept = interpret(graph, X, keep=names)[1]
    return {n: v * np.float32(types[n].scale) if v.dtype == np.int8 else v for n, v in kept.items()}


def test_accumulated_against_the_interpreter():
    dense, small = network(), quantized(network())
    found = diagnose(dense, small, X)
    plain = simplify(dense)
    for name in "abc":
        tensors = [g.node(name).output for g in (plain, small)]
        d = interpret(plain, X, keep=[tensors[0]])[1][tensors[0]]
        c = real_tensors(small, [tensors[1]])[tensors[1]]
        assert found[name].accumulated.sqnr == pytest.approx(sqnr(d, c), abs=0.05)
    assert found["b"].accumulated.sqnr < math.inf
    assert found.skipped == {}


def test_introduced_is_weight_and_inputs_rounded_by_hand():
    """conv b alone: its input and the residual are rounded to the steps that calibration found."""
    dense, small = network(), quantized(network())
    found = diagnose(dense, small, X)
    plain = simplify(dense)
    node = plain.node("b")
    kept = interpret(plain, X, keep=[*node.inputs[:1], node.inputs[3], node.output])[1]
    scale = kept[node.inputs[0]].max() / 255  # behind a ReLU
    rounded = np.clip(np.rint(kept[node.inputs[0]] / scale), 0, 255) * scale
    weight = small.constants[small.node("b").inputs[1]].dense()
    alone = Graph(
        [Input("x", (0, 8, 6, 6))],
        ["y"],
        [Node("conv2d", "b", ["x", "w", "", "x"], ["y"], dict(node.attrs))],
        {"w": Constant(weight)},
    )
    y = interpret(alone, rounded.astype("float32"))[0]
    assert found["b"].introduced.sqnr == pytest.approx(sqnr(kept[node.output], y), abs=0.1)


def test_paths_and_graphs_give_the_same(tmp_path):
    dense, small = optimize(network()), quantized(network())
    archive.write(tmp_path / "dense.glz", dense)
    archive.write(tmp_path / "small.glz", small)
    graphs = diagnose(dense, small, X)
    files = diagnose(tmp_path / "dense.glz", str(tmp_path / "small.glz"), [X[:15], X[15:]])
    for layer in graphs.layers:
        assert files[layer.name].accumulated.sqnr == pytest.approx(layer.accumulated.sqnr, abs=0.01)
        assert files[layer.name].introduced.sqnr == pytest.approx(layer.introduced.sqnr, abs=0.01)


def test_the_layer_at_few_bits_comes_first():
    from gluonzip.spec import WeightQuantization

    for name in "abc":
        graph = quantized(network(), weights=WeightQuantization(bits=2), skip=set("abc") - {name})
        found = diagnose(network(), graph, X)
        assert found.layers[0].name == name
        others = [layer for layer in found.layers[1:] if layer.name != name]
        assert all(layer.introduced.sqnr > 100 for layer in others)


def test_what_the_engine_cannot_run_the_interpreter_does():
    graph = network()
    graph.inputs = [Input("data", (0, 3, 6, 6), "float64")]  # the engine takes float32
    from gluonzip.auto.source import GraphSource

    source = GraphSource(simplify(graph), "the network")
    assert source.engine is None
    expected = interpret(network(), X)[0]
    got = source.values([X.astype("float64")], ["c"])["c"]
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


def test_an_engine_does_not_give_its_graph_back():
    engine = Engine.from_graph(optimize(network()))
    with pytest.raises(ConfigError, match="give the path of its archive"):
        diagnose(network(), engine, X)


def test_missing_layers_are_listed():
    other = network()
    for node in other.nodes:
        if node.name == "b":
            node.name = "renamed"
    found = diagnose(network(), other, X)
    assert found.skipped == {
        "b": "the compressed network has no layer of this name",
        "renamed": "the dense network has no layer of this name",
    }
    assert "the dense network has no layer of this name" in found.to_text()


def test_an_activation_elsewhere_is_no_common_ground():
    other = network()
    other.nodes = [n for n in other.nodes if n.name != "r"]
    other.redirect("r", "n")
    found = diagnose(network(), other, X)
    assert "activation or residual sum belong to it in one network" in found.skipped["a"]


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (X[:, :, :5], ShapeError, "the data does not fit the dense network: input 'data'"),
        (X.astype("int64"), ShapeError, "has dtype int64; the graph needs float32"),
        (np.full_like(X, np.nan), DataError, "not finite"),
        ([], DataError, "no batches"),
        ((X, X[:3]), DataError, r"different lengths: \[40, 3\]"),
        ([((X, X), None)], ShapeError, "2 arrays for 1 inputs"),
    ],
)
def test_unusable_data(data, error, message):
    with pytest.raises(error, match=message):
        diagnose(network(), network(), data)


def test_needs_no_mxnet():
    code = (
        "import sys; sys.modules['mxnet'] = None; sys.modules['matplotlib'] = None\n"
        "from gluonzip.auto import diagnose\n"
        "from gluonzip.graph import Constant, Graph, Input, Node\n"
        "import numpy as np\n"
        "w = np.eye(4, dtype='float32')\n"
        "g = lambda w: Graph([Input('x', (0, 4))], ['y'],"
        " [Node('dense', 'fc', ['x', 'w'], ['y'])], {'w': Constant(w)})\n"
        "print(diagnose(g(w), g(w * 1.01), np.ones((3, 4), 'float32')))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "40.0" in done.stdout  # an error of 1 %
