"""compress() on networks of several inputs, nested outputs and foreign operators."""

import mxnet as mx
import numpy as np
import pytest
from mxnet.gluon import nn

import gluonzip
from gluonzip.errors import ConfigError, DataError

RECIPE = {"name": "any", "stages": [{"method": "quantize"}]}
rng = np.random.default_rng(5)


class Matcher(mx.gluon.HybridBlock):
    """Two images in, two nested outputs, one through an operator that the op table lacks."""

    def __init__(self):
        super().__init__()
        with self.name_scope():
            self.body = nn.Conv2D(4, 3, activation="relu")
            self.head = nn.Dense(6)
            self.tail = nn.Dense(2)

    def hybrid_forward(self, F, x, y):
        found = self.head(self.body(x) * self.body(y))
        return found, (self.tail(F.sort(found, axis=1)), [found])


@pytest.fixture(scope="module")
def pair():
    return tuple(mx.nd.array(rng.standard_normal((2, 3, 8, 8))) for _ in range(2))


@pytest.fixture(scope="module")
def result(pair):
    net = Matcher()
    net.initialize(mx.init.Xavier())
    net(*pair)
    return gluonzip.compress(net, RECIPE, calibration_data=[(pair, None)], threads=1)


def test_the_archive_answers_as_the_simulated_network(result, pair, tmp_path):
    result.save(tmp_path / "any.glz")
    block = gluonzip.CompiledBlock(tmp_path / "any.glz", threads=1)
    first, (second, third) = block(*pair)
    expected = result.net(*pair)
    for got, wanted in ((first, expected[0]), (second, expected[1][0]), (third[0], expected[0])):
        scale = np.abs(wanted.asnumpy()).max()
        np.testing.assert_allclose(got.asnumpy(), wanted.asnumpy(), atol=0.02 * scale)


def test_the_report_says_who_runs_what(result):
    assert [line.split(":")[0] for line in result.report.partition] == ["engine", "MXNet", "engine"]
    assert "sort" in result.report.to_markdown()
    assert [latency.batch for latency in result.report.latency] == [1]
    layers = {layer.name: layer.weight_bits for layer in result.report.layers}
    assert layers == {"body": 8, "head": 8, "tail": 8}


def test_accuracy_needs_one_output(pair):
    net = Matcher()
    net.initialize()
    with pytest.raises(ConfigError, match="the network has 3 outputs; leave it out"):
        gluonzip.compress(
            net, RECIPE, calibration_data=[(pair, None)], validation_data=[(pair[0], pair[1])]
        )


def test_a_layer_that_nothing_reaches_is_left_alone_and_listed():
    class Decoder(mx.gluon.HybridBlock):
        def __init__(self):
            super().__init__()
            with self.name_scope():
                self.used, self.head = nn.Conv2D(4, 3), nn.Dense(2, in_units=3)

        def hybrid_forward(self, F, x):
            return self.used(x)

    net = Decoder()
    net.initialize()
    x = mx.nd.array(rng.standard_normal((2, 3, 8, 8)))
    found = gluonzip.compress(net, RECIPE, calibration_data=[x], threads=1)
    reasons = {layer.name: layer.reason for layer in found.report.layers}
    assert reasons == {"used": "", "head": "not quantized: no input reaches it at inference"}
    with pytest.raises(DataError, match="no calibration batch reached layer 'head'"):
        other = Decoder()
        other.initialize()
        stage = {"method": "quantize", "layers": ["head"]}
        gluonzip.compress(other, {"stages": [stage]}, calibration_data=[x])
