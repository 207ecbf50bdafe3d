"""quantize and calibrate: ranges from any source of batches, records, bad data."""

import mxnet as mx
import numpy as np
import pytest
from mxnet.gluon import nn

from gluonzip.errors import ConfigError, DataError, PatternError
from gluonzip.gluon import calibrate, quantize
from gluonzip.spec import ActivationQuantization, PerChannel, WeightQuantization

X = np.random.default_rng(0).standard_normal((40, 1, 9, 9)).astype("float32")
Y = np.arange(40, dtype="float32")


def network(cls=nn.HybridSequential):
    mx.random.seed(4)
    net = cls()
    net.add(nn.Conv2D(4, 3, activation="relu"), nn.Dense(6))
    net.initialize(mx.init.Xavier())
    net(mx.nd.array(X[:1]))
    return net


def expected_peaks():
    """Inputs of the layers, from the plain network."""
    net = network()
    quantize(net, activations=None)
    hidden = net[0](mx.nd.array(X)).asnumpy()
    return {"0": np.abs(X).max(), "1": np.abs(hidden).max()}


def loader(**options):
    dataset = mx.gluon.data.ArrayDataset(X, Y)
    return mx.gluon.data.DataLoader(dataset, batch_size=16, **options)


SOURCES = {
    "one array": lambda: X,
    "one NDArray": lambda: mx.nd.array(X),
    "float64": lambda: X.astype("float64"),
    "pair of arrays": lambda: (X, Y),
    "list of arrays": lambda: [X[:8], X[8:]],
    "list of pairs": lambda: [(X[:8], Y[:8]), (mx.nd.array(X[8:]), Y[8:])],
    "list of inputs and labels": lambda: [([X[:8]], Y[:8]), ([X[8:]], Y[8:])],
    "generator": lambda: (X[i : i + 8] for i in range(0, 40, 8)),
    "DataLoader": loader,
    "DataLoader, threads": lambda: loader(num_workers=2, thread_pool=True),
    "DataLoader, processes": lambda: loader(num_workers=1),
    "NDArrayIter": lambda: mx.io.NDArrayIter(X, Y, batch_size=20),
}


@pytest.mark.parametrize("hybrid", [False, True])
@pytest.mark.parametrize("source", SOURCES)
def test_ranges_from(source, hybrid):
    net = network()
    net.hybridize(hybrid)
    net(mx.nd.array(X))
    quantize(net)
    peaks = calibrate(net, SOURCES[source]())
    assert peaks == pytest.approx(expected_peaks(), rel=1e-6)
    scale = net[1].input_scale.data().asscalar()
    assert net[1].unsigned_input  # behind a ReLU
    assert scale == -np.float32(np.float32(peaks["1"]) / np.float32(255))
    assert not net[0].unsigned_input
    assert net._active is hybrid
    assert np.isfinite(net(mx.nd.array(X)).asnumpy()).all()


def test_a_plain_sequential_calibrates():
    net = network(nn.Sequential)
    quantize(net, data=X)
    assert net[0].calibrated


def test_an_iterator_may_be_used_twice():
    data = mx.io.NDArrayIter(X, Y, batch_size=20)
    net = network()
    quantize(net)
    assert calibrate(net, data) == calibrate(net, data)


def test_calibration_leaves_statistics_and_dropout_alone():
    net = nn.HybridSequential()
    net.add(nn.BatchNorm(in_channels=1), nn.Dropout(0.9), nn.Dense(3))
    net.initialize()
    net(mx.nd.array(X))
    quantize(net)
    peaks = calibrate(net, X * 3)
    assert peaks["2"] == pytest.approx(np.abs(X * 3).max() / np.sqrt(1 + 1e-5), rel=1e-5)
    assert net[0].running_mean.data().asscalar() == 0


def test_records_name_every_layer():
    net = nn.HybridSequential()
    net.add(nn.Embedding(5, 4), nn.Dense(3), nn.Dense(2))
    net.initialize()
    net(mx.nd.array([[1, 2]]))
    eight = WeightQuantization(granularity=PerChannel())
    records = quantize(net, weights=eight, layers=["0", "1"])
    assert records["0"].facts["activations_skipped"] == "its input is indices"
    assert records["0"].facts["activation_bits"] == 32
    assert records["1"].facts == {
        "weight_bits": 8,
        "activation_bits": 8,
        "granularity": "per_channel",
    }
    assert records["2"].reason == "not selected"
    assert not records["2"].compressed


def test_quantizing_again_replaces_and_keeps_the_scale_when_it_may():
    net = network()
    quantize(net, data=X)
    quantize(net, weights=WeightQuantization(bits=4))
    assert net[0].calibrated
    quantize(net, activations=ActivationQuantization(bits=4))
    assert not net[0].calibrated
    quantize(net, activations=None)
    assert "0.input_scale" not in net._collect_params_with_prefix()
    assert net[0].calibrated


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "has no batches"),
        (iter(()), "has no batches"),
        (X[:0], "has no batches"),
        ([X[:4], X[:0]], "batch 1 of the calibration data is empty"),
        ([X[:4], np.full_like(X[:4], np.nan)], "batch 1 of the calibration data holds values that"),
        ([X[:4], X[:4] * np.float32(np.inf)], "batch 1 of the calibration data"),
        (["a.png"], "batch 0 of the calibration data is a str"),
        ([("a.png", 1)], "batch 0 of the calibration data is a str"),
        (3, "must be an array or an iterable of batches, got a int"),
    ],
)
def test_bad_data(data, message):
    net = network()
    quantize(net)
    with np.errstate(invalid="ignore"), pytest.raises(DataError, match=message):
        calibrate(net, data)
    assert not net[0].calibrated


def test_overflow_inside_the_network_names_layer_and_batch():
    net = network()
    net[0].weight.set_data(mx.nd.full((4, 1, 3, 3), 10))
    quantize(net)
    with pytest.raises(DataError, match=r"batch 1: the input of layer '1' has .* non-finite"):
        calibrate(net, [X, np.full_like(X, 1e38)])


def test_a_layer_that_nothing_reaches():
    class Skips(mx.gluon.HybridBlock):
        def __init__(self):
            super().__init__()
            self.used = nn.Dense(3, in_units=81)
            self.unused = nn.Dense(3, in_units=81)

        def hybrid_forward(self, F, x):
            return self.used(x)

    net = Skips()
    net.initialize()
    quantize(net)
    with pytest.raises(DataError, match="no calibration batch reached layer 'unused'"):
        calibrate(net, X)


def test_bad_arguments():
    net = network()
    with pytest.raises(ConfigError, match="needs weights or activations"):
        quantize(net, weights=None, activations=None)
    with pytest.raises(ConfigError, match="is not a WeightQuantization"):
        quantize(net, weights=8)
    with pytest.raises(ConfigError, match="observer 'median' is unknown"):
        quantize(net, activations=ActivationQuantization(observer="median"))
    with pytest.raises(ConfigError, match="axis = 7 is outside the weight of layer '0'"):
        quantize(net, weights=WeightQuantization(granularity=PerChannel(7)))
    with pytest.raises(PatternError, match="'x'"):
        quantize(net, layers="x")
    with pytest.raises(ConfigError, match="no layer quantizes its input"):
        calibrate(net, X)
