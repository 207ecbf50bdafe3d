"""GraphBlock: a graph as a trainable Gluon network, against the interpreter and the original."""

import copy

import numpy as np
import pytest

from gluonzip.errors import ConfigError, GraphError, UnsupportedError
from gluonzip.graph import OPS, Constant, Graph, Input, Node, interpret

mx = pytest.importorskip("mxnet")

from gluonzip.gluon import calibrate, layers, prune, quantize, sparsity, trace  # noqa: E402
from gluonzip.gluon.rebuild import GraphBlock  # noqa: E402
from gluonzip.spec import PerChannel, WeightQuantization  # noqa: E402

nn = mx.gluon.nn
RNG = np.random.default_rng(3)


def array(*shape, low=-2.0, high=2.0):
    return RNG.uniform(low, high, shape).astype(np.float32)


def one_node(op, attrs, *arrays, outputs=1):
    """A graph of one node: the first array's shape is the input's, the others are constants."""
    names = ["" if x is None else f"x{i}" for i, x in enumerate(arrays)]
    outs = [f"y{i}" for i in range(outputs)]
    constants = {n: Constant(x) for n, x in zip(names[1:], arrays[1:], strict=True) if n}
    nodes = [Node(op, "node", names, outs, attrs)]
    return Graph([Input("x0", arrays[0].shape)], outs, nodes, constants)


X = array(2, 4, 6, 6)
POSITIVE = array(2, 4, 6, 6, low=0.2)
UNEVEN = {"kernel": [3, 3], "stride": [2, 2], "pad": [1, 0, 0, 1]}
EVEN = {"kernel": [3, 2], "stride": [2, 1], "pad": [1, 0, 1, 0], "ceil_mode": True}
LEAKY = {"act": "leaky_relu", "act_slope": 0.2}
EPILOGUES = [{"act": "relu"}, {"act": "clip", "act_max": 1.0}, LEAKY]
SIMPLE = ("relu", "sigmoid", "tanh", "softplus", "softsign", "gelu", "exp", "abs", "negative")
SIMPLE += ("square", "floor", "ceil", "erf", "selu", "hard_swish", "identity")
SCALARS = ("add", "mul", "rsub", "rdiv", "pow", "max", "min")
W, B = array(8, 4, 3, 3), array(8)
CASES = [
    ("conv2d", {"pad": [1, 1, 1, 1]}, X, W, B),
    ("conv2d", {"pad": [0, 1, 2, 1], "stride": [2, 1], "dilation": [1, 2]}, X, W),
    ("conv2d", {"groups": 2}, X, array(6, 2, 3, 3), array(6)),
    *(("conv2d", {"pad": [1, 1, 1, 1], **e}, X, W, B, array(2, 8, 6, 6)) for e in EPILOGUES),
    ("conv_transpose2d", {"stride": [2, 2], "output_pad": [1, 0]}, X, array(4, 5, 3, 3), array(5)),
    ("conv_transpose2d", {"pad": [1, 0, 0, 1], "groups": 2}, X, array(4, 3, 3, 3)),
    ("conv_transpose2d", {"stride": [2, 2], "pad": [0, 0, 1, 1]}, X, array(4, 3, 3, 3)),
    ("dense", {}, X, array(5, 144), array(5)),
    ("dense", {"flatten": False}, array(2, 3, 4), array(5, 4), None, array(2, 3, 5)),
    ("embedding", {}, np.array([[0, 2], [1, 9]], np.float32), array(4, 3)),
    ("batch_norm", {"eps": 1e-3}, X, array(4), array(4), array(4), array(4, low=0.1)),
    ("batch_norm", {"axis": 2}, X, array(6), array(6), array(6), array(6, low=0.1)),
    *(("scale_shift", {"axis": 1, **e}, X, array(4), array(4)) for e in EPILOGUES),
    ("layer_norm", {"axis": -1}, X, array(6), array(6)),
    *(("l2_normalize", {"mode": m}, X) for m in ("instance", "channel", "spatial")),
    *((op, {}, X) for op in SIMPLE),
    *((op, {}, POSITIVE) for op in ("log", "sqrt", "rsqrt")),
    ("leaky_relu", {"slope": 0.1}, X),
    ("elu", {"slope": 0.7}, X),
    ("prelu", {}, X, array(4)),
    ("prelu", {}, X, array(1)),
    ("hard_sigmoid", {"alpha": 0.3}, X),
    ("swish", {"beta": 1.5}, X),
    ("clip", {"min": -0.5, "max": 1.0}, X),
    *((f"{op}_scalar", {"value": 0.3}, POSITIVE) for op in SCALARS),
    *((op, {}, X, array(4, 1, 1, low=0.5)) for op in ("add", "sub", "mul", "div")),
    *((op, {}, X, array(2, 4, 6, 6)) for op in ("maximum", "minimum")),
    *(("add", e, X, array(1, 4, 1, 6)) for e in EPILOGUES),
    ("max_pool", UNEVEN, X),
    ("max_pool", EVEN, X),
    ("avg_pool", UNEVEN, X),
    ("avg_pool", {**UNEVEN, "count_pad": False}, X),
    ("avg_pool", EVEN, X),
    ("global_max_pool", {}, X),
    ("global_avg_pool", {}, X),
    ("adaptive_avg_pool", {"output": [2, 3]}, X),
    ("upsample", {"factor": 2}, X),
    ("resize_bilinear", {"size": [9, 4]}, X),
    ("resize_bilinear", {"size": [9, 4], "align_corners": False}, X),
    ("concat", {"axis": 1}, X, array(2, 1, 6, 6), array(2, 3, 6, 6)),
    ("flatten", {}, X),
    ("reshape", {"shape": [0, -4, 2, -1, -2]}, X),
    ("transpose", {"axes": [0, 2, 1, 3]}, X),
    ("expand_dims", {"axis": -1}, X),
    ("squeeze", {"axes": []}, array(2, 1, 3, 1)),
    ("squeeze", {"axes": [1]}, array(2, 1, 3, 1)),
    ("slice_axis", {"axis": 2, "begin": 1}, X),
    ("slice_axis", {"axis": 1, "begin": 1, "end": -1}, X),
    ("pad", {"width": [0, 0, 0, 0, 1, 2, 0, 1], "value": 0.5}, X),
    ("pad", {"width": [0, 0, 2, 1, 0, 0, 1, 0]}, X),
    ("softmax", {"axis": 1, "temperature": 2.0}, X),
    ("log_softmax", {}, X),
    *((op, {"axes": [2, 3]}, X) for op in ("mean", "sum", "max")),
    ("mean", {"axes": [1], "keepdims": True}, X),
    ("peak", {}, X),
    ("matmul", {}, array(3, 4), array(4, 5)),
    ("matmul", {"transpose_b": True}, array(2, 3, 4), array(2, 5, 4)),
    ("matmul", {"transpose_a": True}, array(2, 2, 4, 3), array(2, 2, 4, 5)),
    ("fake_quantize", {"bits": 4}, X, np.array(0.3, np.float32)),
    ("fake_quantize_dynamic", {"bits": 4}, X),
    ("fake_quantize", {"bits": 8, "axis": 1}, X, array(4, low=0.01, high=0.1)),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c[0]}-{c[1]}"[:60])
def test_operator_equals_interpreter(case):
    op, attrs, *arrays = case
    graph = one_node(op, attrs, *arrays)
    expected = interpret(graph, arrays[0])[0]
    block = GraphBlock(graph)
    for hybrid in (False, True):
        block.hybridize(hybrid)
        actual = block(mx.nd.array(arrays[0])).asnumpy()
        assert actual.shape == expected.shape
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


def test_split_equals_interpreter():
    graph = one_node("split", {"axis": 1}, X, outputs=2)
    expected = interpret(graph, X)
    for actual, want in zip(GraphBlock(graph)(mx.nd.array(X)), expected, strict=True):
        np.testing.assert_array_equal(actual.asnumpy(), want)


def test_split_into_one_squeezes():
    graph = one_node("split", {"axis": 1, "squeeze": True}, array(2, 1, 3))
    assert GraphBlock(graph)(mx.nd.ones((2, 1, 3))).shape == (2, 3)


def test_every_operator_is_covered():
    elsewhere = {"split", "quantize", "dequantize", "opaque"}
    assert {case[0] for case in CASES} | elsewhere == set(OPS)


def test_lowered_graph_runs_as_its_simulation():
    codes = RNG.integers(-127, 128, (8, 4, 3, 3)).astype(np.int8)
    nodes = [
        Node("quantize", "q", ["data"], ["q"], {"scale": 0.02}),
        Node("conv2d", "c", ["q", "w", "b"], ["c"], {"act": "relu", "out_scale": 0.05}),
        Node("max_pool", "p", ["c"], ["p"], {"kernel": [2, 2], "stride": [2, 2]}),
        Node("dequantize", "d", ["p"], ["d"]),
    ]
    constants = {"w": Constant(codes, np.full(8, 0.01, np.float32)), "b": Constant(B)}
    graph = Graph([Input("data", (0, 4, 6, 6))], ["d"], nodes, constants)
    expected = interpret(graph, X)[0]
    actual = GraphBlock(graph)(mx.nd.array(X)).asnumpy()
    steps = np.abs(actual - expected) / 0.05
    assert steps.max() < 1.01  # a tie may fall on the other side
    assert (steps > 0.5).mean() < 0.01


class Everything(mx.gluon.HybridBlock):
    """Nested names, a shared layer, a residual add, two outputs, an opaque operator."""

    def __init__(self):
        super().__init__()
        with self.name_scope():
            self.stem = nn.HybridSequential()
            self.stem.add(nn.Conv2D(8, 3, padding=1, in_channels=3), nn.BatchNorm(in_channels=8))
            self.again = nn.Conv2D(8, 3, padding=1, in_channels=8)
            self.up = nn.Conv2DTranspose(4, 2, 2, in_channels=8)
            self.drop = nn.Dropout(0.5)
            self.out = nn.Dense(5, in_units=8)
            self.position = self.params.get("position", shape=(1, 8, 1, 1), init=mx.init.Normal(1))

    def hybrid_forward(self, F, x, position):
        x = F.broadcast_add(F.relu(self.stem(x)), position)
        x = x + self.again(self.again(x))
        x = F.reverse(x, axis=3)
        return self.out(self.drop(F.Pooling(x, global_pool=True, pool_type="avg"))), [self.up(x)]


@pytest.fixture
def net():
    net = Everything()
    net.initialize(mx.init.Normal(0.3))
    for name, parameter in net._collect_params_with_prefix().items():
        if "running" in name:
            parameter.set_data(mx.nd.random.uniform(0.5, 2, shape=parameter.shape))
    return net


def outputs(block, x):
    first, (second,) = block(x)
    return first.asnumpy(), second.asnumpy()


def assert_equal_graphs(one, other):
    assert [i.name for i in one.inputs] == [i.name for i in other.inputs]
    assert one.outputs == other.outputs
    assert one.name == other.name
    for a, b in zip(one.nodes, other.nodes, strict=True):
        assert (a.op, a.name, a.inputs, a.outputs) == (b.op, b.name, b.inputs, b.outputs)
        if a.op == "opaque":
            assert a.attrs["operator"] == b.attrs["operator"]
        else:
            assert vars(OPS[a.op].fill(a.attrs)) == vars(OPS[b.op].fill(b.attrs))
    assert set(one.constants) == set(other.constants)
    for name, constant in one.constants.items():
        np.testing.assert_array_equal(constant.data, other.constants[name].data)
    assert one.meta["outputs"] == other.meta["outputs"]
    assert one.meta.get("dropout") == other.meta.get("dropout")


SHAPE = (2, 3, 6, 6)


def test_rebuilt_network_equals_original(net):
    x = mx.nd.random.normal(shape=SHAPE)
    graph = trace(net, SHAPE)
    block = GraphBlock(graph)
    for hybrid in (False, True):
        block.hybridize(hybrid)
        for actual, expected in zip(outputs(block, x), outputs(net, x), strict=True):
            np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)
    assert_equal_graphs(trace(block, SHAPE), graph)


def test_layers_and_parameters_have_the_original_names(net):
    block = GraphBlock(trace(net, SHAPE))
    original = layers(net)
    assert {n: layer.kind for n, layer in layers(block).items()} == {
        n: layer.kind for n, layer in original.items()
    }
    assert set(block._collect_params_with_prefix()) == set(net._collect_params_with_prefix())


def test_save_and_load_between_original_and_rebuilt(net, tmp_path):
    x = mx.nd.random.normal(shape=SHAPE)
    block = GraphBlock(trace(net, SHAPE))
    for parameter in block.collect_params().values():
        parameter.set_data(parameter.data() * 1.1)
    block.save_parameters(str(tmp_path / "p"))
    net.load_parameters(str(tmp_path / "p"))
    expected = outputs(block, x)
    for actual, want in zip(outputs(net, x), expected, strict=True):
        np.testing.assert_allclose(actual, want, rtol=1e-5, atol=1e-5)
    other = GraphBlock(trace(net, SHAPE))
    other.load_parameters(str(tmp_path / "p"))
    np.testing.assert_array_equal(outputs(other, x)[0], expected[0])


def test_export_and_import(net, tmp_path):
    x = mx.nd.random.normal(shape=SHAPE)
    block = GraphBlock(trace(net, SHAPE))
    block.hybridize()
    expected = outputs(block, x)
    block.export(str(tmp_path / "m"))
    again = mx.gluon.SymbolBlock.imports(
        str(tmp_path / "m-symbol.json"), ["data"], str(tmp_path / "m-0000.params")
    )
    for actual, want in zip(again(x), expected, strict=True):
        np.testing.assert_allclose(actual.asnumpy(), want, rtol=1e-6)


def test_nested_in_another_network(net, tmp_path):
    graph = trace(net, SHAPE)

    class Pair(mx.gluon.HybridBlock):
        def __init__(self):
            super().__init__()
            self.a, self.b = GraphBlock(graph), GraphBlock(graph)

        def hybrid_forward(self, F, x):
            return self.a(x)[0] + self.b(x)[0]

    pair = Pair()
    pair.save_parameters(str(tmp_path / "p"))
    saved = mx.nd.load(str(tmp_path / "p"))
    assert "a.stem.0.weight" in saved
    assert "b.again.bias" in saved
    x = mx.nd.random.normal(shape=SHAPE)
    np.testing.assert_allclose(pair(x).asnumpy(), 2 * net(x)[0].asnumpy(), rtol=1e-4, atol=1e-5)


def test_training_updates_weights_and_running_means(net):
    block = GraphBlock(trace(net, SHAPE))
    block.hybridize()
    before = {n: p.data().asnumpy() for n, p in block._collect_params_with_prefix().items()}
    trainer = mx.gluon.Trainer(block.collect_params(), "sgd", {"learning_rate": 0.1})
    x = mx.nd.random.normal(1, 2, shape=SHAPE)
    with mx.autograd.record():
        first, (second,) = block(x)
        loss = (first**2).sum() + (second**2).sum()
    loss.backward()
    trainer.step(2)
    after = {n: p.data().asnumpy() for n, p in block._collect_params_with_prefix().items()}
    moved = {n for n in before if not np.array_equal(before[n], after[n])}
    assert moved == set(before) - {"position"}  # a constant of the graph, not of a layer
    np.testing.assert_allclose(
        after["stem.1.running_mean"],
        0.9 * before["stem.1.running_mean"] + 0.1 * _mean_of_stem(before, x),
        rtol=1e-3,
        atol=1e-4,
    )


def _mean_of_stem(values, x):
    weight, bias = (mx.nd.array(values[f"stem.0.{n}"]) for n in ("weight", "bias"))
    y = mx.nd.Convolution(x, weight, bias, kernel=(3, 3), pad=(1, 1), num_filter=8)
    return y.asnumpy().mean((0, 2, 3))


def test_dropout_drops_in_training_only(net):
    block = GraphBlock(trace(net, SHAPE))
    x = mx.nd.random.normal(shape=SHAPE)
    same = [block(x)[0].asnumpy() for _ in range(2)]
    np.testing.assert_array_equal(*same)
    with mx.autograd.train_mode():
        differ = [block(x)[0].asnumpy() for _ in range(2)]
    assert not np.array_equal(*differ)


def test_shared_layers_stay_shared(net):
    block = GraphBlock(trace(net, SHAPE))
    assert (
        [s.name for s in block._steps if s.layer is block.again]
        if hasattr(block, "again")
        else True
    )
    convolutions = [s.layer for s in block._steps if s.op == "conv2d"]
    assert len(convolutions) == 3
    assert len({id(layer) for layer in convolutions}) == 2


def test_constant_shared_by_different_layers_is_one_parameter():
    nodes = [
        Node("conv2d", "a", ["data", "w"], ["a"], {"pad": [1] * 4}),
        Node("conv2d", "b", ["a", "w"], ["b"], {"pad": [2] * 4, "dilation": [2, 2]}),
    ]
    graph = Graph([Input("data", (0, 4, 6, 6))], ["b"], nodes, {"w": Constant(array(4, 4, 3, 3))})
    block = GraphBlock(graph)
    assert list(block._collect_params_with_prefix()) == ["w"]
    one, two = (s.layer for s in block._steps)
    assert one is not two
    assert one.weight is two.weight
    actual = block(mx.nd.array(X)).asnumpy()
    np.testing.assert_allclose(actual, interpret(graph, X)[0], rtol=1e-4, atol=1e-4)


def test_rebuilt_network_is_pruned_and_quantized(net, tmp_path):
    block = GraphBlock(trace(net, SHAPE))
    prune(block, sparsity=0.5, layers="*again*")
    assert sparsity(block)["again"] == pytest.approx(0.5, abs=0.01)
    quantize(block, weights=WeightQuantization(8, PerChannel()))
    x = mx.nd.random.normal(shape=SHAPE)
    calibrate(block, [x])
    expected = outputs(block, x)
    again = GraphBlock(trace(block, SHAPE))
    for actual, want in zip(outputs(again, x), expected, strict=True):
        np.testing.assert_allclose(actual, want, rtol=1e-3, atol=1e-3)
    twin = copy.deepcopy(block)
    np.testing.assert_array_equal(outputs(twin, x)[0], expected[0])


def test_masks_are_masks_of_layers_again(net):
    # Not "up": MXNet's Deconvolution has no gradient for a weight that is computed (oneDNN fails).
    prune(net, sparsity=0.6, layers=["stem.0", "again", "out"])
    x = mx.nd.random.normal(shape=SHAPE)
    block = GraphBlock(trace(net, SHAPE))
    np.testing.assert_allclose(outputs(block, x)[0], outputs(net, x)[0], rtol=1e-5, atol=1e-5)
    assert sparsity(block) == sparsity(net)
    assert set(layers(block)) == set(layers(net))
    assert set(block._collect_params_with_prefix()) == set(net._collect_params_with_prefix())
    trainer = mx.gluon.Trainer(block.collect_params(), "adam", {"learning_rate": 0.1})
    for _ in range(2):
        with mx.autograd.record():
            first, (second,) = block(x)
            loss = (first**2).sum() + (second**2).sum()
        loss.backward()
        trainer.step(2)
    assert sparsity(block) == sparsity(net)
    graph = trace(block, SHAPE)
    again = trace(GraphBlock(graph), SHAPE)
    assert [n.op for n in again.nodes] == [n.op for n in graph.nodes]
    assert again.outputs == graph.outputs


def test_masked_weight_that_others_read_too():
    nodes = [
        Node("mul", "m", ["w", "mask"], ["m"]),
        Node("conv2d", "a", ["data", "m"], ["a"], {"pad": [1] * 4}),
        Node("sum", "s", ["m"], ["s"]),
        Node("mul", "y", ["a", "s"], ["y"]),
    ]
    mask = (RNG.random((4, 4, 3, 3)) > 0.5).astype(np.float32)
    constants = {"w": Constant(array(4, 4, 3, 3)), "mask": Constant(mask)}
    graph = Graph([Input("data", (0, 4, 6, 6))], ["y"], nodes, constants)
    block = GraphBlock(graph)
    actual = block(mx.nd.array(X)).asnumpy()
    np.testing.assert_allclose(actual, interpret(graph, X)[0], rtol=1e-3, atol=1e-3)
    assert sparsity(block)["a"] == pytest.approx((mask == 0).mean())


def test_copy_is_independent(net):
    block = GraphBlock(trace(net, SHAPE))
    x = mx.nd.random.normal(shape=SHAPE)
    expected = outputs(block, x)
    twin = copy.deepcopy(block)
    for parameter in twin.collect_params().values():
        parameter.set_data(parameter.data() * 0)
    assert np.abs(outputs(twin, x)[0]).max() == 0
    np.testing.assert_array_equal(outputs(block, x)[0], expected[0])


def test_errors_name_what_is_wrong():
    graph = one_node("relu", {}, X)
    with pytest.raises(ConfigError, match=r"2 inputs given; the network takes \['x0'\]"):
        GraphBlock(graph)(mx.nd.array(X), mx.nd.array(X))
    graph.nodes[0].inputs = ["nowhere"]
    with pytest.raises(GraphError, match="nowhere"):
        GraphBlock(graph)
    with pytest.raises(UnsupportedError, match="operator 'NoSuchOperator' is not registered"):
        GraphBlock(one_node("opaque", {"operator": "NoSuchOperator", "attrs": {}}, X))
    no_input = Graph([], ["c"], [], {"c": Constant(B)})
    with pytest.raises(ConfigError, match="has no inputs"):
        GraphBlock(no_input)
