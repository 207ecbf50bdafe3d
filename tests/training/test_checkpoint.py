"""Checkpoints: a killed run ends as an unbroken one, and what is refused."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import mxnet as mx
import numpy as np
import pytest
import resumable
from mxnet.gluon import Trainer, nn

from gluonzip.errors import CheckpointError, ConfigError
from gluonzip.gluon import (
    Pruner,
    Scheduled,
    iterative,
    linear,
    polynomial,
    prune,
    quantize,
    share,
    sparsity,
)
from gluonzip.gluon.state import parameter_values
from gluonzip.spec import PerChannel, WeightQuantization
from gluonzip.training import (
    Batches,
    Checkpoints,
    Position,
    Training,
    fit,
    trained_parameters,
)


def start(*arguments):
    root = Path(__file__).parents[2]
    command = [sys.executable, resumable.__file__, *map(str, arguments)]
    return subprocess.run(
        command, check=False, env={**os.environ, "PYTHONPATH": str(root)}, timeout=200
    ).returncode


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unbroken")
    assert start(folder / "run", folder / "end.npz") == 0
    with np.load(folder / "end.npz") as file:
        return dict(file)


# In the middle of an epoch while sparsity rises, and after the quantizers came; at the start of an
# epoch; after the last schedule has ended; before there is any checkpoint.
@pytest.mark.parametrize("step", [7, 15, 8, 22, 1])
def test_a_killed_run_ends_with_the_same_parameters(tmp_path, unbroken, step):
    assert start(tmp_path / "run", tmp_path / "end.npz", step) == -signal.SIGKILL
    assert not (tmp_path / "end.npz").exists()
    assert start(tmp_path / "run", tmp_path / "end.npz") == 0
    with np.load(tmp_path / "end.npz") as file:
        assert set(file.files) == set(unbroken)
        for name in file.files:
            np.testing.assert_array_equal(file[name], unbroken[name], err_msg=name)
    assert any("mask" in name for name in unbroken)
    assert any("input_scale" in name for name in unbroken)


def test_a_finished_run_does_nothing_more(tmp_path):
    net, steps = resumable.run(tmp_path)
    again, none = resumable.run(tmp_path)
    assert len(steps) == resumable.STEPS
    assert none == []
    for name, value in parameter_values(net).items():
        np.testing.assert_array_equal(parameter_values(again)[name], value)


def test_only_the_last_files_stay(tmp_path):
    resumable.run(tmp_path, every=5)
    assert [p.name for p in sorted(tmp_path.iterdir())] == [
        "step-000000020.ckpt",
        "step-000000024.ckpt",
    ]


class BrokenOffError(Exception):
    pass


@pytest.mark.parametrize(
    "options",
    [
        {"masks": "recomputed", "schedule": polynomial(0, 8), "every": 2},
        {"masks": "soft", "unit": "epoch", "pattern": "filters", "criterion": "l2"},
        {"schedule": iterative(2, 4, 0.6), "rewind": 1},
        {"criterion": "movement", "schedule": linear(2, 8), "every": 3},
    ],
    ids=["recomputed", "soft", "rewind", "movement"],
)
def test_pruners_go_on_as_well(tmp_path, options):
    rng = np.random.default_rng(1)
    data = Batches(rng.standard_normal((24, 1, 6, 6)), np.arange(24) % 3, 8, shuffle=True)

    def run(folder, breaks_at=None):
        mx.random.seed(6)
        net = nn.HybridSequential()
        net.add(nn.Conv2D(4, 3, in_channels=1), nn.Dense(3, in_units=64))
        net.initialize(mx.init.Xavier())
        data.epoch = 0

        def break_off(step):
            if step == breaks_at:
                raise BrokenOffError

        handlers = [Pruner(net, 0.6, layers="0", **options), Scheduled(lambda t: t, break_off)]
        checkpoints = Checkpoints(folder, every=2)
        fit(net, data, Training(4, 0.05), handlers=handlers, checkpoints=checkpoints)
        return parameter_values(net)

    whole = run(tmp_path / "whole")
    with pytest.raises(BrokenOffError):
        run(tmp_path / "broken", 7)
    end = run(tmp_path / "broken")
    assert (whole["0.weight"] * whole.get("0.weight_mask", 1) == 0).any()
    assert end.keys() == whole.keys()
    for name, value in whole.items():
        np.testing.assert_array_equal(end[name], value, err_msg=name)


# ---------------------------------------------------------------- in a hand-written loop
def network(width=6):
    net = nn.HybridSequential()
    net.add(nn.Dense(width, in_units=4), nn.Dense(2, in_units=width))
    net.initialize(mx.init.Xavier())
    return net


def trainer_of(net):
    return Trainer(trained_parameters(net), "adam", {"learning_rate": 0.1})


def steps(net, trainer, count):
    x = mx.nd.array(np.random.default_rng(0).standard_normal((8, 4)))
    for _ in range(count):
        with mx.autograd.record():
            loss = (net(x) ** 2).sum(axis=1)
        loss.backward()
        trainer.step(8)


def test_structure_trainer_and_generators_come_back(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    net = network()
    prune(net, sparsity=0.5, layers="0")
    quantize(net, weights=WeightQuantization(4, PerChannel()), data=[np.ones((2, 4), "float32")])
    trainer = trainer_of(net)
    steps(net, trainer, 3)
    handler = Scheduled(lambda t: t, len(()).__add__)
    handler.step()
    checkpoints.save(Position(3, facts={"a": 1}), net, trainer, {"h": handler})
    drawn = np.random.rand(), mx.nd.random.uniform(shape=3).asnumpy()
    steps(net, trainer, 2)

    fresh = network()
    quantize(fresh, activations=None)  # is replaced by what was stored
    other, renewed = trainer_of(fresh), Scheduled(lambda t: t, len(()).__add__)
    at = checkpoints.restore(fresh, other, {"h": renewed})
    assert (at.step, at.facts) == (3, {"a": 1})
    assert renewed.state() == handler.state()
    assert np.random.rand() == drawn[0]
    np.testing.assert_array_equal(mx.nd.random.uniform(shape=3).asnumpy(), drawn[1])
    steps(fresh, other, 2)
    for name, value in parameter_values(net).items():
        np.testing.assert_array_equal(parameter_values(fresh)[name], value)
    assert repr(fresh[0]) == repr(net[0])
    assert sparsity(fresh)["0"] == sparsity(net)["0"]


def test_shared_masks_stay_shared(tmp_path):
    def build():
        first = nn.Dense(4, in_units=4)
        net = nn.HybridSequential()
        net.add(first, nn.Dense(4, in_units=4, params=first.params))
        net.initialize()
        return net

    net, fresh = build(), build()
    prune(net, sparsity=0.5)
    Checkpoints(tmp_path).save(Position(), net, trainer_of(net))
    Checkpoints(tmp_path).restore(fresh, trainer_of(fresh))
    assert fresh[0]._reg_params["weight_mask"] is fresh[1]._reg_params["weight_mask"]


def test_codebooks_come_back_and_a_trainer_without_them_is_told(tmp_path):
    def build():
        net = network(16)
        prune(net, sparsity=0.3, layers="0")
        return net

    net = build()
    share(net, layers="0")
    trainer = trainer_of(net)
    steps(net, trainer, 2)
    Checkpoints(tmp_path).save(Position(2), net, trainer)
    fresh = build()
    with pytest.raises(CheckpointError, match="which the trainer does not have: compress the netw"):
        Checkpoints(tmp_path).restore(fresh, trainer_of(fresh))
    share(fresh, layers="0")
    renewed = trainer_of(fresh)
    Checkpoints(tmp_path).restore(fresh, renewed)
    for each, its in ((net, trainer), (fresh, renewed)):
        steps(each, its, 2)
    for name, value in parameter_values(net).items():
        np.testing.assert_array_equal(parameter_values(fresh)[name], value, err_msg=name)


def test_without_a_checkpoint_there_is_none(tmp_path):
    net = network()
    assert Checkpoints(tmp_path / "new").restore(net, trainer_of(net)) is None


# ---------------------------------------------------------------- what is refused
def test_another_network(tmp_path):
    net = network()
    prune(net, sparsity=0.5, layers="1")
    Checkpoints(tmp_path).save(Position(), net, trainer_of(net))
    wider = network(8)
    with pytest.raises(CheckpointError, match=r"parameter '0.weight' of shape \(6, 4\) does not"):
        Checkpoints(tmp_path).restore(wider, trainer_of(wider))
    smaller = nn.HybridSequential()
    smaller.add(nn.Dense(6, in_units=4))
    smaller.initialize()
    with pytest.raises(CheckpointError, match="has no layer '1', which was compressed"):
        Checkpoints(tmp_path).restore(smaller, trainer_of(smaller))
    longer = network()
    longer.add(nn.Dense(2, in_units=2))
    longer.initialize()
    with pytest.raises(CheckpointError, match="parameter '2.bias' is in the network alone"):
        Checkpoints(tmp_path).restore(longer, trainer_of(longer))


def test_other_settings_and_handlers(tmp_path):
    net, data = network(), [(np.ones((2, 4)), np.zeros(2))]
    fit(net, data, Training(1, 0.01), checkpoints=Checkpoints(tmp_path))
    with pytest.raises(CheckpointError, match="learning_rate = 0.01, this one has 0.02"):
        fit(network(), data, Training(1, 0.02), checkpoints=Checkpoints(tmp_path))
    handler = Scheduled(1.0, abs)
    with pytest.raises(CheckpointError, match="handler '0 Scheduled' is not in both"):
        fit(
            network(),
            data,
            Training(1, 0.01),
            handlers=[handler],
            checkpoints=Checkpoints(tmp_path),
        )


@pytest.mark.parametrize("content", [b"", b"not a zip", None])
def test_damage_is_named(tmp_path, content):
    net = network()
    path = Checkpoints(tmp_path).save(Position(), net, trainer_of(net))
    path.write_bytes(path.read_bytes()[:-100] if content is None else content)
    with pytest.raises(CheckpointError, match=r"step-000000000.ckpt is damaged .* the one before"):
        Checkpoints(tmp_path).restore(net, trainer_of(net))


@pytest.mark.parametrize("options", [{"every": 0}, {"keep": 0}, {"keep": 1.5}, {"every": True}])
def test_arguments(tmp_path, options):
    with pytest.raises(ConfigError, match="is not usable; it must be 1 or more"):
        Checkpoints(tmp_path, **options)
