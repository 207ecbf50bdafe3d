"""diagnose() on Gluon networks: every figure against an independent formula."""

import json
import math
import sys

import mxnet as mx
import numpy as np
import pytest
from mxnet.gluon import nn, rnn

from gluonzip.auto import diagnose
from gluonzip.errors import ConfigError, DataError, PatternError, ShapeError
from gluonzip.gluon import clone, prune, quantize
from gluonzip.spec import ActivationQuantization, PerChannel, WeightQuantization

X = np.random.default_rng(3).normal(size=(70, 3, 8, 8)).astype("float32")
NAMES = ["0", "2", "5", "7"]


def network():
    mx.random.seed(11)
    net = nn.HybridSequential()
    net.add(
        nn.Conv2D(8, 3, padding=1),
        nn.Activation("relu"),
        nn.Conv2D(12, 3, padding=1, use_bias=False),
        nn.BatchNorm(),
        nn.Activation("relu"),
        nn.Dense(20),
        nn.Activation("relu"),
        nn.Dense(5),
    )
    net.initialize(mx.init.Xavier())
    with mx.autograd.record():  # running statistics of their own
        net(mx.nd.array(X))
    net.hybridize()
    return net


def inputs_of(net, x=X):
    """The dense network's input of each layer, by MXNet itself."""
    found, value = {}, mx.nd.array(x)
    for name, block in net._children.items():
        found[name] = value
        value = block(value)
    return found


def sqnr(d, c):
    d, c = d.astype("float64"), c.astype("float64")
    return 10 * math.log10((d**2).sum() / ((d - c) ** 2).sum())


def cosine(d, c):
    d, c = d.astype("float64").ravel(), c.astype("float64").ravel()
    return d @ c / np.linalg.norm(d) / np.linalg.norm(c)


@pytest.fixture(scope="module")
def dense():
    return network()


@pytest.fixture(scope="module")
def small(dense):
    net = clone(dense)
    prune(net, sparsity=0.5, layers="2")
    quantize(net, data=X[:20], weights=WeightQuantization(granularity=PerChannel()))
    return net


@pytest.fixture(scope="module")
def found(dense, small):
    return diagnose(dense, small, X)


def test_introduced_is_the_layer_fed_with_the_dense_input(found, dense, small):
    for name, x in inputs_of(dense).items():
        if name in NAMES:
            expected, got = dense[int(name)](x).asnumpy(), small[int(name)](x).asnumpy()
            assert found[name].introduced.sqnr == pytest.approx(sqnr(expected, got), abs=0.02)
            assert found[name].introduced.cosine == pytest.approx(cosine(expected, got), abs=1e-6)


def test_accumulated_is_the_layer_as_it_runs(found, dense, small):
    copies = dense, small
    for name in NAMES:
        d, c = (net[int(name)](inputs_of(net)[name]).asnumpy() for net in copies)
        assert found[name].accumulated.sqnr == pytest.approx(sqnr(d, c), abs=1e-3)
        assert found[name].accumulated.cosine == pytest.approx(cosine(d, c), abs=1e-6)
    d, c = (net(mx.nd.array(X)).asnumpy() for net in copies)
    (quality,) = found.outputs.values()
    assert quality.sqnr == pytest.approx(sqnr(d, c), abs=1e-3)
    assert quality.cosine == pytest.approx(cosine(d, c), abs=1e-6)


def test_weight_errors(found, dense, small):
    for name in NAMES:
        d = dense[int(name)].weight.data().asnumpy()
        c = small[int(name)].effective_weight().asnumpy()
        weight = found[name].weight
        assert weight.quality.sqnr == pytest.approx(sqnr(d, c), abs=1e-3)
        assert weight.sparsity == pytest.approx((c == 0).mean())
        assert (weight.bits, weight.values) == (8, d.size)
        assert weight.narrowest == 1.0  # each channel has its own scale


def test_clipping_is_counted_on_the_dense_activations(found, dense, small):
    for name in NAMES:
        scale = abs(small[int(name)].input_scale.data().asscalar())
        x = np.abs(inputs_of(dense)[name].asnumpy())
        given = found[name].input
        assert given.unsigned is bool(inputs_of(dense)[name].min().asscalar() >= 0)
        low, high = (0, 255) if given.unsigned else (-127, 127)
        assert given.used == pytest.approx(x.max() / scale / high, rel=1e-6)
        assert given.saturated == pytest.approx((x / scale > high + 0.5).mean())
        codes = np.clip(np.rint(inputs_of(dense)[name].asnumpy() / scale), low, high)
        expected = sqnr(inputs_of(dense)[name].asnumpy(), codes * scale)
        assert given.quality.sqnr == pytest.approx(expected, abs=0.01)
    assert found["0"].input.saturated > 0  # calibrated on less data than it runs on


def test_worst_layer_first_and_the_order_is_kept(found):
    ranks = [layer.rank for layer in found.layers]
    assert ranks == sorted(ranks)
    assert [layer.name for layer in found.in_order()] == NAMES == list(found.order)
    assert found.layers[0].name == "2"
    assert found.rows == 70
    assert any(line.startswith("2: ") and "50 % zeros" in line for line in found.advice)


def test_parts_and_batches_change_nothing(found, dense, small, monkeypatch):
    monkeypatch.setattr(sys.modules["gluonzip.auto.diagnose"], "MEMORY", 2**19)
    labelled = [(mx.nd.array(X[:33]), mx.nd.zeros(33)), (X[33:].astype("float64"), np.zeros(37))]
    again = diagnose(dense, small, labelled)
    for name in NAMES:
        for kind in ("introduced", "accumulated"):
            first, second = (getattr(d[name], kind).sqnr for d in (found, again))
            assert second == pytest.approx(first, abs=1e-3)


def test_samples_stop_the_data(dense, small):
    assert diagnose(dense, small, X, samples=10).rows == 10
    assert diagnose(dense, small, X[:10])["7"].accumulated.sqnr == pytest.approx(
        diagnose(dense, small, X, samples=10)["7"].accumulated.sqnr
    )


def test_equal_networks(dense):
    same = diagnose(dense, clone(dense), X)
    assert all(layer.accumulated.sqnr == math.inf for layer in same.layers)
    assert all(layer.introduced.sqnr > 100 for layer in same.layers)  # float32, other order of sums
    assert same.advice == ()
    assert "equal" in same.to_text()


# ---------------------------------------------------------------- the broken layer comes first
@pytest.mark.parametrize("name", NAMES)
def test_a_scale_too_small_is_found(dense, name):
    net = clone(dense)
    quantize(net, data=X)
    scale = net[int(name)].input_scale
    scale.set_data(scale.data() / 20)
    found = diagnose(dense, net, X)
    assert found.layers[0].name == name
    assert found.layers[0].input.saturated > 0.05
    assert found.advice[0].startswith(f"{name}: ")
    assert "clipped" in found.advice[0]


@pytest.mark.parametrize("name", NAMES)
def test_a_layer_at_two_bits_is_found(dense, name):
    net = clone(dense)
    quantize(net, data=X)
    quantize(net, weights=WeightQuantization(bits=2), layers=name, data=X)
    found = diagnose(dense, net, X)
    assert found.layers[0].name == name
    assert found.layers[0].weight.bits == 2
    assert found.advice[0].startswith(f"{name}: ")
    assert "bit" in found.advice[0]


@pytest.mark.parametrize("name", NAMES)
def test_a_zeroed_channel_is_found(dense, name):
    net = clone(dense)
    quantize(net, data=X)
    weight = net[int(name)].weight
    weight.set_data(weight.data() * mx.nd.array(np.arange(len(weight.data())) != 3).reshape(
        (-1,) + (1,) * (weight.data().ndim - 1)))  # fmt: skip
    found = diagnose(dense, net, X)
    assert found.layers[0].name == name
    assert found.layers[0].dead == (3,)
    assert any(line.startswith(f"{name}: 1 of ") for line in found.advice)


def test_channels_far_apart_ask_for_scales_of_their_own(dense):
    wide = clone(dense)
    weight = wide[2].weight
    weight.set_data(weight.data() * mx.nd.array(np.geomspace(1, 1e-3, 12)).reshape((-1, 1, 1, 1)))
    net = clone(wide)
    quantize(net, data=X)
    layer = diagnose(wide, net, X)["2"]
    codes = np.abs(net[2].effective_weight().asnumpy()).reshape(12, -1).max(axis=1)
    scale = codes.max() / 127
    used = np.rint(codes / scale)
    assert layer.weight.narrowest == pytest.approx(used[used > 0].min() / 127)


def test_a_range_too_wide_is_told(dense):
    net = clone(dense)
    quantize(net, data=X)
    net[5].input_scale.set_data(net[5].input_scale.data() * 30)
    found = diagnose(dense, net, X)
    assert found.layers[0].name == "5"
    assert found.layers[0].input.used == pytest.approx(1 / 30, rel=1e-3)
    assert "quantizer's range" in found.advice[0]


def test_values_that_are_lost_come_first(dense):
    net = clone(dense)
    net[5].bias.set_data(mx.nd.full(20, 3e38))
    net[5].weight.set_data(net[5].weight.data() * 1e38)
    found = diagnose(dense, net, X)
    assert found.layers[0].name == "5"
    assert found.layers[0].accumulated.sqnr == -math.inf
    assert "not finite" in found.advice[0]
    assert json.loads(found.to_json())["layers"][0]["accumulated"]["sqnr"] == "-inf"


# ---------------------------------------------------------------- what cannot be compared
def test_recurrent_layers_are_compared_as_they_run():
    def build():
        net = nn.HybridSequential()
        net.add(rnn.LSTM(6, layout="NTC"), nn.Dense(4))
        return net

    mx.random.seed(2)
    dense = build()
    dense.initialize(mx.init.Xavier())
    x = X.reshape(70, 24, 8)
    dense(mx.nd.array(x))
    small = clone(dense)
    quantize(small, weights=WeightQuantization(bits=3), activations=None)
    found = diagnose(dense, small, x)
    layer = next(layer for layer in found.layers if layer.op == "opaque")
    assert layer.introduced is None
    assert "cannot run alone: operator 'RNN'" in layer.note
    assert 0 < layer.accumulated.sqnr < 40


def test_layers_of_other_shapes_are_listed_with_the_reason(dense):
    other = network()
    wide = nn.HybridSequential()
    wide.add(*other._children.values())
    wide._children["0"] = nn.Conv2D(16, 3, padding=1)
    wide._children["2"] = nn.Conv2D(12, 3, padding=1, use_bias=False)
    wide._children["0"].initialize()
    wide._children["2"].initialize()
    found = diagnose(dense, wide, X)
    assert set(found.skipped) == {"0"}
    assert found.skipped["0"] == (
        "its output is (1, 8, 8, 8) in the dense network, (1, 16, 8, 8) in the compressed one"
    )
    assert found["2"].note.startswith("cannot run alone")
    with pytest.raises(KeyError, match="its output is"):
        found["0"]


def test_networks_of_other_kinds_are_refused(dense):
    other = nn.HybridSequential(prefix="other_")
    with other.name_scope():
        other.add(nn.Flatten(), nn.HybridSequential())
        other[1].add(nn.Dense(5))
    other.initialize()
    other(mx.nd.array(X))
    with pytest.raises(ConfigError, match=r"no layer in common.*1\.0: the dense network has no"):
        diagnose(dense, other, X)
    two = mx.gluon.SymbolBlock(
        mx.sym.Group([mx.sym.relu(mx.sym.var("data")), mx.sym.tanh(mx.sym.var("data"))]),
        mx.sym.var("data"),
    )
    with pytest.raises(ConfigError, match="has 1 outputs, the compressed one 2"):
        diagnose(dense, two, X)
    with pytest.raises(ConfigError, match="the compressed network is a dict; give a Gluon network"):
        diagnose(dense, {}, X)


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        ([], DataError, "no batches"),
        (np.where(X > 2, np.nan, X), DataError, "batch 0 of the data has .* not finite"),
        ([X[:2], np.full((2, 3, 8, 8), np.inf, "float32")], DataError, "batch 1 of the data"),
        (X[:0], DataError, "no batches"),
        ([X[:0]], DataError, r"batch 0 of the data is empty \(shape \(0, 3, 8, 8\)\)"),
        (["word"], DataError, "batch 0 of the data is a str"),
        (7, DataError, "got a int"),
        (X[:, :2], ShapeError, "does not accept inputs of shapes|given input shapes"),
        (
            [X[:2], X[:2, :, :5]],
            ShapeError,
            r"the data does not fit the dense network: .*\(2, 3, 5",
        ),
        ([(X[:3], np.zeros(2))], DataError, "3 samples, 2 labels"),
    ],
)
def test_unusable_data(dense, small, data, error, message):
    with pytest.raises(error, match=message):
        diagnose(dense, small, data)


def test_unusable_arguments(dense, small):
    with pytest.raises(PatternError, match="layer pattern 'conv\\*' matches nothing; layers: 0, 2"):
        diagnose(dense, small, X, layers="conv*")
    with pytest.raises(ConfigError, match="samples = 0"):
        diagnose(dense, small, X, samples=0)
    assert [layer.name for layer in diagnose(dense, small, X, layers=["5", "7"]).in_order()] == [
        "5",
        "7",
    ]


def test_a_dense_network_that_overflows_cannot_be_compared_with(dense):
    broken = clone(dense)
    broken[5].weight.set_data(broken[5].weight.data() * 1e38)
    broken[5].bias.set_data(mx.nd.full(20, 3e38))
    with pytest.raises(DataError, match="of the dense network is not finite"):
        diagnose(broken, clone(dense), X)


def test_low_bit_inputs(dense):
    net = clone(dense)
    quantize(net, activations=ActivationQuantization(bits=4), layers="5", data=X)
    found = diagnose(dense, net, X)
    assert found.layers[0].name == "5"
    assert found["5"].input.bits == 4
    assert "4-bit input" in found.advice[0]


# ---------------------------------------------------------------- forms
def test_every_form_holds_the_facts(found, tmp_path):
    for text in (found.to_text(), found.to_markdown(), str(found)):
        for layer in found.layers:
            assert f"{layer.introduced.sqnr:.1f}" in text
        assert "70 samples" in text
        assert found.advice[0] in text
    facts = json.loads(found.to_json())
    assert facts["layers"][0]["introduced"]["sqnr"] == found.layers[0].introduced.sqnr
    picture = found.plot(tmp_path / "errors.png")
    from matplotlib.image import imread

    assert imread(picture)[..., :3].std() > 0.02
