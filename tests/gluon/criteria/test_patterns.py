"""Patterns of masks on every shape of layer, and what is said when one does not fit."""

import mxnet as mx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mxnet.gluon import nn, rnn

from gluonzip.errors import ConfigError
from gluonzip.gluon import layers, masks, prune
from gluonzip.spec import NM, Block, Channels, Filters, Unstructured, sparsity_pattern

sizes = st.integers(1, 9)


@settings(derandomize=True, max_examples=40, deadline=None)
@given(sizes, sizes, st.integers(1, 3), st.integers(1, 5), st.integers(1, 4), st.data())
def test_block_units_are_the_blocks(outs, ins, kernel, inputs, outputs, data):
    weight = np.random.default_rng(outs * ins).standard_normal((outs, ins, kernel))
    pattern = Block(inputs, outputs)
    units = masks.units(weight, pattern)
    expected, counts = [], []
    for o in range(0, outs, outputs):
        for i in range(0, ins, inputs):
            for k in range(kernel):
                block = weight[o : o + outputs, i : i + inputs, k]
                expected.append(np.abs(block).sum())
                counts.append(block.size)
    np.testing.assert_allclose(np.abs(units.rows).sum(1), expected)
    if units.sizes is not None:
        np.testing.assert_array_equal(units.sizes, counts)
    else:
        assert set(counts) == {inputs * outputs}
    keep = np.random.default_rng(1).random(units.shape) > 0.5
    mask = masks.expand(keep, weight.shape, pattern)
    rows = masks.units(mask, pattern).rows
    np.testing.assert_array_equal(rows.any(1), keep.ravel())


@settings(derandomize=True, max_examples=40, deadline=None)
@given(sizes, sizes, st.integers(1, 3), st.integers(2, 6), st.data())
def test_n_of_m_keeps_the_largest_of_each_group(outs, ins, kernel, m, data):
    n = data.draw(st.integers(1, m - 1))
    score = np.random.default_rng(n).permutation(outs * ins * kernel).reshape(outs, ins, kernel)
    keep = masks.keep_n_of_m(score.astype(np.float32), NM(n, m))
    for start in range(0, ins, m):
        part, kept = score[:, start : start + m], keep[:, start : start + m]
        assert (kept.sum(1) == min(n, part.shape[1])).all()
        order = np.sort(part, axis=1)[:, ::-1][:, : min(n, part.shape[1])].min(1, keepdims=True)
        np.testing.assert_array_equal(kept, part >= order)


KINDS = {
    "Dense": (lambda: nn.Dense(6, in_units=8), 0),
    "Conv1D": (lambda: nn.Conv1D(6, 3, in_channels=8), 0),
    "Conv2D": (lambda: nn.Conv2D(6, 3, in_channels=8), 0),
    "Conv3D": (lambda: nn.Conv3D(6, 2, in_channels=8), 0),
    "Conv2D of groups": (lambda: nn.Conv2D(6, 3, in_channels=8, groups=2), 0),
    "Conv1DTranspose": (lambda: nn.Conv1DTranspose(6, 3, in_channels=8), 1),
    "Conv2DTranspose": (lambda: nn.Conv2DTranspose(6, 3, in_channels=8), 1),
    "Embedding": (lambda: nn.Embedding(8, 6), 1),
}


def built(kind):
    net = nn.HybridSequential()
    layer, axis = KINDS[kind][0](), KINDS[kind][1]
    net.add(layer)
    net.initialize(mx.init.Normal())
    return net, layer, axis


@pytest.mark.parametrize("kind", KINDS)
def test_channels_take_whole_inputs(kind):
    net, layer, axis = built(kind)
    weight = layer.weight.data().asnumpy()
    inputs = np.moveaxis(weight, 1 - axis, 0).reshape(weight.shape[1 - axis], -1)
    norms = np.linalg.norm(inputs, axis=1)
    prune(net, sparsity=0.5, pattern=Channels(), criterion="l2")
    gone = np.moveaxis(layer.weight.data().asnumpy() == 0, 1 - axis, 0).reshape(len(norms), -1)
    assert (gone.all(1) == gone.any(1)).all()
    assert norms[gone.all(1)].max() < norms[~gone.all(1)].min()
    assert gone.all(1).sum() == len(norms) // 2


@pytest.mark.parametrize("kind", KINDS)
def test_filters_take_whole_outputs_and_the_output_layer_is_safe(kind):
    net, layer, axis = built(kind)
    with pytest.raises(ConfigError, match=r"layer '0' are the network's outputs"):
        prune(net, sparsity=0.5, pattern="filters")
    if kind != "Embedding":
        net.add(nn.Dense(2))
        net.initialize()
        shape = (1, 8, *[5] * (layer.weight.data().ndim - 2))
        net(mx.nd.ones(shape))
    else:
        net.add(nn.Dense(2, in_units=6, flatten=False))
        net[1].initialize()
        net(mx.nd.ones((1, 2)))
    weight = np.moveaxis(layer.weight.data().asnumpy(), axis, 0)
    norms = np.abs(weight).reshape(6, -1).sum(1)
    records = prune(net, sparsity=0.5, pattern=Filters(), criterion="l1")
    assert records["0"].compressed
    assert records["1"].reason == "its filters (neurons) are the network's outputs"
    gone = np.moveaxis(layer.weight.data().asnumpy() == 0, axis, 0).reshape(6, -1)
    assert (gone.all(1) == gone.any(1)).all()
    assert norms[gone.all(1)].max() < norms[~gone.all(1)].min()
    assert gone.all(1).sum() == 3


def test_filters_of_grouped_transposed_convolutions():
    net = nn.HybridSequential()
    net.add(nn.Conv2DTranspose(6, 3, in_channels=4, groups=2), nn.Conv2D(2, 1, in_channels=6))
    net.initialize(mx.init.Normal())
    weight = net[0].weight.data().asnumpy()  # (4 inputs, 3 outputs of a group, 3, 3)
    norms = np.array([np.abs(weight[2 * g : 2 * g + 2, o]).sum() for g in (0, 1) for o in range(3)])
    prune(net, sparsity=0.5, pattern="filters", criterion="l1", layers="0")
    out = net[0](mx.nd.ones((1, 4, 3, 3))).asnumpy()[0] == 0
    np.testing.assert_array_equal(np.flatnonzero(out.all((1, 2))), np.sort(np.argsort(norms)[:3]))


def test_recurrent_rows_are_not_filters():
    net = nn.HybridSequential()
    net.add(rnn.LSTM(5, input_size=8), nn.Dense(2, in_units=5, flatten=False))
    net.initialize()
    records = prune(net, sparsity=0.5, pattern="channels")
    assert records["0"].reason == "the rows of a recurrent weight are gates, not filters"
    assert records["1"].compressed


def test_a_pattern_that_does_not_divide_says_where_and_what():
    net = nn.HybridSequential()
    net.add(
        nn.Conv2D(6, 3, in_channels=1),
        nn.Conv2D(8, 3, in_channels=6),
        nn.Conv2D(4, 1, in_channels=8),
    )
    net.initialize(mx.init.Normal())
    said = r"layer '0' padded: 1 input channels are not a multiple of 4.*layer '1' padded: 6 input"
    with pytest.warns(UserWarning, match=said):
        records = prune(net, sparsity=0.5, pattern="4x1")
    assert "the last blocks are smaller" in records["1"].facts["remainder"]
    assert "remainder" not in records["2"].facts
    with pytest.warns(UserWarning, match=r"layer '0' skipped: 1 input channels are not a multiple"):
        records = prune(net, pattern="2:4")
    assert "keeps at most 2" in records["1"].facts["remainder"]
    assert layers(net)["1"].name in records


def test_names_of_patterns():
    assert sparsity_pattern(None) == sparsity_pattern("unstructured") == Unstructured()
    assert sparsity_pattern("8x2") == Block(8, 2)
    assert sparsity_pattern("1:4") == NM(1, 4)
    assert sparsity_pattern("filters") == Filters()
    assert sparsity_pattern(Channels()) == Channels()
    with pytest.raises(ConfigError, match="N:M sparsity needs 0 < n < m, got n = 4, m = 2"):
        sparsity_pattern("4:2")
