"""Networks divided between the engine and MXNet, inside one Block."""

import mxnet as mx
import numpy as np
import pytest
from mxnet.gluon import nn

from gluonzip import archive
from gluonzip.errors import UnsupportedError
from gluonzip.gluon import CompiledBlock, Quantizer, trace
from gluonzip.graph import interpret
from gluonzip.passes import optimize

SHAPE = (2, 3, 16, 16)
rng = np.random.default_rng(3)


class Detector(mx.gluon.HybridBlock):
    """Convolutions, what the op table lacks, convolutions again; nested outputs."""

    def __init__(self):
        super().__init__()
        with self.name_scope():
            self.first = nn.Conv2D(8, 3, padding=1, activation="relu")
            self.second = nn.Conv2D(4, 3, padding=1)
            self.head = nn.Dense(5)

    def hybrid_forward(self, F, x):
        x = self.first(x)
        x = F.sort(x, axis=1)
        y = self.second(x)
        best = F.topk(y.reshape((0, -1)), k=3)  # indices
        return self.head(y), [best, (F.argmax(y, axis=1), y)]


@pytest.fixture(scope="module")
def net():
    mx.random.seed(2)
    block = Detector()
    block.initialize(mx.init.Xavier())
    block(image())
    return block


def image(size=16, batch=2):
    return mx.nd.array(rng.standard_normal((batch, 3, size, size)))


def flat(outputs):
    if isinstance(outputs, (list, tuple)):
        return [x for item in outputs for x in flat(item)]
    return [outputs.asnumpy()]


def agree(block, net, x):
    for got, expected in zip(flat(block(x)), flat(net(x)), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def test_the_engine_runs_what_it_can(net):
    block = CompiledBlock(net, SHAPE)
    x = image()
    agree(block, net, x)
    agree(block, net, image(batch=5))
    assert [s.in_engine for s in block.partition] == [True, False, True, False]
    assert "sort 'sort0' (the op table has no such operator)" in str(block.partition[1])
    assert "topk" in str(block.partition[3])
    got = block(x)
    assert isinstance(got[1][1], list)
    with pytest.raises(UnsupportedError, match=r"divided between the engine and MXNet: see \.part"):
        _ = block.engine


def test_another_size_is_compiled_when_it_comes(net):
    block = CompiledBlock(net, SHAPE)
    plain = nn.HybridSequential()
    plain.add(net.first, net.second)
    for size in (16, 24, 16, 20):
        agree(CompiledBlock(plain, SHAPE), plain, image(size))
    agree(block, net, image(16, batch=1))


def test_int8_segments_compute_what_the_interpreter_says(net):
    data = [image()]
    block = CompiledBlock(net, SHAPE, quantizer=Quantizer(data))
    checked = []

    def watch(segment, inputs, outputs):
        for got, expected in zip(outputs, interpret(segment.graph, list(inputs)), strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-6)
        weights = [segment.graph.constants[n.inputs[1]] for n in segment.graph.nodes
                   if n.op in ("conv2d", "dense")]  # fmt: skip
        checked.extend(weight.quantized for weight in weights)

    block.program(data[0], watch=watch)
    assert checked == [True, True, True]
    dense, int8 = flat(net(data[0]))[0], flat(block(data[0]))[0]
    assert 0 < np.abs(dense - int8).max() < 0.05 * np.abs(dense).max()


def test_a_quantizer_keeps_its_ranges_for_other_sizes(net):
    plain = nn.HybridSequential()
    plain.add(net.first, net.second)
    quantizer = Quantizer([image()])
    block = CompiledBlock(plain, SHAPE, quantizer=quantizer)
    ranges = dict(quantizer.ranges)
    large = image(32)
    close = np.abs(flat(block(large))[0] - flat(plain(large))[0]).max()
    assert close < 0.1 * np.abs(flat(plain(large))[0]).max()
    assert quantizer.ranges == ranges


def test_an_archive_with_foreign_operators_runs_too(net, tmp_path):
    graph = optimize(trace(net, SHAPE))
    archive.write(tmp_path / "net.glz", graph, graph.meta)
    agree(CompiledBlock(tmp_path / "net.glz"), net, image())


def test_a_convolution_whose_weight_is_computed_runs_in_mxnet():
    class Correlation(mx.gluon.HybridBlock):
        def hybrid_forward(self, F, x, kernel):
            return F.Convolution(F.relu(x), kernel, num_filter=3, kernel=(3, 3), no_bias=True)

    net = Correlation()
    shapes = (1, 3, 9, 9), (3, 3, 3, 3)
    inputs = [mx.nd.array(rng.standard_normal(shape)) for shape in shapes]
    block = CompiledBlock(net, *shapes)
    np.testing.assert_allclose(flat(block(*inputs))[0], flat(net(*inputs))[0], atol=1e-5)
    assert "the engine needs a constant weight" in str(block.partition[-1])


def test_upsampling_by_repeats_is_the_engines():
    class Twice(mx.gluon.HybridBlock):
        def hybrid_forward(self, F, x):
            return x.repeat(axis=-1, repeats=2).repeat(axis=-2, repeats=2)

    graph = trace(Twice(), SHAPE)
    assert [n.op for n in graph.nodes] == ["upsample"]
    x = image()
    np.testing.assert_array_equal(interpret(graph, x.asnumpy())[0], Twice()(x).asnumpy())


@pytest.mark.parametrize("axis", [0, 1, 2, 3])
def test_repeats_and_tiles_of_any_axis(axis):
    class Repeat(mx.gluon.HybridBlock):
        def hybrid_forward(self, F, x):
            reps = tuple(3 if at == axis else 1 for at in range(4))
            return F.repeat(x, repeats=2, axis=axis), F.tile(x, reps=reps)

    x = image()
    graph = trace(Repeat(), SHAPE)
    assert "opaque" not in {n.op for n in graph.nodes}
    for got, expected in zip(interpret(graph, x.asnumpy()), flat(Repeat()(x)), strict=True):
        np.testing.assert_array_equal(got, expected)
