"""Compressed layers of every kind: what they compute, store, export and become again."""

import copy
import pickle

import mxnet as mx
import numpy as np
import pytest
from mxnet.gluon import nn, rnn

from gluonzip.errors import DataError
from gluonzip.gluon import calibrate, clone, layers, prune, quantize, sparsity, strip
from gluonzip.spec import PerChannel, WeightQuantization

NORMAL = np.random.default_rng(3).standard_normal

KINDS = {
    "Dense": (lambda: nn.Dense(6, in_units=8), (4, 8)),
    "Dense with activation": (lambda: nn.Dense(6, in_units=8, activation="tanh"), (4, 8)),
    "Conv1D": (lambda: nn.Conv1D(6, 3, in_channels=4), (2, 4, 9)),
    "Conv2D": (lambda: nn.Conv2D(6, 3, in_channels=4, strides=2, padding=1), (2, 4, 9, 9)),
    "Conv2D without bias": (lambda: nn.Conv2D(6, 3, in_channels=4, use_bias=False), (2, 4, 9, 9)),
    "Conv2D depthwise": (lambda: nn.Conv2D(8, 3, in_channels=8, groups=8), (2, 8, 9, 9)),
    "Conv3D": (lambda: nn.Conv3D(6, 2, in_channels=4), (2, 4, 5, 5, 5)),
    "Conv1DTranspose": (lambda: nn.Conv1DTranspose(6, 3, in_channels=4), (2, 4, 9)),
    "Conv2DTranspose": (lambda: nn.Conv2DTranspose(6, 3, 2, in_channels=4), (2, 4, 5, 5)),
    "Embedding": (lambda: nn.Embedding(10, 8), (4, 5)),
    "LSTM": (lambda: rnn.LSTM(5, input_size=8), (3, 2, 8)),
    "GRU": (lambda: rnn.GRU(5, num_layers=2, bidirectional=True, input_size=8), (3, 2, 8)),
    "RNN": (lambda: rnn.RNN(5, input_size=8), (3, 2, 8)),
    "LSTMCell": (lambda: Unrolled(rnn.LSTMCell(5, input_size=8)), (2, 3, 8)),
    "GRUCell": (lambda: Unrolled(rnn.GRUCell(5, input_size=8)), (2, 3, 8)),
    "custom": (lambda: Bilinear(), (4, 8)),
}


class Unrolled(mx.gluon.HybridBlock):
    """A cell run over three steps."""

    def __init__(self, cell):
        super().__init__()
        with self.name_scope():
            self.cell = cell

    def hybrid_forward(self, F, x):
        outputs, _ = self.cell.unroll(3, x, layout="NTC", merge_outputs=True)
        return outputs


class Bilinear(mx.gluon.HybridBlock):
    """A block of the user's own that holds a weight."""

    def __init__(self):
        super().__init__()
        with self.name_scope():
            self.weight = self.params.get("weight", shape=(8, 8))

    def hybrid_forward(self, F, x, weight):
        return F.dot(x, weight) * x


def build(kind, seed=0):
    make, shape = KINDS[kind]
    mx.random.seed(seed)
    net = nn.HybridSequential()
    net.add(make())
    net.initialize(mx.init.Normal(0.5))
    x = np.random.default_rng(1).integers(0, 10, shape) if kind == "Embedding" else NORMAL(shape)
    return net, mx.nd.array(x, dtype="float32")


def assert_same(got, expected, kind):
    """To the bit, but for transposed convolutions, which compressed ones compute in float64."""
    if "Transpose" in kind:
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)
    else:
        np.testing.assert_array_equal(got, expected)


def fake_quantized(w, axis=None):
    """The formula of gluonzip/graph/ops.py in NumPy."""
    axes = None if axis is None else tuple(a for a in range(w.ndim) if a != axis)
    scale = np.abs(w).max(axis=axes, keepdims=True) / np.float32(127)
    return np.rint(np.clip(w * (np.float32(1) / scale), -127, 127)) * scale


def pruned_values(w, fraction=0.5):
    keep = np.ones(w.size, bool)
    keep[np.argsort(np.abs(w), axis=None, kind="stable")[: round(fraction * w.size)]] = False
    return w * keep.reshape(w.shape)


def reference(net, x, change):
    """The plain network's output after ``change`` on the values of its weights."""
    for layer in layers(net).values():
        for parameter in layer.weights.values():
            parameter.set_data(mx.nd.array(change(parameter.data().asnumpy())))
    return net(x).asnumpy()


@pytest.mark.parametrize("hybrid", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_masked_layer_computes_with_masked_weight(kind, hybrid):
    net, x = build(kind)
    expected = reference(build(kind)[0], x, pruned_values)
    net.hybridize(hybrid)
    net(x)
    records = prune(net, sparsity=0.5)
    assert all(r.compressed for r in records.values())
    assert_same(net(x).asnumpy(), expected, kind)
    assert sparsity(net).total == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("kind", KINDS)
def test_quantized_layer_computes_with_rounded_weight(kind):
    net, x = build(kind)
    expected = reference(build(kind)[0], x, lambda w: fake_quantized(pruned_values(w)))
    prune(net, sparsity=0.5)
    quantize(net, activations=None)
    assert_same(net(x).asnumpy(), expected, kind)
    net.hybridize()
    assert_same(net(x).asnumpy(), expected, kind)


def gradients(net, x):
    with mx.autograd.record():
        loss = (net(x) ** 2).sum()
    loss.backward()
    return {
        (path, attribute): parameter.grad().asnumpy()
        for path, layer in layers(net).items()
        for attribute, parameter in layer.block._reg_params.items()
        if parameter.grad_req != "null"
    }


@pytest.mark.parametrize("hybrid", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_the_plain_layer_at_the_weight_in_use(kind, hybrid):
    plain, x = build(kind)
    reference(plain, x, lambda w: fake_quantized(pruned_values(w)))
    expected = gradients(plain, x)
    net, _ = build(kind)
    prune(net, sparsity=0.5)
    quantize(net, activations=None)
    net.hybridize(hybrid)
    got = gradients(net, x)
    assert set(got) == set(expected)
    for (path, attribute), gradient in expected.items():
        mask = getattr(layers(net)[path].block, f"{attribute}_mask", None)
        gradient = gradient if mask is None else gradient * mask.data().asnumpy()
        bound = 1e-5 * np.abs(gradient).max()
        np.testing.assert_allclose(got[path, attribute], gradient, rtol=1e-4, atol=bound)


@pytest.mark.parametrize("kind", ["Dense", "Conv2D", "Conv2DTranspose"])
def test_per_channel_scales_run_along_output_channels(kind):
    net, x = build(kind)
    axis = 1 if "Transpose" in kind else 0
    expected = reference(build(kind)[0], x, lambda w: fake_quantized(w, axis))
    quantize(net, weights=WeightQuantization(granularity=PerChannel()), activations=None)
    assert_same(net(x).asnumpy(), expected, kind)


@pytest.mark.parametrize("kind", ["Dense", "Conv1D", "Conv2D", "Conv3D", "Conv2DTranspose"])
def test_input_quantizer_rounds_the_input(kind):
    net, x = build(kind)
    quantize(net, weights=None, data=[x])
    expected = build(kind)[0](mx.nd.array(fake_quantized(x.asnumpy()))).asnumpy()
    np.testing.assert_array_equal(net(x).asnumpy(), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_storing_and_exporting(kind, tmp_path):
    net, x = compressed(kind)
    expected = net(x).asnumpy()
    net.save_parameters(str(tmp_path / "net.params"))

    again, _ = compressed(kind, seed=5)
    assert np.abs(again(x).asnumpy() - expected).max() > 0
    again.load_parameters(str(tmp_path / "net.params"))
    np.testing.assert_array_equal(again(x).asnumpy(), expected)

    np.testing.assert_array_equal(copy.deepcopy(net)(x).asnumpy(), expected)

    net.hybridize()
    np.testing.assert_array_equal(net(x).asnumpy(), expected)
    net.export(str(tmp_path / "net"))
    files = (str(tmp_path / "net-symbol.json"), ["data"], str(tmp_path / "net-0000.params"))
    imported = mx.gluon.SymbolBlock.imports(*files)
    np.testing.assert_array_equal(imported(x).asnumpy(), expected)


def compressed(kind, seed=0):
    net, x = build(kind, seed)
    prune(net, sparsity=0.5)
    quantize(net)
    if any("input_scale" in name for name in net._collect_params_with_prefix()):
        calibrate(net, [x])
    return net, x


@pytest.mark.parametrize("kind", KINDS)
def test_strip_bakes_the_values_into_plain_layers(kind):
    net, x = build(kind)
    plain = {type(b) for b in _blocks(net)}
    names = sorted(net._collect_params_with_prefix())
    prune(net, sparsity=0.5)
    quantize(net, activations=None)
    expected = net(x).asnumpy()
    assert strip(net) is net
    assert {type(b) for b in _blocks(net)} == plain
    assert sorted(net._collect_params_with_prefix()) == names
    assert sorted(p.name for p in net.collect_params().values()) == sorted(
        p.name for p in net._collect_params_with_prefix().values()
    )
    assert_same(net(x).asnumpy(), expected, kind)


def _blocks(net):
    found = []
    net.apply(found.append)
    return found


def test_a_hybridized_network_clones():
    net, x = compressed("Conv2D")
    net.hybridize()
    expected = net(x).asnumpy()
    twin = clone(net)
    np.testing.assert_array_equal(twin(x).asnumpy(), expected)
    assert twin._active
    twin[0].weight.set_data(twin[0].weight.data() * 2)
    assert np.abs(twin(x).asnumpy() - expected).max() > 0
    np.testing.assert_array_equal(net(x).asnumpy(), expected)


def test_a_clone_trains_and_leaves_the_original_alone():
    net, x = compressed("Conv2D")
    net.hybridize()
    expected = net(x).asnumpy()
    twin = clone(net)
    before = twin[0].weight.data().asnumpy()
    trainer = mx.gluon.Trainer(twin.collect_params(), "sgd", {"learning_rate": 0.1})
    with mx.autograd.record():
        loss = (twin(x) ** 2).sum()
    loss.backward()
    trainer.step(1)
    assert np.abs(twin[0].weight.data().asnumpy() - before).max() > 0
    np.testing.assert_array_equal(net(x).asnumpy(), expected)


@pytest.mark.parametrize("kind", ["Dense", "Conv2D", "LSTM", "custom"])
def test_pickles(kind):
    net, x = compressed(kind)
    again = pickle.loads(pickle.dumps(net))
    assert type(again[0]) is type(net[0])
    np.testing.assert_array_equal(again(x).asnumpy(), net(x).asnumpy())


def test_names_stay_and_a_dense_checkpoint_loads(tmp_path):
    net, x = build("Conv2D")
    net.save_parameters(str(tmp_path / "dense.params"))
    dense = net(x).asnumpy()
    prune(net, sparsity=0.0)
    quantize(net, weights=None, data=[x])
    assert sorted(net._collect_params_with_prefix()) == [
        "0.bias",
        "0.input_scale",
        "0.weight",
        "0.weight_mask",
    ]
    net[0].weight.set_data(mx.nd.zeros_like(net[0].weight.data()))
    net.load_parameters(str(tmp_path / "dense.params"), allow_missing=True)
    assert np.abs(net(x).asnumpy() - dense).max() < 0.1 * np.abs(dense).max()


def test_a_block_used_twice_is_compressed_once():
    layer = nn.Dense(8, in_units=8)
    net = nn.HybridSequential()
    net.add(layer, nn.Activation("relu"), layer)
    net.initialize(mx.init.Normal())
    assert list(prune(net, sparsity=0.5)) == ["0"]
    assert net[0] is net[2]
    x = mx.nd.array(NORMAL((2, 8)))
    expected = net(x).asnumpy()
    net.hybridize()
    np.testing.assert_array_equal(net(x).asnumpy(), expected)


def test_layers_that_share_a_weight_share_its_mask():
    first = nn.Dense(8, in_units=8)
    net = nn.HybridSequential()
    net.add(first, nn.Dense(8, in_units=8, params=first.params))
    net.initialize(mx.init.Normal())
    records = prune(net, sparsity=0.5, layers="0")
    assert all(r.compressed for r in records.values())
    assert net[0].weight_mask is net[1].weight_mask
    x = mx.nd.array(NORMAL((2, 8)))
    w, b = (p.data().asnumpy() for p in (first.weight, first.bias))
    expected = (x.asnumpy() @ w.T + b) @ w.T + b
    np.testing.assert_allclose(net(x).asnumpy(), expected, rtol=1e-5, atol=1e-6)
    strip(net)
    np.testing.assert_allclose(net(x).asnumpy(), expected, rtol=1e-5, atol=1e-6)


def test_a_network_that_is_one_layer():
    net = nn.Dense(6, in_units=8)
    net.initialize(mx.init.Normal())
    (record,) = prune(net, sparsity=0.5).values()
    assert record.name == net.name
    assert isinstance(net, nn.Dense)
    assert sparsity(net).total == 0.5


def test_references_outside_the_tree_see_the_compression():
    class Listed(mx.gluon.HybridBlock):
        def __init__(self):
            super().__init__()
            self.parts = []
            for i in range(2):
                self.parts.append(nn.Dense(8, in_units=8))
                self.register_child(self.parts[-1], f"part{i}")

        def hybrid_forward(self, F, x):
            for part in self.parts:
                x = part(x)
            return x

    net = Listed()
    net.initialize(mx.init.Constant(0.5))
    prune(net, threshold=1.0)
    assert np.all(net(mx.nd.ones((1, 8))).asnumpy() == 0)


def test_what_a_layer_prints():
    net, _ = compressed("Dense")
    assert "CompressedDense(8 -> 6, linear) with mask, 8-bit weights, 8-bit input" in repr(net)
    assert "LSTM(8 -> 5, TNC) with mask, 8-bit weights\n" in repr(compressed("LSTM")[0])


def test_cast_takes_masks_and_scales_along():
    net, x = build("Dense")
    prune(net, sparsity=0.5)
    quantize(net, data=[x])
    expected = net(x).asnumpy()
    net.cast("float64")
    out = net(x.astype("float64"))
    assert out.dtype == np.float64
    np.testing.assert_allclose(out.asnumpy(), expected, atol=1e-3)


def test_a_half_precision_weight_of_zeros_stays_finite():
    net, _ = build("Dense")
    quantize(net, activations=None)
    net.cast("float16")  # MXNet multiplies no float16 matrices on the CPU: look at the weight
    net[0].weight.set_data(mx.nd.zeros((6, 8), dtype="float16"))
    assert (net[0].effective_weight().asnumpy() == 0).all()


def test_a_weight_of_zeros_quantizes_to_zeros():
    net, x = build("Dense")
    prune(net, threshold=100)
    quantize(net, activations=None)
    np.testing.assert_array_equal(net(x).asnumpy(), 0 * net(x).asnumpy())


def test_use_before_calibration_is_an_error():
    net, x = build("Dense")
    quantize(net)
    for hybrid in (False, True):
        net.hybridize(hybrid)
        with pytest.raises(DataError, match=r"layer '0' quantizes its input but has no scale"):
            net(x)


def test_what_cannot_be_trained_is_skipped_with_the_reason():
    net = nn.Conv3DTranspose(6, 2, in_channels=4)
    net.initialize()
    for (record,) in (prune(net, sparsity=0.5).values(), quantize(net).values()):
        assert not record.compressed
        assert "no gradient for a 3-D transposed convolution" in record.reason


def test_masks_have_no_gradient_even_after_setattr():
    net, _ = build("Dense")
    prune(net, sparsity=0.5)
    net.collect_params().setattr("grad_req", "write")
    assert net[0].weight_mask.grad_req == "null"
    assert net[0].weight.grad_req == "write"
