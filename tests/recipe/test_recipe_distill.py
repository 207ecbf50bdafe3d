"""The distill stage: its settings, one loop for all, and a killed job that goes on."""

import mxnet as mx
import numpy as np
import pytest
from mxnet.gluon import nn

import gluonzip
from gluonzip.errors import ConfigError, PatternError
from gluonzip.gluon.state import parameter_values
from gluonzip.recipe import load
from gluonzip.training import Batches

TOGETHER = {
    "name": "small",
    "seed": 3,
    "stages": [
        {"method": "train", "training": {"epochs": 2}},
        {
            "method": "distill",
            "training": {"epochs": 4, "learning_rate": 0.01},
            "distill": {
                "temperature": 2,
                "alpha": 0.9,
                "final_alpha": 0.4,
                "features": [{"student": "0", "loss": "attention", "weight": 2.0}],
            },
            "prune": {"rules": [{"layers": "*", "sparsity": 0.5}], "until": 0.5},
            "quantize": {"begin": 0.5, "weights": {"granularity": "per_channel"}},
        },
    ],
}


def network():
    mx.random.seed(2)
    net = nn.HybridSequential()
    net.add(nn.Conv2D(4, 3, activation="relu"), nn.MaxPool2D(), nn.Dense(3))
    net.initialize(mx.init.Xavier())
    net.hybridize()
    return net


def data():
    labels = np.arange(48) % 3
    images = np.random.default_rng(0).standard_normal((48, 1, 8, 8)) + labels[:, None, None, None]
    return Batches(images, labels, 8, shuffle=True)


def compress(recipe=TOGETHER, net=None, **options):
    calibration = data()
    calibration.shuffle = False
    return gluonzip.compress(
        net or network(), recipe, train_data=data(), calibration_data=calibration,
        validation_data=calibration, threads=1, **options
    )  # fmt: skip


def test_prune_quantize_and_distil_in_one_loop():
    result = compress()
    by_name = {layer.name: layer for layer in result.report.layers}
    assert set(by_name) == {"0", "2"}
    for layer in by_name.values():
        assert layer.sparsity == pytest.approx(0.5, abs=0.05)
        assert layer.weight_bits == 8
    assert [stage.name for stage in result.report.stages] == ["dense", "distill"]
    assert result.report.agreement.same_answer == 48
    assert "forward" not in vars(result.net)  # the taps are off


def test_a_killed_job_goes_on(tmp_path, monkeypatch):
    whole = compress(checkpoints=tmp_path / "whole")
    from gluonzip.training.loop import Loop

    steps, real = [], Loop._batch

    def batch(self, *arguments):
        steps.append(arguments)
        if len(steps) == 12 + 17:  # in the second stage, after the quantizers came
            raise KeyboardInterrupt
        real(self, *arguments)

    monkeypatch.setattr(Loop, "_batch", batch)
    with pytest.raises(KeyboardInterrupt):
        compress(checkpoints=tmp_path / "broken")
    before = len(steps)
    resumed = compress(checkpoints=tmp_path / "broken")
    assert len(steps) - before == 12  # two epochs of the second stage
    expected = parameter_values(whole.net)
    for name, value in parameter_values(resumed.net).items():
        np.testing.assert_array_equal(value, expected[name], err_msg=name)
    rows = [(r.name, r.sparsity, r.weight_bits) for r in resumed.report.layers]
    assert rows == [(r.name, r.sparsity, r.weight_bits) for r in whole.report.layers]


@pytest.mark.parametrize("loss", ["hard", "logits", "decoupled"])
def test_other_losses(loss):
    stage = {"method": "distill", "training": {"epochs": 1}, "distill": {"loss": loss}}
    recipe = {"stages": [stage]}
    assert load(load(recipe)) == load(recipe)
    assert compress(recipe).report.stages[-1].name == "distill"


def test_the_teacher_in_the_engine():
    stage = {"method": "distill", "training": {"epochs": 1}, "distill": {"engine": "int8"}}
    assert compress({"stages": [stage]}).report.stages[-1].name == "distill"


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (["distill.temperature=0"], ConfigError, r"stages\[0\].distill.temperature: 0"),
        (["distill.loss=kl"], ConfigError, r"stages\[0\].distill.loss: 'kl'"),
        (
            ["distill.loss=hard", "distill.temperature=2"],
            ConfigError,
            "loss hard has no temperature",
        ),
        (["quantize.begin=0.2"], ConfigError, "quantize.begin = 0.2 lies before prune.until = 0.5"),
        (["distil.alpha=1"], ConfigError, "unknown key 'distil'; did you mean 'distill'"),
        (
            ["distill.features=[{student: conv9}]"],
            PatternError,
            "tap 'conv9' matches none of the .* layers; candidates: 0",
        ),
    ],
)
def test_errors(changes, error, message):
    overrides = [f"stages.0.{change}" for change in changes]
    with pytest.raises(error, match=message):
        compress(load({"stages": [TOGETHER["stages"][1]]}, overrides))
