"""The Pruner: schedules, masks of three kinds, rewinding, resuming, the Estimator."""

import mxnet as mx
import numpy as np
import pytest
from mxnet.gluon import Trainer, nn
from mxnet.gluon.contrib.estimator import Estimator

from gluonzip.errors import ConfigError, DataError
from gluonzip.gluon import (
    Pruner,
    PruningTarget,
    iterative,
    layers,
    linear,
    one_shot,
    polynomial,
    sparsity,
)
from gluonzip.spec import NM

SOFTMAX = mx.gluon.loss.SoftmaxCrossEntropyLoss()
RNG = np.random.default_rng(4)
LABELS = RNG.integers(0, 3, 96)
X = (np.repeat(np.eye(3)[LABELS] * 2, 4, axis=1) + RNG.normal(size=(96, 12))).astype(np.float32)
BATCHES = [(mx.nd.array(X[i : i + 16]), mx.nd.array(LABELS[i : i + 16])) for i in range(0, 96, 16)]


def network(seed=1):
    mx.random.seed(seed)
    net = nn.HybridSequential()
    net.add(nn.Dense(20, in_units=12, activation="relu"), nn.Dense(10, in_units=20), nn.Dense(3))
    net.initialize(mx.init.Xavier())
    net(BATCHES[0][0])
    return net


def trainer_of(net, optimizer="adam", **options):
    return Trainer(net.collect_params(), optimizer, {"learning_rate": 0.01, **options})


def train(net, trainer, pruner, steps, first=0):
    """Returns the sparsity seen by each step."""
    seen = []
    for step in range(first, first + steps):
        if step % len(BATCHES) == 0:
            pruner.epoch()
        pruner.step()
        seen.append(sparsity(net).total)
        x, y = BATCHES[step % len(BATCHES)]
        with mx.autograd.record():
            loss = SOFTMAX(net(x), y)
        loss.backward()
        trainer.step(len(x))
    return seen


def weight(net, index=0):
    return net[index].weight.data().asnumpy()


# ---------------------------------------------------------------- schedules
@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (one_shot(), [0.8] * 9),
        (one_shot(3), [0, 0, 0] + [0.8] * 6),
        (linear(1, 5), [0, 0, 0.2, 0.4, 0.6, 0.8, 0.8, 0.8, 0.8]),
        (polynomial(0, 6), [0.8 * (1 - (1 - min(t / 6, 1)) ** 3) for t in range(9)]),
        (iterative(2, every=4, sparsity=0.8), [0] * 4 + [1 - 0.2**0.5] * 4 + [0.8]),
    ],
)
@pytest.mark.parametrize("masks", ["frozen", "recomputed"])
def test_sparsity_follows_the_schedule_by_steps(schedule, expected, masks):
    net = network()
    pruner = Pruner(net, sparsity=0.8, schedule=schedule, masks=masks)
    np.testing.assert_allclose(train(net, trainer_of(net), pruner, 9), expected, atol=0.01)


def test_every_and_epochs():
    net = network()
    pruner = Pruner(net, sparsity=0.8, schedule=linear(0, 8), every=4)
    seen = train(net, trainer_of(net), pruner, 10)
    np.testing.assert_allclose(seen, [0] * 4 + [0.4] * 4 + [0.8] * 2, atol=0.01)
    net = network()
    pruner = Pruner(net, sparsity=0.8, schedule=linear(0, 2), unit="epoch")
    seen = train(net, trainer_of(net), pruner, 18)
    np.testing.assert_allclose(seen, [0] * 6 + [0.4] * 6 + [0.8] * 6, atol=0.01)


def test_several_targets_and_their_records():
    net = network()
    targets = [
        PruningTarget(sparsity=0.5, layers="0"),
        PruningTarget(pattern=NM(1, 4), layers="1"),
    ]
    pruner = Pruner(net, targets=targets)
    pruner.step()
    found = sparsity(net)
    assert (found["0"], found["1"], found["2"]) == (0.5, 0.75, 0)
    assert pruner.records["0"].facts["sparsity"] == 0.5
    assert pruner.records["2"].reason == "not selected"


# ---------------------------------------------------------------- kinds of masks
def test_frozen_masks_only_grow():
    net = network()
    pruner, gone = Pruner(net, sparsity=0.8, schedule=polynomial(0, 10)), None
    for step in range(12):
        train(net, trainer_of(net), pruner, 1, first=step)
        if step == 0:
            continue
        now = net[0].effective_weight().asnumpy() == 0
        assert gone is None or now[gone].all()
        gone = now


def test_recomputed_masks_let_weights_come_back_until_the_end():
    net = network()
    pruner = Pruner(net, sparsity=0.6, masks="recomputed")
    pruner.step()
    first = net[0].effective_weight().asnumpy() == 0
    assert (weight(net)[first] != 0).any()  # the values are behind the mask
    smallest = np.unravel_index(np.abs(weight(net)).argmin(), first.shape)
    assert first[smallest]
    others = weight(net) * 1e-3
    others[first] = weight(net)[first]
    net[0].weight.set_data(mx.nd.array(others))
    pruner.step()
    second = net[0].effective_weight().asnumpy() == 0
    assert first.sum() == second.sum()
    assert not second[first].all()
    pruner.finish()
    np.testing.assert_array_equal(weight(net) == 0, second)
    pruner.step()
    np.testing.assert_array_equal(weight(net) == 0, second)


def test_soft_filters_train_on_and_are_final_at_the_end():
    net = network()
    net[0].bias.set_data(mx.nd.ones(20) * 0.1)  # behind a ReLU, a zero has no gradient
    pruner = Pruner(
        net, sparsity=0.5, pattern="filters", criterion="l2", masks="soft", unit="epoch", layers="0"
    )
    pruner.epoch()
    gone = (weight(net) == 0).all(1)
    assert gone.sum() == 10
    assert not hasattr(net[0], "weight_mask")
    trainer = trainer_of(net)
    train(net, trainer, pruner, 5, first=1)
    assert (np.abs(weight(net)[gone]).sum(1) > 0).any()  # they live again
    assert sparsity(net)["0"] < 0.5
    train(net, trainer, pruner, 6, first=6)
    pruner.finish()
    dead = (weight(net) == 0).all(1)
    assert dead.sum() == 10
    train(net, trainer, pruner, 6, first=12)
    assert (net[0].effective_weight().asnumpy()[dead] == 0).all()
    assert sparsity(net)["0"] == 0.5


# ---------------------------------------------------------------- lottery tickets
def test_rewinding_brings_back_the_early_weights():
    net = network()
    trainer = trainer_of(net, "sgd", momentum=0.9)
    pruner = Pruner(
        net, sparsity=0.75, schedule=iterative(2, 4, 0.75, begin=5), rewind=2, trainer=trainer
    )
    train(net, trainer, pruner, 2)
    early = [weight(net, i) for i in range(3)]
    bias = net[0].bias.data().asnumpy()
    train(net, trainer, pruner, 3, first=2)
    before = weight(net)
    pruner.step()
    kept = net[0].weight_mask.data().asnumpy()
    limit = np.abs(before)[kept == 1].min()
    assert np.abs(before)[kept == 0].max() <= limit  # chosen by the trained weights
    assert kept.mean() == pytest.approx(0.5)
    np.testing.assert_array_equal(weight(net), early[0] * kept)
    np.testing.assert_array_equal(net[0].bias.data().asnumpy(), bias)
    assert not trainer._updaters[0].states
    train(net, trainer, pruner, 3, first=6)
    pruner.step()
    np.testing.assert_array_equal(weight(net), early[0] * net[0].weight_mask.data().asnumpy())
    assert sparsity(net)["0"] == 0.75


def test_pruning_before_the_time_to_rewind_to_is_an_error():
    net = network()
    pruner = Pruner(net, sparsity=0.5, rewind=3)
    with pytest.raises(ConfigError, match="prunes before step 3, whose parameters were"):
        pruner.step()


# ---------------------------------------------------------------- gradient criteria
def test_movement_is_accumulated_step_by_step():
    net = network()
    pruner = Pruner(net, sparsity=0.5, criterion="movement", schedule=one_shot(5), layers="0")
    trainer, expected = trainer_of(net), 0.0
    for step in range(5):
        before = weight(net)
        train(net, trainer, pruner, 1, first=step)
        expected = expected - before * net[0].weight.grad().asnumpy()
    pruner.step()
    kept = net[0].weight_mask.data().asnumpy() == 1
    assert kept.mean() == 0.5
    assert expected[kept].min() >= expected[~kept].max()


def test_movement_before_training_says_so():
    with pytest.raises(DataError, match="has seen no gradient yet.*let the schedule begin after"):
        Pruner(network(), sparsity=0.5, criterion="movement").step()


def test_taylor_uses_the_last_backward():
    net = network()
    pruner = Pruner(net, sparsity=0.5, criterion="taylor", schedule=one_shot(1), layers="0")
    train(net, trainer_of(net), pruner, 1)
    score = np.abs(weight(net) * net[0].weight.grad().asnumpy())
    pruner.step()
    kept = net[0].weight_mask.data().asnumpy() == 1
    assert score[kept].min() >= score[~kept].max()


# ---------------------------------------------------------------- resuming
@pytest.mark.parametrize("masks", ["frozen", "recomputed", "soft"])
@pytest.mark.parametrize("criterion", ["magnitude", "movement"])
@pytest.mark.parametrize("rewind", [None, 3])
def test_a_resumed_run_is_the_run_to_the_bit(masks, criterion, rewind, tmp_path):
    def start(seed):
        net = network(seed)
        trainer = trainer_of(net)
        pruner = Pruner(
            net, sparsity=0.7, schedule=polynomial(3, 12), every=3, masks=masks,
            criterion=criterion, rewind=rewind, trainer=trainer,
        )  # fmt: skip
        return net, trainer, pruner

    net, trainer, pruner = start(1)
    train(net, trainer, pruner, 20)
    straight = [weight(net, i) for i in range(3)]

    net, trainer, pruner = start(1)
    train(net, trainer, pruner, 8)
    pruner.save(tmp_path / "pruner.npz")
    net.save_parameters(str(tmp_path / "net.params"))
    trainer.save_states(str(tmp_path / "trainer"))

    net, trainer, pruner = start(9)
    pruner.load(tmp_path / "pruner.npz")
    net.load_parameters(str(tmp_path / "net.params"))
    train(net, trainer, NoPruner(), 1)  # (makes the states that load_states fills)
    net.load_parameters(str(tmp_path / "net.params"))
    trainer.load_states(str(tmp_path / "trainer"))
    for parameter in net.collect_params().values():
        if parameter.grad_req != "null":
            parameter.zero_grad()
    train(net, trainer, pruner, 12, first=8)
    for index, expected in enumerate(straight):
        np.testing.assert_array_equal(weight(net, index), expected)


class NoPruner:
    def step(self):
        pass

    epoch = step


def test_files_that_do_not_fit(tmp_path):
    (tmp_path / "no.npz").write_bytes(b"nonsense")
    net = network()
    with pytest.raises(DataError, match=r"no.npz is not a file that Pruner.save wrote"):
        Pruner(net, sparsity=0.5).load(tmp_path / "no.npz")
    pruner = Pruner(net, sparsity=0.5)
    pruner.step()
    pruner.save(tmp_path / "pruner.npz")
    other = nn.Dense(3, in_units=4)
    other.initialize()
    with pytest.raises(DataError, match=r"the saved mask of '0:weight' \(20, 12\) does not fit"):
        Pruner(other, sparsity=0.5).load(tmp_path / "pruner.npz")
    with pytest.raises(DataError, match="of a Pruner with another criterion"):
        Pruner(net, sparsity=0.5, criterion="movement").load(tmp_path / "pruner.npz")


# ---------------------------------------------------------------- the Estimator
@pytest.mark.parametrize("hybrid", [False, True])
@pytest.mark.parametrize(
    ("masks", "criterion", "unit"),
    [("frozen", "magnitude", "epoch"), ("soft", "l2", "epoch"), ("recomputed", "movement", "step")],
)
def test_the_estimator_prunes_while_it_trains(hybrid, masks, criterion, unit):
    net = network()
    if hybrid:
        net.hybridize()
    end = 4 if unit == "epoch" else 24
    pruner = Pruner(
        net, sparsity=0.6, schedule=polynomial(1, end), unit=unit, masks=masks, criterion=criterion
    )
    loop = Estimator(
        net, SOFTMAX, [mx.metric.Accuracy()], trainer=trainer_of(net), context=[mx.cpu()]
    )
    data = mx.gluon.data.ArrayDataset(X, LABELS.astype(np.float32))
    data = mx.gluon.data.DataLoader(data, batch_size=16)
    loop.fit(data, epochs=14, event_handlers=[pruner])
    found = sparsity(net)
    for name, layer in layers(net).items():
        assert found[name] == pytest.approx(0.6, abs=0.02)
        assert (layer.block.weight.data().asnumpy() == 0).mean() >= (
            0.5 if masks != "frozen" else 0
        )
    answers = net(mx.nd.array(X)).asnumpy().argmax(1)
    assert (answers == LABELS).mean() > 0.85


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"masks": "hard"}, "masks = 'hard' is unknown; use one of frozen, recomputed, soft"),
        ({"sparsity": 1.0}, "sparsity = 1.0 is not usable"),
        ({"sparsity": None}, "exactly one of threshold and sparsity"),
        ({"rewind": -1}, "rewind = -1 is not a time"),
        ({"unit": "batch"}, "unit = 'batch' is unknown"),
        ({"targets": [PruningTarget(sparsity=0.1)]}, "give targets, or sparsity"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ConfigError, match=message):
        Pruner(network(), **{"sparsity": 0.5, **arguments})


def test_a_schedule_that_leaves_its_range_is_an_error():
    pruner = Pruner(network(), sparsity=0.5, schedule=lambda time: 1.5)
    with pytest.raises(ConfigError, match=r"gives 1.5 at step 0; it must give the share"):
        pruner.step()
    with pytest.raises(ConfigError, match="iterative: rounds = 0"):
        iterative(0, 5, 0.5)
