"""SymbolBlocks inside networks become Gluon layers, and nothing else changes."""

import mxnet as mx
import numpy as np
import pytest
from mxnet.gluon import nn

from gluonzip.errors import ConfigError
from gluonzip.gluon import GraphBlock, expand_symbols, layers, prune, quantize

SHAPE = (2, 3, 16, 16)


class Detector(nn.HybridBlock):
    """A feature extractor that is a symbol with two outputs, as GluonCV's, and a head of layers."""

    def __init__(self, **batch_norm):
        super().__init__()
        with self.name_scope():
            base = nn.HybridSequential()
            with base.name_scope():
                base.add(nn.Conv2D(8, 3, padding=1, in_channels=3), nn.BatchNorm(**batch_norm))
                base.add(nn.Activation("relu"), nn.Conv2D(12, 3, 2, 1), nn.Activation("relu"))
            base.initialize(mx.init.Xavier())
            base(mx.nd.zeros(SHAPE))
            x = mx.sym.var("data")
            inner = base(x).get_internals()
            first = next(n for n in inner.list_outputs() if "relu0" in n and n.endswith("output"))
            outputs = [inner[first], base(x)]
            self.features = mx.gluon.SymbolBlock(outputs, [x], params=base.collect_params())
            self.heads = nn.HybridSequential()
            self.heads.add(nn.Conv2D(2, 3, padding=1), nn.Conv2D(2, 3, padding=1))

    def hybrid_forward(self, F, x):
        return [head(y) for head, y in zip(self.heads, self.features(x), strict=True)]


def network(**batch_norm):
    mx.random.seed(3)
    net = Detector(**batch_norm)
    net.heads.initialize(mx.init.Xavier())
    net(mx.nd.zeros(SHAPE))
    return net


def images():
    return mx.nd.array(np.random.RandomState(0).randn(*SHAPE).astype("f"))


def train_step(net):
    """Outputs in training, and gradients and running statistics after them, by parameter."""
    with mx.autograd.record():
        outputs = net(images())
        loss = sum((y * y).sum() for y in outputs)
    loss.backward()
    parameters = net._collect_params_with_prefix()
    gradients = {n: p.grad().asnumpy() for n, p in parameters.items() if p.grad_req != "null"}
    running = {n: p.data().asnumpy() for n, p in parameters.items() if "running" in n}
    return [y.asnumpy() for y in outputs], {**gradients, **running}


def assert_same(found, expected):
    for a, b in zip(found[0], expected[0], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    assert found[1].keys() == expected[1].keys()
    for name, value in expected[1].items():
        np.testing.assert_allclose(found[1][name], value, rtol=1e-3, atol=1e-4, err_msg=name)


@pytest.mark.parametrize("hybrid", [False, True])
@pytest.mark.parametrize("batch_norm", [{}, {"momentum": 0.5}, {"use_global_stats": True}])
def test_trains_as_before(hybrid, batch_norm):
    plain, net = network(**batch_norm), network(**batch_norm)
    if hybrid:
        plain.hybridize()
        net.hybridize()
    before = [y.asnumpy() for y in net(images())]
    replaced = expand_symbols(net, SHAPE)
    assert list(replaced) == ["features"]
    assert net.features is replaced["features"] is net._children["features"]
    for a, b in zip(net(images()), before, strict=True):
        np.testing.assert_allclose(a.asnumpy(), b, rtol=1e-5, atol=1e-6)
    assert_same(train_step(net), train_step(plain))


def test_every_layer_can_be_compressed():
    net = network()
    assert "expand_symbols" in layers(net)["features"].obstacle
    expand_symbols(net, SHAPE)
    pruned = prune(net, sparsity=0.5)
    quantized = quantize(net, data=images())
    assert len(pruned) == 4
    assert all(record.compressed for record in (*pruned.values(), *quantized.values()))
    train_step(net)  # masks and scales in training


def test_parameter_files_fit_both_forms(tmp_path):
    plain, net = network(), network()
    expand_symbols(net, SHAPE)
    net.save_parameters(str(tmp_path / "expanded.params"))
    plain.load_parameters(str(tmp_path / "expanded.params"))
    plain.save_parameters(str(tmp_path / "plain.params"))
    net.load_parameters(str(tmp_path / "plain.params"))
    assert_same(train_step(net), train_step(plain))


def test_settings_of_parameters_stay():
    net = network()
    features = net.features.collect_params()
    names = list(features)
    features[names[0]].lr_mult = 0.1
    features[names[0]].wd_mult = 0.0
    features[names[1]].grad_req = "null"
    expand_symbols(net, SHAPE)
    after = net.features.collect_params()
    assert sorted(after) == sorted(names)
    assert (after[names[0]].lr_mult, after[names[0]].wd_mult) == (0.1, 0.0)
    assert after[names[1]].grad_req == "null"


def test_several_devices():
    contexts = [mx.cpu(0), mx.cpu(1)]
    net = network()
    net.collect_params().reset_ctx(contexts)
    expand_symbols(net, SHAPE)
    for parameter in net.collect_params().values():
        assert parameter.list_ctx() == contexts
    quantize(net, data=images())
    here, there = (net(images().as_in_context(ctx))[0].asnumpy() for ctx in contexts)
    np.testing.assert_array_equal(here, there)


def test_nothing_to_replace():
    net = nn.HybridSequential()
    net.add(nn.Dense(2))
    assert expand_symbols(net, (1, 4)) == {}


def test_refusals():
    net = network()
    with pytest.raises(ConfigError, match="itself a SymbolBlock"):
        expand_symbols(net.features, SHAPE)
    with pytest.raises(ConfigError, match="needs the shape of each input"):
        expand_symbols(net)
    idle = nn.HybridLambda("relu")
    idle.spare = net.features
    with pytest.raises(ConfigError, match="'spare' is not used by a call"):
        expand_symbols(idle, SHAPE)
    assert not isinstance(net.features, GraphBlock)
