"""prune and sparsity: which weights go, what the record says, and every bad argument."""

import mxnet as mx
import numpy as np
import pytest
from mxnet.gluon import nn

from gluonzip.errors import ConfigError, DataError, PatternError
from gluonzip.gluon import prune, sparsity, strip
from gluonzip.spec import NM, Block


def lenet():
    mx.random.seed(1)
    net = nn.HybridSequential()
    net.add(
        nn.Conv2D(6, 5, in_channels=3, activation="relu"),
        nn.MaxPool2D(2),
        nn.Conv2D(8, 3, in_channels=6),
        nn.Dense(10),
    )
    net.initialize(mx.init.Normal(0.1))
    net(mx.nd.zeros((1, 3, 14, 14)))
    return net


def weight(net, index):
    return net[index].weight.data().asnumpy()


def test_threshold_takes_what_is_below():
    net = lenet()
    before = weight(net, 0)
    records = prune(net, threshold=0.05, layers=nn.Conv2D)
    after = weight(net, 0)
    np.testing.assert_array_equal(after, np.where(np.abs(before) < 0.05, 0, before))
    assert records["0"].facts["sparsity"] == np.mean(after == 0)
    assert records["0"].facts["threshold"] == 0.05
    assert not records["3"].compressed
    assert records["3"].reason == "not selected"
    assert list(records) == ["0", "2", "3"]


@pytest.mark.parametrize("fraction", [0, 0.3, 0.95])
def test_sparsity_by_layer_is_exact(fraction):
    net = lenet()
    before = [weight(net, i) for i in (0, 2, 3)]
    prune(net, sparsity=fraction)
    for i, old in zip((0, 2, 3), before, strict=True):
        new = weight(net, i)
        assert np.count_nonzero(new == 0) == round(fraction * new.size)
        if fraction:
            assert np.abs(old[new == 0]).max() <= np.abs(new[new != 0]).min()


def test_zeros_have_no_sign():
    net = lenet()
    prune(net, threshold=100)
    assert not np.signbit(weight(net, 0)).any()
    net[2].weight.set_data(mx.nd.full((8, 6, 3, 3), -1))
    strip(net)
    assert not np.signbit(weight(net, 2)).any()


def test_global_scope_ranks_all_layers_together():
    net = lenet()
    net[3].weight.set_data(net[3].weight.data() * 0.01)
    prune(net, sparsity=0.5, scope="global")
    found = sparsity(net)
    assert found.total == pytest.approx(0.5, abs=1e-3)
    assert found["3"] > 0.6
    assert found["0"] < 0.1


def test_zeros_of_earlier_calls_stay():
    net = lenet()
    prune(net, sparsity=0.8)
    first = weight(net, 0) == 0
    net[0].weight.set_data(mx.nd.ones((6, 3, 5, 5)))  # as if trained on
    prune(net, sparsity=0.5)
    assert (net[0].effective_weight().asnumpy()[first] == 0).all()
    assert sparsity(net)["0"] == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize(("pattern", "axis_sizes"), [(NM(2, 4), 4), (NM(1, 3), 3)])
def test_n_of_m_along_input_channels(pattern, axis_sizes):
    net = nn.Conv2D(5, 3, in_channels=12)
    net.initialize(mx.init.Normal())
    old = net.weight.data().asnumpy()
    prune(net, pattern=pattern)
    new = net.weight.data().asnumpy()
    groups = (new != 0).reshape(5, 12 // axis_sizes, axis_sizes, 3, 3)
    assert (groups.sum(2) == pattern.n).all()
    magnitudes = np.abs(old).reshape(groups.shape)
    kept = np.where(groups, magnitudes, np.inf).min(2)
    gone = np.where(groups, -np.inf, magnitudes).max(2)
    assert (kept >= gone).all()


def test_n_of_m_with_a_partial_group():
    net = nn.Dense(7, in_units=6)
    net.initialize(mx.init.Normal())
    prune(net, pattern=NM(1, 4))
    new = net.weight.data().asnumpy() != 0
    assert (new[:, :4].sum(1) == 1).all()
    assert (new[:, 4:].sum(1) == 1).all()


@pytest.mark.parametrize("inputs", [8, 10])
def test_blocks_of_four_input_channels(inputs):
    net = nn.Conv2D(6, 3, in_channels=inputs)
    net.initialize(mx.init.Normal())
    old = net.weight.data().asnumpy()
    prune(net, sparsity=0.75, pattern=Block(4, 1))
    new = net.weight.data().asnumpy()
    kept, gone = [], []
    for start in range(0, inputs, 4):
        alive = (new[:, start : start + 4] != 0).any(1)
        assert (alive == (new[:, start : start + 4] != 0).all(1)).all()
        score = np.abs(old[:, start : start + 4]).mean(1)
        kept += score[alive].tolist()
        gone += score[~alive].tolist()
    assert min(kept) >= max(gone)
    assert len(gone) == round(0.75 * (len(kept) + len(gone)))


def test_blocks_of_output_channels():
    net = nn.Dense(8, in_units=8)
    net.initialize(mx.init.Normal())
    prune(net, sparsity=0.5, pattern=Block(inputs=2, outputs=4))
    alive = (net.weight.data().asnumpy() != 0).reshape(2, 4, 4, 2)
    assert (alive.any((1, 3)) == alive.all((1, 3))).all()
    assert alive.all((1, 3)).sum() == 4


def test_transposed_convolutions_count_input_channels_on_axis_0():
    net = nn.Conv2DTranspose(5, 3, in_channels=8)
    net.initialize(mx.init.Normal())
    prune(net, pattern=NM(2, 4))
    alive = (net.weight.data().asnumpy() != 0).reshape(2, 4, 5, 3, 3)
    assert (alive.sum(1) == 2).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "exactly one of threshold and sparsity"),
        ({"threshold": 0.1, "sparsity": 0.5}, "exactly one of threshold and sparsity"),
        ({"threshold": -0.1}, r"threshold = -0.1 is not usable; use a number >= 0"),
        ({"threshold": float("nan")}, "threshold = nan"),
        ({"sparsity": 1.5}, r"sparsity = 1.5 is not usable; use a number from 0 to below 1"),
        ({"sparsity": "half"}, "sparsity = 'half'"),
        ({"sparsity": 0.5, "scope": "net"}, "scope = 'net' is unknown"),
        ({"sparsity": 0.5, "pattern": NM(2, 4)}, "sets the sparsity itself"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ConfigError, match=message):
        prune(lenet(), **arguments)


def test_unmatched_pattern_changes_nothing():
    net = lenet()
    with pytest.raises(PatternError, match="'conv'"):
        prune(net, sparsity=0.9, layers=["0", "conv"])
    assert sparsity(net).total == 0
    assert type(net[0]) is nn.Conv2D


def test_weights_that_are_not_there_or_not_finite():
    net = nn.HybridSequential()
    net.add(nn.Dense(3))
    with pytest.raises(DataError, match=r"parameter '0.weight' has no values yet: call net.init"):
        prune(net, sparsity=0.5)
    net.initialize()
    with pytest.raises(DataError, match=r"'0.weight' has no values yet: run one forward"):
        prune(net, sparsity=0.5)
    net(mx.nd.ones((1, 4)))
    net[0].weight.data()[0, 0] = float("nan")
    with pytest.raises(DataError, match=r"parameter '0.weight' holds values that are not finite"):
        prune(net, sparsity=0.5)
