"""Losses that pull weights together, low-rank networks, and the recipe's stages for both."""

import mxnet as mx
import numpy as np
import pytest
from mxnet.gluon import nn
from scipy.stats import norm

from gluonzip.errors import ConfigError
from gluonzip.gluon import MixturePrior, factorize, share, strip, tie, tie_penalty
from gluonzip.recipe import Job, load
from gluonzip.spec import WeightSharing


def network():
    mx.random.seed(3)
    net = nn.HybridSequential()
    net.add(nn.Dense(16, in_units=20, activation="relu"), nn.Dense(16, in_units=16))
    net.add(nn.Dense(16, in_units=16), nn.Dense(4, in_units=16))
    net.initialize(mx.init.Normal(0.5))
    return net


X = mx.nd.array(np.random.default_rng(1).standard_normal((40, 20)))
Y = mx.nd.array(np.random.default_rng(2).integers(0, 4, 40))


def descend(trainer, loss, steps):
    for _ in range(steps):
        with mx.autograd.record():
            value = loss()
        value.backward()
        trainer.step(1, ignore_stale_grad=True)
    return float(value.asscalar())


def test_the_prior_is_the_log_density_of_a_mixture():
    net = network()
    prior = MixturePrior(net, components=3, zero=0.7, layers="1")
    prior.log_shares.set_data(mx.nd.array([0.1, -0.4, 0.3]))
    prior.log_widths.set_data(mx.nd.array([-1.0, -0.5, 0.2, -2.0]))
    weights = net[1].weight.data().asnumpy().ravel()
    means = [0, *prior.means.data().asnumpy()]
    widths = np.exp([-1.0, -0.5, 0.2, -2.0]) + 1e-4
    rest = np.exp([0.1, -0.4, 0.3])
    shares = [0.7, *(0.3 * rest / rest.sum())]
    density = sum(
        s * norm.pdf(weights, m, w) for s, m, w in zip(shares, means, widths, strict=True)
    )
    assert float(prior().asscalar()) == pytest.approx(-np.log(density).mean(), rel=1e-4)


def test_the_prior_pulls_weights_to_a_few_values():
    net = network()
    prior = MixturePrior(net, components=3, layers=["0", "1"])
    parameters = net.collect_params()
    parameters.update(prior.collect_params())
    trainer = mx.gluon.Trainer(parameters, "adam", {"learning_rate": 0.02})
    before = net[1].weight.data().asnumpy()
    first, last = float(prior().asscalar()), descend(trainer, prior, 150)
    assert last < first - 1
    soft = net[1].weight.data().asnumpy()
    counts = prior.harden()
    assert set(counts) == {"0", "1"}
    assert max(counts.values()) <= 4
    hard = net[1].weight.data().asnumpy()
    assert np.abs(hard - soft).mean() < 0.1 * np.abs(before).mean()
    records = share(net, WeightSharing(bits=2), layers=["0", "1"])
    np.testing.assert_array_equal(net[1].effective_weight().asnumpy(), hard)
    assert records["1"].facts["shared_values"] <= 4
    with pytest.raises(ConfigError, match="layer '0' has a codebook already"):
        MixturePrior(net)


def test_a_tie_pulls_layers_together_until_they_are_one():
    net = network()
    trainer = mx.gluon.Trainer(net.collect_params(), "adam", {"learning_rate": 0.02})
    assert descend(trainer, lambda: 100 * tie_penalty(net, ["1", "2"]), 120) < 1e-3
    output = net(X).asnumpy()
    assert tie(net, ["1", "2"]) == ["1", "2"]
    assert net[1].weight is net[2].weight
    np.testing.assert_allclose(net(X).asnumpy(), output, atol=0.1)


def test_arguments():
    net = network()
    with pytest.raises(
        ConfigError, match=r"a tie needs two layers or more of one shape, got \['0', '1'\]"
    ):
        tie_penalty(net, ["0", "1"])
    with pytest.raises(ConfigError, match="components = 0 must be a positive integer"):
        MixturePrior(net, components=0)
    with pytest.raises(ConfigError, match="zero = 1 must be between 0 and 1"):
        MixturePrior(net, zero=1)


# ---------------------------------------------------------------- low rank
def test_factorized_networks_train():
    net = network()
    net(X)
    small, records = factorize(net, (1, 20), rank=3, layers=["1", "2"])
    assert [r.rank for r in records] == [3, 3]
    weights = {n: p.shape for n, p in small._collect_params_with_prefix().items() if "weight" in n}
    assert weights["1.first.weight"] == (3, 16)
    assert weights["2.second.weight"] == (16, 3)
    loss = mx.gluon.loss.SoftmaxCrossEntropyLoss()
    trainer = mx.gluon.Trainer(small.collect_params(), "adam", {"learning_rate": 0.01})
    first = float(loss(small(X), Y).mean().asscalar())
    assert descend(trainer, lambda: loss(small(X), Y).mean(), 40) < first
    full, _ = factorize(network(), (1, 20), energy=1.0)
    np.testing.assert_allclose(full(X).asnumpy(), network()(X).asnumpy(), atol=1e-4)


# ---------------------------------------------------------------- in recipes
def test_stages_share_and_low_rank():
    recipe = load({"stages": [
        {"method": "low_rank", "layers": ["1", "2"], "rank": 3, "training": {"epochs": 1}},
        {"method": "share", "bits": 3, "rate": 0.001, "biases": 6, "layers": ["0", "1*"],
         "training": {"epochs": 1}},
    ]})  # fmt: skip
    job = Job(network(), [(X, Y)])
    for stage in recipe.stages:
        stage.check(job)
    for stage in recipe.stages:
        stage.run(job)
    assert job.records["low_rank"]["1"].facts["rank"] == 3
    assert job.records["share"]["1.first"].compressed
    strip(job.net)
    values = job.net._collect_params_with_prefix()["0.weight"].data().asnumpy()
    assert len(np.unique(values)) <= 9


def test_stages_explain_what_is_wrong():
    with pytest.raises(ConfigError, match="give exactly one of energy, rank and budget"):
        load({"stages": [{"method": "low_rank"}]})
    stage = load({"stages": [{"method": "share", "rate": 0.1}]}).stages[0]
    with pytest.raises(ConfigError, match="stage 'share' trains, but no train_data was given"):
        stage.check(Job(network()))
