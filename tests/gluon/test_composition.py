"""Prune, quantize and fine-tune in any order; masks through files, symbols and copies."""

import copy
import itertools

import layer_kinds
import mxnet as mx
import numpy as np
import pytest
from mxnet.gluon import nn

from gluonzip.gluon import (
    GraphBlock,
    calibrate,
    clone,
    import_symbol,
    layers,
    prune,
    quantize,
    sparsity,
    strip,
    trace,
)
from gluonzip.spec import PerChannel, WeightQuantization

RNG = np.random.default_rng(8)
X = mx.nd.array(RNG.standard_normal((16, 3, 8, 8)))
Y = mx.nd.array(RNG.integers(0, 4, 16))
SOFTMAX = mx.gluon.loss.SoftmaxCrossEntropyLoss()
PATTERNS = {"unstructured": {"sparsity": 0.6}, "4x1": {"sparsity": 0.6}, "2:4": {}}


def network():
    mx.random.seed(1)
    net = nn.HybridSequential()
    net.add(nn.Conv2D(8, 3, in_channels=3), nn.BatchNorm(in_channels=8), nn.Activation("relu"))
    net.add(nn.Conv2D(8, 3, in_channels=8), nn.GlobalAvgPool2D(), nn.Dense(4, in_units=8))
    net.initialize(mx.init.Xavier())
    net(X)
    return net


def zeros(net):
    """Layer -> where the weight in use is exactly zero."""
    return {
        name: layer.block.effective_weight().asnumpy() == 0
        if hasattr(layer.block, "effective_weight")
        else layer.block.weight.data().asnumpy() == 0
        for name, layer in layers(net).items()
    }


def fine_tune(net, optimizer="adam", steps=4, **options):
    options = {"learning_rate": 0.02, "wd": 1e-3, **options}
    trainer = mx.gluon.Trainer(net.collect_params(), optimizer, options)
    for _ in range(steps):
        with mx.autograd.record():
            loss = SOFTMAX(net(X), Y)
        loss.backward()
        trainer.step(16)


ORDERS = list(itertools.permutations(["prune", "quantize", "fine-tune"]))


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("hybrid", [False, True])
@pytest.mark.parametrize("order", ORDERS, ids="-".join)
@pytest.mark.filterwarnings("ignore:.*does not divide every layer")
def test_zeros_stay_zero_in_any_order(order, hybrid, pattern):
    net = network()
    net.hybridize(hybrid)
    gone = None
    for step in (*order, "fine-tune"):
        if step == "prune":
            prune(net, pattern=pattern, **PATTERNS[pattern])
            gone = {
                name: layer.block.weight_mask.data().asnumpy() == 0
                for name, layer in layers(net).items()
            }
        elif step == "quantize":
            quantize(net, weights=WeightQuantization(8, PerChannel()), data=[X])
        else:
            before = net[5].weight.data().asnumpy()
            fine_tune(net)
            assert (net[5].weight.data().asnumpy() != before).any()
        if gone is not None:
            for name, now in zeros(net).items():
                assert now[gone[name]].all()
    total = sum(where.sum() for where in gone.values())
    assert total > 0
    found = sparsity(net)
    assert found.total >= total / sum(where.size for where in gone.values())
    strip(net)  # the baked values have them, too
    for name, layer in layers(net).items():
        assert (layer.block.weight.data().asnumpy()[gone[name]] == 0).all()


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "nag", "rmsprop"])
def test_momentum_and_decay_move_nothing_behind_a_mask(optimizer):
    net = network()
    options = {"momentum": 0.9} if optimizer in ("sgd", "nag") else {}
    fine_tune(net, optimizer, **options)
    prune(net, sparsity=0.7)
    gone = zeros(net)
    fine_tune(net, optimizer, steps=8, **options)
    for name, where in gone.items():
        assert zeros(net)[name][where].all()


def test_sparsity_counts_values_not_intentions():
    net = network()
    prune(net, sparsity=0.5, layers="0")
    net[0].weight_mask.set_data(mx.nd.ones((8, 3, 3, 3)))  # somebody opens the mask
    net[0].weight.set_data(mx.nd.ones((8, 3, 3, 3)))
    net[3].weight.set_data(mx.nd.zeros((8, 8, 3, 3)))  # and zeros without one count
    found = sparsity(net)
    assert found["0"] == 0
    assert found["3"] == 1
    quantize(net, activations=None)
    net[5].weight.data()[0, 0] = 1000  # all others round to 0
    assert sparsity(net)["5"] == 31 / 32


# ---------------------------------------------------------------- every kind of layer
def masked(kind, seed=0):
    net, x = layer_kinds.layer_network(kind, seed)
    prune(net, sparsity=0.5)
    return net, x


def masks(net):
    (layer,) = layers(net).values()
    return {a: layer.block._reg_params[m].data().asnumpy() for a, m in layer.block._masks.items()}


def trained(net, x):
    """One hard push against the masks."""
    trainer = mx.gluon.Trainer(net.collect_params(), "adam", {"learning_rate": 0.1})
    with mx.autograd.record():
        loss = (net(x) ** 2).sum()
    loss.backward()
    trainer.step(1)
    return net


def assert_held(net, expected):
    assert set(masks(net)) == set(expected)
    for attribute, mask in expected.items():
        np.testing.assert_array_equal(masks(net)[attribute], mask)
        (layer,) = layers(net).values()
        assert (layer.block.effective_weight(attribute).asnumpy()[mask == 0] == 0).all()


@pytest.mark.parametrize("kind", layer_kinds.KINDS)
def test_masks_survive_files(kind, tmp_path):
    net, x = masked(kind)
    net.save_parameters(str(tmp_path / "net.params"))
    again, _ = masked(kind, seed=9)
    again.load_parameters(str(tmp_path / "net.params"))
    assert_held(trained(again, x), masks(net))


@pytest.mark.parametrize("copied", [copy.deepcopy, clone], ids=["deepcopy", "clone"])
@pytest.mark.parametrize("kind", layer_kinds.KINDS)
def test_masks_survive_copies(kind, copied):
    net, x = masked(kind)
    twin = copied(net)
    assert_held(twin, masks(net))
    np.testing.assert_array_equal(twin(x).asnumpy(), net(x).asnumpy())
    if copied is clone:  # deepcopy loses gradients in MXNet itself
        assert_held(trained(twin, x), masks(net))
    assert_held(net, masks(net))


@pytest.mark.parametrize("kind", layer_kinds.KINDS)
def test_masks_survive_hybridizing_and_training(kind):
    net, x = masked(kind)
    expected = masks(net)
    net.hybridize(static_alloc=True, static_shape=True)
    net(x)
    assert_held(trained(net, x), expected)


@pytest.mark.parametrize("kind", layer_kinds.KINDS)
def test_masks_survive_export_and_import(kind, tmp_path):
    net, x = masked(kind)
    expected = net(x).asnumpy()
    net.hybridize()
    net(x)
    net.export(str(tmp_path / "net"))
    files = (tmp_path / "net-symbol.json", tmp_path / "net-0000.params")
    again = import_symbol(*map(str, files), {"data": x.shape})
    assert isinstance(again, GraphBlock)
    again.hybridize(kind in ("LSTM", "GRU"))  # MXNet infers their states' shapes only then
    np.testing.assert_allclose(again(x).asnumpy(), expected, rtol=1e-5, atol=1e-6)
    if again._children:
        assert sparsity(again).total == pytest.approx(sparsity(net).total)
        first = zeros(again)
        trained(again, x)
        assert all(zeros(again)[name][where].all() for name, where in first.items())
    else:  # an operator without a row in the op table keeps its parameters, and they are frozen
        parameters = again._collect_params_with_prefix()
        assert {p.grad_req for p in parameters.values()} == {"null"}
        mask = next(p for name, p in parameters.items() if name.endswith("_mask"))
        np.testing.assert_array_equal(mask.data().asnumpy(), next(iter(masks(net).values())))


def test_masks_survive_the_road_to_the_graph_and_back():
    net = network()
    prune(net, sparsity=0.6)
    quantize(net, data=[X])
    again = GraphBlock(trace(net, X.shape))
    np.testing.assert_allclose(again(X).asnumpy(), net(X).asnumpy(), rtol=1e-4, atol=1e-5)
    found, expected = sparsity(again), sparsity(net)
    assert found.total == pytest.approx(expected.total)
    before = zeros(again)
    fine_tune(again)
    for name, where in before.items():
        assert zeros(again)[name][where].all()


@pytest.mark.parametrize("kind", ["Dense", "Conv2D", "Conv2DTranspose"])
def test_calibration_leaves_masks_alone(kind):
    net, x = masked(kind)
    expected = masks(net)
    quantize(net)
    calibrate(net, [x])
    assert_held(net, expected)
