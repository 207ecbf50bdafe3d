"""prune_channels on small networks, and over the zoos (slow)."""

import warnings

import numpy as np
import pytest

from gluonzip.errors import ConfigError, DataError, PatternError

mx = pytest.importorskip("mxnet")

from prune_graphs import unread  # noqa: E402
from zoo_networks import EVERY, FAMILIES, build, images  # noqa: E402

from gluonzip.gluon import GraphBlock, layers, prune, prune_channels, sparsity, trace  # noqa: E402
from gluonzip.passes.prune import select, shrink  # noqa: E402

nn = mx.gluon.nn
SHAPE = (2, 3, 16, 16)


class Residual(mx.gluon.HybridBlock):
    def __init__(self):
        super().__init__()
        with self.name_scope():
            self.stem = nn.Conv2D(16, 3, padding=1, in_channels=3)
            self.bn = nn.BatchNorm(in_channels=16)
            self.body = nn.HybridSequential()
            self.body.add(
                nn.Conv2D(32, 3, padding=1, activation="relu", in_channels=16),
                nn.Conv2D(16, 3, padding=1, in_channels=32),
            )
            self.drop = nn.Dropout(0.3)
            self.out = nn.Dense(10, in_units=16)

    def hybrid_forward(self, F, x):
        x = self.bn(self.stem(x))
        x = F.relu(x + self.body(x))
        return self.out(self.drop(F.Pooling(x, global_pool=True, pool_type="avg", kernel=(1, 1))))


@pytest.fixture
def net():
    mx.random.seed(5)
    net = Residual()
    net.initialize(mx.init.Xavier())
    return net


def shapes(net):
    return {n: p.shape for n, p in net._collect_params_with_prefix().items()}


def test_pruned_network_has_fewer_channels_and_the_same_names(net):
    before = shapes(net)
    block, record = prune_channels(net, SHAPE, ratio=0.5)
    assert shapes(net) == before
    after = shapes(block)
    assert set(after) == set(before)
    assert after["stem.weight"] == (8, 3, 3, 3)
    assert after["body.0.weight"] == (16, 8, 3, 3)
    assert after["body.1.weight"] == (8, 16, 3, 3)
    assert after["out.weight"] == (10, 8)
    assert record.parameters == tuple(
        sum(int(np.prod(s)) for s in figures.values()) for figures in (before, after)
    )
    assert block(mx.nd.random.normal(shape=SHAPE)).shape == (2, 10)
    assert {n: x.kind for n, x in layers(block).items()} == {
        n: x.kind for n, x in layers(net).items()
    }


def test_kept_channels_are_those_of_largest_norm(net):
    weight = net.body[0].weight.data().asnumpy()
    block, record = prune_channels(net, SHAPE, ratio=0.25, skip=["stem"])
    norms = np.abs(weight).sum((1, 2, 3))
    kept = np.sort(np.argsort(norms)[8:])
    np.testing.assert_array_equal(np.setdiff1d(np.arange(32), record.removed["body.0"]), kept)
    pruned = block._collect_params_with_prefix()["body.0.weight"].data().asnumpy()
    np.testing.assert_array_equal(pruned, weight[kept])
    assert record.untouched["body.1"] == "skip keeps stem whole"


def test_ratio_zero_changes_nothing(net):
    block, record = prune_channels(net, SHAPE, ratio=0.0)
    x = mx.nd.random.normal(shape=SHAPE)
    np.testing.assert_allclose(block(x).asnumpy(), net(x).asnumpy(), rtol=1e-5, atol=1e-6)
    assert not record.removed


def test_training_settings_are_carried_over(net):
    net.stem.weight.grad_req = "null"
    net.out.weight.lr_mult = 0.5
    net.bn.gamma.wd_mult = 0.0
    block, _ = prune_channels(net, SHAPE)
    found = block._collect_params_with_prefix()
    assert found["stem.weight"].grad_req == "null"
    assert found["body.0.weight"].grad_req == "write"
    assert found["bn.running_mean"].grad_req == "null"
    assert (found["out.weight"].lr_mult, found["bn.gamma"].wd_mult) == (0.5, 0.0)


def test_pruned_network_can_be_fine_tuned(net):
    block, _ = prune_channels(net, SHAPE)
    block.hybridize()
    loss_of = mx.gluon.loss.SoftmaxCrossEntropyLoss()
    trainer = mx.gluon.Trainer(block.collect_params(), "adam", {"learning_rate": 1e-2})
    y = mx.nd.arange(16) % 4
    x = mx.nd.random.normal(shape=(4, *SHAPE[1:])).take(y) + 2 * y.reshape((-1, 1, 1, 1))
    losses = []
    for _ in range(40):
        with mx.autograd.record():
            loss = loss_of(block(x), y)
        loss.backward()
        trainer.step(16)
        losses.append(float(loss.mean().asscalar()))
    assert losses[-1] < 0.5 * losses[0]


def test_masks_survive_and_their_zeros_stay(net):
    prune(net, sparsity=0.5)
    block, _ = prune_channels(net, SHAPE, ratio=0.5)
    before = sparsity(block)
    assert 0.2 < before["body.0"] < 0.8
    trainer = mx.gluon.Trainer(block.collect_params(), "adam", {"learning_rate": 0.1})
    with mx.autograd.record():
        loss = (block(mx.nd.random.normal(shape=SHAPE)) ** 2).sum()
    loss.backward()
    trainer.step(2)
    assert sparsity(block) == before
    prune(block, sparsity=0.9)
    assert sparsity(block)["body.0"] == pytest.approx(0.9, abs=0.01)


def test_pruned_twice(net):
    once, first = prune_channels(net, SHAPE, ratio=0.25)
    twice, second = prune_channels(once, SHAPE, ratio=0.25, round_to=4)
    assert second.parameters[0] == first.parameters[1]
    assert second.parameters[1] < second.parameters[0]
    assert twice(mx.nd.ones(SHAPE)).shape == (2, 10)


def test_taylor_takes_the_gradients_of_the_network(net):
    with pytest.raises(DataError, match=r"call backward\(\)"):
        prune_channels(net, SHAPE, scorer="taylor")
    x = mx.nd.random.normal(shape=SHAPE)
    with mx.autograd.record():
        loss = (net(x) ** 2).sum()
    loss.backward()
    _, own = prune_channels(net, SHAPE, ratio=0.5, scorer="taylor")
    weight, grad = (net.body[0].weight.data().asnumpy(), net.body[0].weight.grad().asnumpy())
    least = np.argsort(np.abs((weight * grad).sum((1, 2, 3))))[:16]
    np.testing.assert_array_equal(own.removed["body.0"], np.sort(least))
    gradients = {
        n: p.grad() for n, p in net._collect_params_with_prefix().items() if p.grad_req != "null"
    }
    _, given = prune_channels(net, SHAPE, ratio=0.5, scorer="taylor", gradients=gradients)
    np.testing.assert_array_equal(given.removed["body.0"], own.removed["body.0"])


def test_own_scorer(net):
    def last_ones(member):
        return np.arange(len(member.weight), dtype=float)

    _, record = prune_channels(net, SHAPE, ratio=0.5, scorer=last_ones)
    np.testing.assert_array_equal(record.removed["body.0"], np.arange(16))


def test_errors(net):
    with pytest.raises(ConfigError, match=r"ratio = 1.0 is not in \[0, 1\)"):
        prune_channels(net, SHAPE, ratio=1.0)
    with pytest.raises(PatternError, match=r"'head\*' matches no layer; layers: stem, body.0"):
        prune_channels(net, SHAPE, skip=["head*"])
    with pytest.raises(ConfigError, match="scorer 'l3' is unknown"):
        prune_channels(net, SHAPE, scorer="l3")


def test_text_lists_changes_and_reasons(net):
    _, record = prune_channels(net, SHAPE, ratio=0.5)
    text = record.to_text()
    assert "stem           16 -> 8 (-50.0%)" in text
    assert "whole network" in text
    assert "stays: out: its channels are an output of the network" in text


# ---------------------------------------------------------------- the zoos
def check_zoo(net, images):
    x = mx.nd.array(images)
    with mx.autograd.pause():
        expected = net(x)
    block, record = prune_channels(net, images.shape, ratio=0.3)
    expected = expected if isinstance(expected, (list, tuple)) else [expected]
    actual = block(x)
    actual = actual if isinstance(actual, (list, tuple)) else [actual]
    for one, other in zip(actual, expected, strict=True):
        assert one.shape == other.shape
        assert np.isfinite(one.asnumpy()).all()
    count = sum(int(np.prod(s)) for s in shapes(block).values())
    assert count == record.parameters[1] < record.parameters[0]
    assert record.macs[1] < 0.8 * record.macs[0], record.to_text()


QUICK = ("resnet18_v2", "mobilenetv2_0.25", "squeezenet1.1")
FAMILY = [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in FAMILIES]


@pytest.mark.parametrize("name", FAMILY)
def test_zoo_family_equals_the_original_with_unread_channels(name):
    data = images(name)
    graph = trace(build(name, classes=10), data.shape)
    selection = select(graph, ratio=0.3)
    small, _ = shrink(selection)
    actual, expected = (
        GraphBlock(g)(mx.nd.array(data)).asnumpy() for g in (small, unread(selection))
    )
    assert len(selection.removed) > 0
    np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


@pytest.mark.slow
@pytest.mark.parametrize("name", EVERY)
def test_gluon_zoo(name):
    check_zoo(build(name, classes=10), images(name))


GLUONCV = [
    "alexnet",
    "cifar_resnet20_v1",
    "cifar_resnet20_v2",
    "cifar_resnext29_32x4d",
    "cifar_wideresnet16_10",
    "cifar_residualattentionnet56",
    "darknet53",
    "densenet121",
    "dla34",
    "googlenet",
    "hrnet_w18_small_v1_c",
    "inceptionv3",
    "mobilenet0.25",
    "mobilenetv2_0.25",
    "mobilenetv3_small",
    "mobilenetv3_large",
    "nasnet_4_1056",
    "residualattentionnet56",
    "resnest14",
    "resnest26",
    "hrnet_w18_small_v2_c",
    "resnet18_v1b",
    "resnet50_v1",
    "resnet50_v1c",
    "resnet50_v1d",
    "resnet50_v1s",
    "resnet50_v1d_0.37",
    "resnet50_v1e",
    "resnet18_v2",
    "resnext50_32x4d",
    "resnext101e_64x4d",
    "se_resnext50_32x4d",
    "se_resnet18_v1",
    "se_resnet18_v2",
    "senet_154",
    "senet_154e",
    "shufflenet_v1",
    "shufflenet_v2",
    "squeezenet1.0",
    "vgg11_bn",
    "xception",
    "xception71",
]


@pytest.mark.slow
@pytest.mark.parametrize("name", GLUONCV)
def test_gluoncv_classification_family(name):
    cv = pytest.importorskip("gluoncv")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net = cv.model_zoo.get_model(name, pretrained=False)
    net.initialize(mx.init.Xavier())
    size = 32 if name.startswith("cifar") else 299 if "inception" in name else 224
    check_zoo(net, np.random.default_rng(0).standard_normal((1, 3, size, size)).astype("float32"))


def test_untraceable_network_says_so():
    from gluonzip.errors import TraceError

    class Plain(mx.gluon.Block):
        def forward(self, x):
            return x.reshape((x.shape[0], -1))

    with pytest.raises(TraceError, match="no attribute 'shape'"):
        prune_channels(Plain(), (1, 3))
