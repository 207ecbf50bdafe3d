"""gluonzip compress on a few digits; and everything that must fail before training starts."""

import json

import pytest

from gluonzip.recipe import load
from gluonzip.runtime import Engine

SHORT = [f"--set=stages.{i}.training.epochs=1" for i in range(3)]
TINY = [*SHORT, "--set=stages.1.ramp=1", "--set=data.limit=80"]


def test_a_recipe_from_start_to_finish(cli, tmp_path):
    folder = tmp_path / "out"
    done = cli("compress", "lenet", "-o", folder, *TINY, "--threads", 1, "--debug")
    assert done.exit_code == 0, done.output
    for word in ("lenet: dense and compressed", "latency, batch 64", "conv1", "Stages", "quantize"):
        assert word in done.stdout
    assert {p.name for p in folder.iterdir()} == {
        "lenet.glz",
        "recipe.yaml",
        "errors.png",
        "report.html",
        "report.json",
        "report.md",
        "stages.png",
        "weights.png",
    }
    report = json.loads((folder / "report.json").read_text())
    assert report["archive"]["total"] == (folder / "lenet.glz").stat().st_size
    assert report["dense_bytes"] == 431080 * 4
    assert report["agreement"]["samples"] == report["samples"] == 20
    assert [layer["name"] for layer in report["layers"]] == ["conv1", "conv2", "fc1", "fc2"]
    assert load(folder / "recipe.yaml").stages[0].training.epochs == 1
    assert Engine.load(folder / "lenet.glz").inputs[0][1] == (0, 1, 28, 28)


def test_a_resumable_run_is_not_trained_twice(cli, tmp_path):
    arguments = ["compress", "lenet", "-o", tmp_path, *TINY, "--threads", 1, "--resumable"]
    archives = []
    for _ in range(2):
        done = cli(*arguments)
        assert done.exit_code == 0, done.output
        archives.append((tmp_path / "lenet.glz").read_bytes())
    assert archives[0] == archives[1]
    folders = sorted(p.name for p in (tmp_path / "checkpoints").iterdir())
    assert folders == ["0-train", "1-prune", "2-quantize"]
    again = cli(*arguments, "--set=stages.0.training.learning_rate=0.5")
    assert again.exit_code == 1
    assert "learning_rate = 0.002, this one has 0.5" in again.stderr


@pytest.fixture
def no_training(monkeypatch):
    """Fails the test as soon as anything is trained."""
    import gluonzip.recipe.methods.base

    def refuse(*args, **kwargs):
        raise AssertionError("training began before the error was found")

    monkeypatch.setattr(gluonzip.recipe.methods.base, "fit", refuse)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lenett"], "did you mean 'lenet'"),
        (["lenet", "--set", "stages.1.rules.0.spasity=0.5"], "did you mean 'sparsity'?"),
        (["lenet", "--set", "stages.1.rules.0.layers=conv9"], "pattern 'conv9' matches nothing"),
        (["lenet", "--set", "stages.2.layers=dense*"], "pattern 'dense*' matches nothing"),
        (["lenet", "--set", "network.name=lenat"], "network 'lenat' is unknown"),
        (["lenet", "--set", "network=null"], "recipe 'lenet' names no network"),
        (["lenet", "--set", "network.options.depth=3"], "network.options of recipe 'lenet'"),
        (["lenet", "--set", "data.folder=/nowhere"], "/nowhere does not hold the MNIST set"),
        (["lenet", "--set", "data.calibration=0"], "data.calibration: 0: input should be great"),
    ],
)
def test_errors_come_before_training(cli, tmp_path, no_training, arguments, message):
    done = cli("compress", *arguments, "-o", tmp_path / "out")
    assert done.exit_code == 1
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert "bug" not in done.stderr


def test_an_unwritable_folder_comes_before_training(cli, tmp_path, no_training):
    (tmp_path / "file").write_text("")
    done = cli("compress", "lenet", "-o", tmp_path / "file" / "out")
    assert done.exit_code == 1
    assert "cannot be written to: Not a directory" in done.stderr
    assert str(tmp_path / "file" / "out") in done.stderr
