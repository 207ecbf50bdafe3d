"""Compressed networks as -symbol.json and .params: plain MXNet runs them, masks and scales stay."""

import subprocess
import sys

import mxnet as mx
import numpy as np
import pytest
from mxnet.gluon import nn

from gluonzip.errors import DataError
from gluonzip.gluon import calibrate, export, import_symbol, prune, quantize, trace
from gluonzip.graph import interpret
from gluonzip.passes import optimize, quantize_graph
from gluonzip.spec import PerChannel, WeightQuantization

SHAPE = (2, 1, 12, 12)
X = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)

PLAIN = """
import sys
sys.modules["gluonzip"] = None
import mxnet as mx, numpy as np
net = mx.gluon.SymbolBlock.imports(sys.argv[1], ["data"], sys.argv[2])
np.save(sys.argv[4], net(mx.nd.array(np.load(sys.argv[3]))).asnumpy())
"""


def network():
    mx.random.seed(1)
    net = nn.HybridSequential()
    net.add(nn.Conv2D(8, 3), nn.BatchNorm(), nn.Activation("relu"), nn.MaxPool2D())
    net.add(nn.Conv2D(12, 3), nn.Activation("relu"), nn.Dense(5))
    net.initialize(mx.init.Xavier())
    net(mx.nd.array(X))
    return net


def plain_mxnet(files, tmp_path):
    """What a process without gluonzip answers."""
    np.save(tmp_path / "x.npy", X)
    command = [sys.executable, "-c", PLAIN, *map(str, files), "x.npy", "y.npy"]
    subprocess.run(command, check=True, cwd=tmp_path, timeout=120, capture_output=True)
    return np.load(tmp_path / "y.npy")


def test_a_pruned_and_quantized_network(tmp_path):
    net = network()
    prune(net, sparsity=0.6)
    quantize(net)
    calibrate(net, [mx.nd.array(X)])
    files = export(net, tmp_path / "net", SHAPE)
    assert [f.name for f in files] == ["net-symbol.json", "net-0000.params"]
    wanted = net(mx.nd.array(X)).asnumpy()
    np.testing.assert_allclose(plain_mxnet(files, tmp_path), wanted, atol=1e-5)
    again = import_symbol(*files, SHAPE)
    before, after = optimize(trace(net, SHAPE)), optimize(trace(again, SHAPE))
    assert [n.op for n in before.nodes] == [n.op for n in after.nodes]
    for a, b in zip(before.constants.values(), after.constants.values(), strict=True):
        np.testing.assert_array_equal(a.data, b.data)
        if a.quantized:
            np.testing.assert_array_equal(a.scale, b.scale)


@pytest.mark.parametrize("granularity", [None, PerChannel()])
def test_an_integer_graph(tmp_path, granularity):
    config = WeightQuantization(8, granularity) if granularity else None
    graph = quantize_graph(trace(network(), SHAPE), [X], config)
    files = export(graph, tmp_path / "net")
    wanted = interpret(graph, X)[0]
    got = plain_mxnet(files, tmp_path)
    assert np.abs(got - wanted).max() <= 0.02 * np.abs(wanted).max()
    again = optimize(trace(import_symbol(*files, SHAPE), SHAPE))
    quantized = [[c for c in g.constants.values() if c.quantized] for g in (graph, again)]
    assert len(quantized[0]) == len(quantized[1]) == 3
    for a, b in zip(*quantized, strict=True):
        np.testing.assert_allclose(a.dense(), b.dense(), rtol=1e-6)
    assert [n.op for n in graph.nodes] == [n.op for n in again.nodes]


def test_a_path_that_cannot_be_written(tmp_path):
    with pytest.raises(DataError, match="nowhere/net' cannot be written: No such file"):
        export(network(), tmp_path / "nowhere" / "net", SHAPE)
    assert list(tmp_path.iterdir()) == []
