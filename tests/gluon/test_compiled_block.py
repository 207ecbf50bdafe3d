"""The engine as a Gluon Block."""

import mxnet as mx
import numpy as np
import pytest
from mxnet.gluon import nn

from gluonzip import archive
from gluonzip.errors import ConfigError, ShapeError, UnsupportedError
from gluonzip.gluon import CompiledBlock, trace
from gluonzip.gluon.arrays import view, wrap
from gluonzip.passes import optimize
from gluonzip.runtime import Engine

SHAPE = (1, 3, 12, 12)
X = np.random.default_rng(0).standard_normal((5, *SHAPE[1:])).astype("float32")


class TwoHeads(mx.gluon.HybridBlock):
    def __init__(self):
        super().__init__()
        with self.name_scope():
            self.conv = nn.Conv2D(4, 3, activation="relu")
            self.a, self.b = nn.Dense(3), nn.Dense(2)

    def hybrid_forward(self, F, x):
        x = self.conv(x)
        return self.a(x), (self.b(x), x)


@pytest.fixture(scope="module")
def net():
    mx.random.seed(1)
    block = TwoHeads()
    block.initialize(mx.init.Xavier())
    block(mx.nd.array(X))
    return block


def sources(net, tmp_path):
    graph = optimize(trace(net, SHAPE))
    archive.write(tmp_path / "net.glz", graph, graph.meta)
    yield CompiledBlock(net, SHAPE, threads=1)
    yield CompiledBlock(graph)
    yield CompiledBlock(tmp_path / "net.glz")
    yield CompiledBlock(str(tmp_path / "net.glz"), isa="reference")


def test_outputs_and_structure_are_the_networks(net, tmp_path):
    a, (b, hidden) = net(mx.nd.array(X))
    for block in sources(net, tmp_path):
        block.hybridize()
        got_a, (got_b, got_hidden) = block(mx.nd.array(X))
        for got, expected in ((got_a, a), (got_b, b), (got_hidden, hidden)):
            assert isinstance(got, mx.nd.NDArray)
            np.testing.assert_allclose(got.asnumpy(), expected.asnumpy(), rtol=1e-4, atol=1e-5)


def test_an_engine_gives_its_outputs_flat(net):
    engine = Engine.from_graph(optimize(trace(net, SHAPE)))
    assert len(CompiledBlock(engine)(mx.nd.array(X))) == 3


def test_among_other_blocks(net):
    chain = nn.Sequential()
    chain.add(nn.Lambda(lambda x: x * 2), CompiledBlock(net, SHAPE), nn.Lambda(lambda y: y[0] + 1))
    expected = net(mx.nd.array(X) * 2)[0] + 1
    np.testing.assert_allclose(
        chain(mx.nd.array(X)).asnumpy(), expected.asnumpy(), rtol=1e-4, atol=1e-5
    )
    assert not chain.collect_params().keys()
    assert "CompiledBlock(<Engine" in repr(chain)


def test_inputs_that_are_still_being_computed_and_outputs_that_outlive_them(net):
    block = CompiledBlock(net, SHAPE)
    results = []
    for step in range(20):
        x = mx.nd.array(X) * (step + 1)  # not waited for
        results.append(block(x)[0])
        del x
    for step, got in enumerate(results):
        expected = net(mx.nd.array(X) * (step + 1))[0].asnumpy()
        np.testing.assert_allclose(got.asnumpy(), expected, rtol=1e-4, atol=1e-4)


def test_views_share_memory_and_keep_it_alive():
    array = mx.nd.array(X)
    seen = view(array)
    array[:] = 3
    array.wait_to_read()
    assert (seen == 3).all()
    assert not seen.flags.writeable
    del array
    mx.nd.waitall()
    assert (seen == 3).all()


def test_wrapped_arrays_share_memory():
    data = np.arange(6, dtype="float32").reshape(2, 3)
    expected = data.copy()
    array = wrap(data, mx.cpu())
    address = data.ctypes.data
    del data
    assert view(array).ctypes.data == address
    np.testing.assert_array_equal(array.asnumpy(), expected)
    np.testing.assert_array_equal(
        wrap(expected.T, mx.cpu()).asnumpy(), expected.T
    )  # not contiguous: copied
    assert wrap(np.ones(3, "int8"), mx.cpu()).dtype == np.int8


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda b: b(), ShapeError, r"0 arrays for 1 inputs \(data\)"),
        (lambda b: b(X), ShapeError, "input 'data' is a ndarray; give an NDArray"),
        (lambda b: b(mx.nd.array(X, dtype="float64")), ShapeError, "has dtype float64; the engine"),
        (lambda b: b(mx.nd.array(X[:, :2])), ShapeError, "does not accept the given input shapes"),
    ],
)
def test_inputs_that_do_not_fit(net, call, error, message):
    with pytest.raises(error, match=message):
        call(CompiledBlock(net, SHAPE))


def test_no_gradients(net):
    block = CompiledBlock(net, SHAPE)
    with mx.autograd.record():
        with pytest.raises(UnsupportedError, match="has no gradients"):
            block(mx.nd.array(X))
        with mx.autograd.pause():
            block(mx.nd.array(X))


def test_sources_that_cannot_be(net):
    with pytest.raises(ConfigError, match="got a int"):
        CompiledBlock(3)
    with pytest.raises(ConfigError, match="needs the shape of each input"):
        CompiledBlock(net)
    graph = optimize(trace(net, SHAPE))
    with pytest.raises(ConfigError, match="shapes are for a Gluon network"):
        CompiledBlock(graph, SHAPE)
    with pytest.raises(ConfigError, match="belong to the engine"):
        CompiledBlock(Engine.from_graph(graph), threads=1)
