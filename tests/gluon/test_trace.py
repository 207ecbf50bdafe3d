"""What a trace contains: names, structure, compressed layers, opaque operators, errors."""

import mxnet as mx
import numpy as np
import pytest
from mxnet.gluon import nn, rnn

from gluonzip.errors import ConfigError, DataError, ShapeError, TraceError
from gluonzip.gluon import prune, quantize, trace, trace_symbol
from gluonzip.graph import interpret, validate
from gluonzip.spec import PerChannel, WeightQuantization

rng = np.random.default_rng(0)


def network():
    mx.random.seed(1)
    net = nn.HybridSequential()
    net.add(
        nn.Conv2D(4, 3, activation="relu"),
        nn.BatchNorm(),
        nn.MaxPool2D(2),
        nn.Dropout(0.5),
        nn.Dense(5),
    )
    net.initialize(mx.init.Xavier())
    return net


class Fn(mx.gluon.HybridBlock):
    """A block around a function of F and its inputs."""

    def __init__(self, function, **children):
        super().__init__()
        self._function = function
        with self.name_scope():
            for name, child in children.items():
                setattr(self, name, child)

    def hybrid_forward(self, F, *inputs):
        return self._function(F, self, *inputs)


def close(got, expected):
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6 + 1e-5 * np.abs(expected).max())


# ---------------------------------------------------------------- plain networks
@pytest.mark.parametrize("cls", [nn.HybridSequential, nn.Sequential])
def test_a_network_of_deferred_shapes(cls):
    net = cls()
    net.add(nn.Conv2D(4, 3), nn.Dense(5))
    net.initialize()
    graph = trace(net, (1, 2, 8, 8))
    x = rng.standard_normal((3, 2, 8, 8)).astype("float32")
    close(interpret(graph, x)[0], net(mx.nd.array(x)).asnumpy())
    assert [n.name for n in graph.nodes] == ["0", "1"]
    assert set(graph.constants) == {"0.weight", "0.bias", "1.weight", "1.bias"}
    assert graph.meta["outputs"] == 0
    assert graph.meta["network"] == cls.__name__


def test_batch_norm_with_a_fixed_gamma():
    net = nn.BatchNorm(scale=False, in_channels=3)
    net.initialize()
    net.gamma.set_data(mx.nd.full((3,), 7))  # which MXNet ignores
    net.running_var.set_data(mx.nd.array([1, 2, 3]))
    graph = trace(net, (1, 3, 4, 4))
    x = rng.standard_normal((2, 3, 4, 4)).astype("float32")
    close(interpret(graph, x)[0], net(mx.nd.array(x)).asnumpy())
    assert graph.constants["gamma"].data.tolist() == [1, 1, 1]


def test_symbol_block_and_symbol_agree_with_the_network(tmp_path):
    net = network()
    x = mx.nd.array(rng.standard_normal((2, 3, 9, 9)))
    net.hybridize()
    expected = net(x).asnumpy()
    net.export(str(tmp_path / "net"))
    files = str(tmp_path / "net-symbol.json"), str(tmp_path / "net-0000.params")
    block = mx.gluon.SymbolBlock.imports(files[0], ["data"], files[1])
    close(interpret(trace(block, (1, 3, 9, 9)), x.asnumpy())[0], expected)
    graph = trace_symbol(mx.sym.load(files[0]), mx.nd.load(files[1]), {"data": (1, 3, 9, 9)})
    close(interpret(graph, x.asnumpy())[0], expected)
    assert graph.nodes[0].inputs[1] == f"{graph.nodes[0].name}_weight"


def test_a_legacy_symbol_with_a_label():
    data = mx.sym.var("data")
    symbol = mx.sym.SoftmaxOutput(mx.sym.FullyConnected(data, num_hidden=3, name="fc"), name="out")
    params = {"arg:fc_weight": mx.nd.random.normal(shape=(3, 4)), "arg:fc_bias": mx.nd.zeros(3)}
    graph = trace_symbol(symbol, params, {"data": (1, 4)})
    x = rng.standard_normal((2, 4)).astype("float32")
    y = x @ params["arg:fc_weight"].asnumpy().T
    close(interpret(graph, x)[0], np.exp(y) / np.exp(y).sum(1, keepdims=True))
    with pytest.raises(TraceError, match=r"variable 'fc_bias', read by 'fc', is neither an input"):
        trace_symbol(symbol, {"fc_weight": params["arg:fc_weight"]}, {"data": (1, 4)})


def test_nested_outputs_keep_order_and_structure():
    def several(F, block, a, b):
        parts = F.split(a, num_outputs=2, axis=1)
        return b, (parts, a + b), [F.relu(a)]

    net = Fn(several)
    graph = trace(net, (1, 4), (1, 4), names=["a", "b"])
    assert [i.name for i in graph.inputs] == ["a", "b"]
    assert graph.meta["outputs"] == [0, [[1, 2], 3], [4]]
    a, b = (rng.standard_normal((3, 4)).astype("float32") for _ in range(2))
    got = interpret(graph, {"a": a, "b": b})
    for value, expected in zip(got, [b, a[:, :2], a[:, 2:], a + b, np.maximum(a, 0)], strict=True):
        np.testing.assert_array_equal(value, expected)


def test_shared_layers_share_constants():
    layer = nn.Dense(4, in_units=4)
    net = nn.HybridSequential()
    net.add(layer, layer)
    net.initialize()
    graph = trace(net, (1, 4))
    validate(graph)
    assert [n.name for n in graph.nodes] == ["0", "0_1"]
    assert set(graph.constants) == {"0.weight", "0.bias"}


def test_an_unknown_operator_becomes_opaque():
    net = Fn(lambda F, block, x: F.relu(F.sort(F.relu(x), axis=1, is_ascend=False)))
    graph = trace(net, (1, 4))
    (node,) = [n for n in graph.nodes if n.op == "opaque"]
    assert node.attrs["operator"] == "sort"
    assert node.attrs["attrs"] == {"axis": "1", "is_ascend": "False"}
    assert [n.op for n in graph.nodes] == ["relu", "opaque", "relu"]


def test_a_use_that_the_table_cannot_express_becomes_opaque():
    net = nn.Conv3D(2, 3, dilation=(2, 1, 1), in_channels=2)
    net.initialize()
    graph = trace(net, (1, 2, 5, 5, 5))
    assert graph.nodes[0].attrs["operator"] == "Convolution"
    assert graph.nodes[0].inputs == ["data", "weight", "bias"]


def test_recurrent_layers_become_opaque_with_their_inputs():
    net = rnn.LSTM(3, input_size=4)
    net.initialize()
    graph = trace(net, (5, 1, 4))
    assert "RNN" in {n.attrs.get("operator") for n in graph.nodes}


# ---------------------------------------------------------------- compressed networks
@pytest.mark.parametrize("per_channel", [False, True])
def test_a_compressed_network_traces_to_masks_and_fake_quantizers(per_channel, tmp_path):
    net = network()
    x = mx.nd.array(rng.standard_normal((4, 3, 9, 9)))
    net(x)
    prune(net, sparsity=0.5)
    what = WeightQuantization(bits=6, **({"granularity": PerChannel()} if per_channel else {}))
    quantize(net, weights=what, data=[x])
    graph = trace(net, (1, 3, 9, 9))
    validate(graph)
    ops = [n.op for n in graph.nodes]
    assert ops.count("fake_quantize") == 4
    assert ops.count("mul") == 2
    assert "opaque" not in ops
    by_name = {n.name: n for n in graph.nodes}
    assert by_name["0"].inputs == ["0.input", "0.weight.quantized", "0.bias"]
    assert by_name["0.weight.quantized"].attrs == {"bits": 6, "axis": 0}
    w = net[0].weight.data().asnumpy()
    peak = np.abs(w).max(axis=(1, 2, 3)) if per_channel else np.abs(w).max()
    expected = (peak / np.float32(31)).astype("float32")
    np.testing.assert_array_equal(graph.constants["0.weight_scale"].data, expected)
    scale = graph.constants["4.input_scale"].data
    assert scale.shape == ()
    assert by_name["4.input"].attrs == {"bits": 8, "axis": 0, "unsigned": True}
    assert scale == -net[4].input_scale.data().asscalar()
    close(interpret(graph, x.asnumpy())[0], net(x).asnumpy())

    net.hybridize()
    net(x)
    net.export(str(tmp_path / "net"))
    files = (str(tmp_path / "net-symbol.json"), ["data"], str(tmp_path / "net-0000.params"))
    again = trace(mx.gluon.SymbolBlock.imports(*files), (1, 3, 9, 9))
    assert [n.op for n in again.nodes] == ops
    np.testing.assert_array_equal(
        interpret(again, x.asnumpy())[0], interpret(graph, x.asnumpy())[0]
    )


def test_simulated_codes_are_the_graphs_codes():
    """Effective weights in MXNet and fake-quantized weights in the graph, to the bit."""
    net = network()
    x = mx.nd.array(rng.standard_normal((4, 3, 9, 9)))
    net(x)
    prune(net, sparsity=0.3)
    quantize(net, data=[x])
    graph = trace(net, (1, 3, 9, 9))
    names = ("0.weight.quantized", "4.weight.quantized", "0.input")
    _, kept = interpret(graph, x.asnumpy(), keep=names)
    for index in (0, 4):
        np.testing.assert_array_equal(
            kept[f"{index}.weight.quantized"], net[index].effective_weight().asnumpy()
        )


def test_an_uncalibrated_network_does_not_trace():
    net = network()
    net(mx.nd.zeros((1, 3, 9, 9)))
    quantize(net)
    with pytest.raises(DataError, match=r"layer '0' .* call gluonzip.gluon.calibrate"):
        trace(net, (1, 3, 9, 9))


# ---------------------------------------------------------------- errors
def test_shape_in_the_forward_names_child_line_and_remedy():
    bad = Fn(lambda F, block, x: x.reshape((x.shape[0], -1)))
    net = nn.HybridSequential()
    net.add(nn.Dense(3, in_units=4), Fn(lambda F, block, x: block.inner(x), inner=bad))
    net.initialize()
    with pytest.raises(TraceError) as caught:
        trace(net, (1, 4))
    message = str(caught.value)
    assert "child '1.inner' (Fn)" in message
    assert "'Symbol' object has no attribute 'shape' (test_trace.py:" in message
    assert "instead of x.shape" in message
    assert not net._forward_hooks
    assert not net[0]._forward_pre_hooks


def test_array_functions_on_symbols():
    class Plain(mx.gluon.Block):
        def forward(self, x):
            return mx.nd.relu(x)

    net = nn.Sequential()
    net.add(Plain())
    with pytest.raises(TraceError, match=r"child '0' \(Plain\) .* not through mx.nd"):
        trace(net, (1, 4))


def test_control_flow_on_values():
    class Plain(mx.gluon.Block):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    with pytest.raises(TraceError, match=r"its own forward .* make the block a HybridBlock"):
        trace(Plain(), (1, 4))


def test_outputs_that_are_not_symbols():
    class Plain(mx.gluon.Block):
        def forward(self, x):
            return mx.nd.ones((2,))

    with pytest.raises(TraceError, match="returned a NDArray when called with symbols"):
        trace(Plain(), (1, 4))


def test_parameters_without_values():
    net = nn.HybridSequential()
    net.add(nn.Dense(3, in_units=4))
    with pytest.raises(DataError, match=r"parameter '0.weight' is not initialized; call"):
        trace(net, (1, 4))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_parameters_that_are_not_finite(value):
    net = network()
    net(mx.nd.zeros((1, 3, 9, 9)))
    net[0].bias.set_data(mx.nd.array([0, value, 0, 0]))
    with pytest.raises(DataError, match=r"parameter '0.bias' holds 1 values that are not finite"):
        trace(net, (1, 3, 9, 9))


@pytest.mark.parametrize("deferred", [True, False])
def test_shapes_that_the_network_does_not_accept(deferred):
    net = network()
    if not deferred:
        net(mx.nd.zeros((1, 3, 9, 9)))
    with pytest.raises(ShapeError, match="the network does not accept"):
        trace(net, (1, 3, 2, 2))


def test_bad_arguments():
    net = network()
    with pytest.raises(ConfigError, match="needs the shape of each input"):
        trace(net)
    with pytest.raises(ConfigError, match=r"tuple of positive integers, got \(0, 3\)"):
        trace(net, (0, 3))
    with pytest.raises(ConfigError, match="got 224"):
        trace(net, 224)
    with pytest.raises(ConfigError, match="need 1 different names"):
        trace(net, (1, 3, 9, 9), names=["a", "b"])
    with pytest.raises(TraceError, match="needs a gluon Block, got a Symbol"):
        trace(mx.sym.var("x"), (1,))
    with pytest.raises(TraceError, match="its own forward failed"):
        trace(net, (1, 3, 9, 9), (1, 3))
