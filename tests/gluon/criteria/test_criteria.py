"""Each criterion, each pattern: which units go, against formulas in plain NumPy."""

import mxnet as mx
import numpy as np
import pytest
from mxnet.gluon import nn

from gluonzip.errors import ConfigError, DataError
from gluonzip.gluon import Movement, loss_gradients, prune, prune_channels, sparsity

RNG = np.random.default_rng(7)
X = mx.nd.array(RNG.standard_normal((12, 3, 8, 8)))
Y = mx.nd.array(RNG.integers(0, 4, 12))
SOFTMAX = mx.gluon.loss.SoftmaxCrossEntropyLoss()


def network(bn=True):
    mx.random.seed(3)
    net = nn.HybridSequential()
    net.add(nn.Conv2D(8, 3, in_channels=3))
    if bn:
        net.add(nn.BatchNorm(in_channels=8))
    net.add(nn.Activation("relu"), nn.Conv2D(6, 3, in_channels=8), nn.GlobalAvgPool2D())
    net.add(nn.Dense(4, in_units=6))
    net.initialize(mx.init.Normal(0.3))
    if bn:
        net[1].gamma.set_data(mx.nd.array(RNG.standard_normal(8)))
    net(X)
    return net


def value(parameter):
    return parameter.data().asnumpy()


def zeros(net, index=0):
    return value(net[index].weight) == 0


def lowest(scores, share=0.5):
    """The units that must go."""
    gone = np.zeros(scores.size, bool)
    gone[np.argsort(scores, axis=None, kind="stable")[: round(share * scores.size)]] = True
    return gone.reshape(scores.shape)


def numeric_gradient(net, weight, entries):
    """Central differences of the mean loss at single entries."""
    base, found = value(weight).astype(np.float64), []
    for entry in entries:
        sides = []
        for step in (1e-2, -1e-2):
            moved = base.copy()
            moved[entry] += step
            weight.set_data(mx.nd.array(moved))
            sides.append(float(SOFTMAX(net(X), Y).mean().asscalar()))
        found.append((sides[0] - sides[1]) / 2e-2)
    weight.set_data(mx.nd.array(base))
    return np.array(found)


# ---------------------------------------------------------------- formulas
def test_gradients_are_those_of_the_mean_loss():
    net = network()
    found = loss_gradients(net, [(X[:8], Y[:8]), (X[8:], Y[8:])], SOFTMAX)
    weight = net[0].weight
    entries = [(0, 0, 0, 0), (3, 1, 2, 1), (7, 2, 1, 0)]
    expected = numeric_gradient(net, weight, entries)
    got = [found["0.weight"][entry] for entry in entries]
    np.testing.assert_allclose(got, expected, rtol=0.02, atol=1e-3)


@pytest.mark.parametrize("hybrid", [False, True])
def test_taylor_is_gradient_times_weight(hybrid):
    net = network()
    net.hybridize(hybrid)
    gradient = loss_gradients(net, (X, Y))["0.weight"]
    expected = lowest(np.abs(value(net[0].weight) * gradient))
    prune(net, sparsity=0.5, layers="0", criterion="taylor", data=(X, Y), loss=SOFTMAX)
    np.testing.assert_array_equal(zeros(net), expected)


def test_taylor_of_filters_sums_before_the_absolute_value():
    net = network()
    product = value(net[0].weight) * loss_gradients(net, (X, Y))["0.weight"]
    expected = lowest(np.abs(product.sum((1, 2, 3))))
    options = {"criterion": "taylor", "data": (X, Y)}
    prune(net, sparsity=0.5, layers="0", pattern="filters", **options)
    np.testing.assert_array_equal(zeros(net).all((1, 2, 3)), expected)
    assert not zeros(net)[~expected].any()


def test_snip_is_one_batch_in_training_mode_and_leaves_the_statistics():
    net = network()
    before = value(net[1].running_mean)
    twin = network()
    twin[1].gamma.set_data(net[1].gamma.data())
    with mx.autograd.record():
        loss = SOFTMAX(twin(X[:5]), Y[:5]).mean()
    loss.backward()
    expected = lowest(np.abs(value(net[0].weight) * twin[0].weight.grad().asnumpy()))
    data = [(X[:5], Y[:5]), (X[5:], Y[5:])]
    prune(net, sparsity=0.5, layers="0", criterion="snip", data=data)
    np.testing.assert_array_equal(zeros(net), expected)
    np.testing.assert_array_equal(value(net[1].running_mean), before)


def test_movement_sums_gradient_times_weight_over_steps():
    net = network(bn=False)
    trainer = mx.gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": 0.1, "momentum": 0.9})
    movement, expected = Movement(net), 0.0
    for _ in range(4):
        before = value(net[0].weight)
        with mx.autograd.record():
            loss = SOFTMAX(net(X), Y)
        loss.backward()
        trainer.step(12)
        movement.step()
        expected = expected - before * net[0].weight.grad().asnumpy()
    np.testing.assert_allclose(movement["0.weight"], expected, rtol=1e-5, atol=1e-6)
    prune(net, sparsity=0.5, layers="0", criterion="movement", movement=movement)
    np.testing.assert_array_equal(zeros(net), lowest(movement["0.weight"]))


@pytest.mark.parametrize(
    ("criterion", "formula"),
    [
        ("magnitude", lambda w: np.abs(w).mean((1, 2, 3))),
        ("l1", lambda w: np.abs(w).sum((1, 2, 3))),
        ("l2", lambda w: np.linalg.norm(w.reshape(len(w), -1), axis=1)),
        ("fpgm", lambda w: np.array([sum(np.linalg.norm(a - b) for b in w) for a in w])),
    ],
)
def test_filters_by_norms_and_distances(criterion, formula):
    net = network()
    expected = lowest(formula(value(net[0].weight).astype(np.float64)))
    prune(net, sparsity=0.5, layers="0", pattern="filters", criterion=criterion)
    np.testing.assert_array_equal(zeros(net).all((1, 2, 3)), expected)


def test_batch_norm_scale():
    net = network()
    expected = lowest(np.abs(value(net[1].gamma)))
    records = prune(net, sparsity=0.5, pattern="filters", criterion="bn_scale")
    np.testing.assert_array_equal(zeros(net).all((1, 2, 3)), expected)
    assert records["3"].reason == "no batch norm lies behind it, so it has no scale to be judged by"
    assert "are the network's outputs" in records["5"].reason


def test_random_depends_on_the_seed_alone():
    masks = []
    for seed in (1, 1, 2):
        net = network()
        prune(net, sparsity=0.5, layers="0", criterion="random", seed=seed)
        masks.append(zeros(net))
    np.testing.assert_array_equal(masks[0], masks[1])
    assert (masks[0] != masks[2]).any()


def test_a_criterion_of_the_users_own_and_the_same_one_for_channels():
    def variance(member):
        return member.weight.var(axis=1) if member.kind == "weight" else None

    net = network()
    expected = lowest(value(net[0].weight).reshape(8, -1).var(1))
    _, record = prune_channels(net, X.shape, ratio=0.5, round_to=1, scorer=variance)
    np.testing.assert_array_equal(record.removed["0"], np.flatnonzero(expected))
    records = prune(net, sparsity=0.5, layers="0", pattern="filters", criterion=variance)
    np.testing.assert_array_equal(zeros(net).all((1, 2, 3)), expected)
    assert records["0"].facts["criterion"] == "variance"


@pytest.mark.parametrize("criterion", ["taylor", "snip", "magnitude", "l1", "l2", "random", "fpgm"])
def test_channels_take_the_same_criteria_and_data(criterion):
    net = network()
    block, record = prune_channels(
        net, X.shape, ratio=0.5, round_to=1, scorer=criterion, data=(X, Y), loss=SOFTMAX
    )
    assert len(record.removed["0"]) == 4
    assert block(X).shape == (12, 4)
    if criterion == "taylor":
        product = value(net[3].weight) * loss_gradients(net, (X, Y))["3.weight"]
        gone = np.flatnonzero(lowest(np.abs(product.sum((1, 2, 3)))))
        np.testing.assert_array_equal(record.removed["3"], gone)


def test_global_scope_ranks_scores_of_all_layers():
    net = network()
    gradients = loss_gradients(net, (X, Y))
    scores = {i: np.abs(value(net[i].weight) * gradients[f"{i}.weight"]) for i in (0, 3, 5)}
    together = np.concatenate([s.ravel() for s in scores.values()])
    limit = np.sort(together)[round(0.6 * together.size) - 1]
    prune(net, sparsity=0.6, scope="global", criterion="taylor", data=(X, Y))
    for index, score in scores.items():
        np.testing.assert_array_equal(zeros(net, index), score <= limit)


# ---------------------------------------------------------------- state that must survive
def test_frozen_and_accumulated_gradients_come_back():
    net = network()
    net[0].weight.grad_req = "null"
    net[3].weight.grad_req = "add"
    net[5].weight.grad()[:] = 5
    net[3].weight.grad()[:] = 7
    gradients = loss_gradients(net, (X, Y), parameters=[net[0].weight, net[3].weight])
    assert set(gradients) == {"0.weight", "3.weight"}
    assert np.abs(gradients["0.weight"]).max() > 0
    assert net[0].weight.grad_req == "null"
    assert net[3].weight.grad_req == "add"
    assert (net[3].weight.grad().asnumpy() == 7).all()
    assert (net[5].weight.grad().asnumpy() == 5).all()
    plain = loss_gradients(network(), (X, Y))
    np.testing.assert_allclose(gradients["3.weight"].shape, plain["3.weight"].shape)


def test_what_is_pruned_has_no_gradient_and_stays_pruned_by_any_criterion():
    net = network()
    prune(net, sparsity=0.5, layers="0")
    first = zeros(net)
    assert (loss_gradients(net, (X, Y))["0.weight"][first] == 0).all()
    net[0].weight.set_data(mx.nd.ones((8, 3, 3, 3)))  # as if an optimizer had moved it
    prune(net, sparsity=0.75, layers="0", criterion="random")
    assert (net[0].effective_weight().asnumpy()[first] == 0).all()
    assert sparsity(net)["0"] == 0.75


# ---------------------------------------------------------------- bad input
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"criterion": "talyor"},
            "criterion 'talyor' is unknown; use a function or one of bn_scale",
        ),
        ({"criterion": "fpgm"}, "criterion 'fpgm' compares whole filters; use pattern='filters'"),
        ({"criterion": "movement"}, r"pass movement=Movement\(net\)"),
        ({"sparsity": 1.0}, "sparsity = 1.0 is not usable; use a number from 0 to below 1"),
        ({"sparsity": -0.1}, "sparsity = -0.1"),
        ({"pattern": "4by1"}, "pattern '4by1' is unknown; use unstructured, 4x1"),
        ({"pattern": "filters", "layers": "5"}, "of layer '5' are the network's outputs"),
        ({"pattern": "filters", "layers": ["0", "5"]}, "of layer '5' are the network's outputs"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ConfigError, match=message):
        prune(network(), **{"sparsity": 0.5, **options})


def test_kinds_of_data():
    net = network(bn=False)
    expected = loss_gradients(net, (X, Y))["0.weight"]
    dataset = mx.gluon.data.ArrayDataset(X, Y)
    iterator = mx.io.NDArrayIter(X, Y, batch_size=6)
    for data in (
        (X.asnumpy(), Y.asnumpy()),
        mx.gluon.data.DataLoader(dataset, batch_size=5),
        iterator,
        iterator,  # (begins anew)
    ):
        found = loss_gradients(net, data)["0.weight"]
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-7)
    own = loss_gradients(net, [X], loss=lambda outputs: outputs.sum(axis=1))["0.weight"]
    with mx.autograd.record():
        value = net(X).sum(axis=1).mean()
    value.backward()
    np.testing.assert_allclose(own, net[0].weight.grad().asnumpy(), rtol=1e-4, atol=1e-7)
    with pytest.raises(DataError, match="a batch has no labels, which SoftmaxCrossEntropyLoss"):
        loss_gradients(net, [X])
    with pytest.raises(DataError, match="has no batches"):
        loss_gradients(net, [])


def test_gradients_that_are_missing_or_not_finite():
    net = network()
    with pytest.raises(
        DataError, match="needs gradients, and the network's are all zero: give data"
    ):
        prune(net, sparsity=0.5, criterion="taylor")
    nan = {f"{i}.weight": value(net[i].weight) for i in (0, 3, 5)}
    nan["3.weight"] = np.full(nan["3.weight"].shape, np.nan)
    with pytest.raises(DataError, match=r"gradient of '3.weight' \(layer '3'\) is not finite"):
        prune(net, sparsity=0.5, criterion="taylor", gradients=nan)
    with pytest.raises(DataError, match=r"needs the gradient of '3.weight' \(layer '3'\)"):
        prune(net, sparsity=0.5, criterion="taylor", gradients={"0.weight": nan["0.weight"]})
    with pytest.raises(DataError, match=r"the gradient of '0.weight' is not finite"):
        prune(net, sparsity=0.5, criterion="taylor", data=(X, Y), loss=lambda p, y: (p * 1e38) ** 2)
    with pytest.raises(DataError, match="scores of layer '0' .* are not finite"):
        prune(net, sparsity=0.5, criterion=lambda m: np.full(len(m.weight), np.nan))
    with pytest.raises(DataError, match="shape .* for layer '0', which has 216 units"):
        prune(net, sparsity=0.5, criterion=lambda m: np.ones(3))
    with pytest.raises(DataError, match="has seen no gradient yet"):
        prune(net, sparsity=0.5, criterion="movement", movement=Movement(net))
    assert sparsity(net).total == 0


def test_a_layer_pruned_to_nothing_is_named():
    net = network()
    net[3].weight.set_data(net[3].weight.data() * 1e-3)
    with pytest.warns(UserWarning, match="layer '3' is pruned to nothing: all 432 values"):
        prune(net, sparsity=0.9, scope="global")


def test_a_layer_of_few_units_keeps_one():
    net = nn.Dense(2, in_units=1)
    net.initialize(mx.init.Normal())
    prune(net, sparsity=0.9)
    assert np.count_nonzero(value(net.weight)) == 1


class Untraceable(mx.gluon.HybridBlock):
    def hybrid_forward(self, F, x):
        return x.reshape((x.shape[0], -1))


def test_an_untraceable_child_is_named():
    net = nn.HybridSequential()
    net.add(nn.Conv2D(8, 3, in_channels=3), nn.BatchNorm(in_channels=8), Untraceable(), nn.Dense(4))
    net.initialize()
    net(X)
    with pytest.warns(UserWarning, match=r"is not known.*child '2' \(Untraceable\) failed"):
        prune(net, sparsity=0.5, pattern="filters", layers="0")
    from gluonzip.errors import TraceError

    with pytest.raises(TraceError, match=r"child '2' \(Untraceable\) failed"):
        prune(net, sparsity=0.5, pattern="filters", criterion="bn_scale")
    prune(net, sparsity=0.5)  # single weights need no trace
