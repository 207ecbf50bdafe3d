"""diagnose and sensitivity on small archives."""

import json
import math
import re

import numpy as np
import pytest

from gluonzip import archive
from gluonzip.graph import Constant


@pytest.fixture
def samples(tmp_path):
    x = np.random.default_rng(2).standard_normal((40, 5)).astype("float32")
    np.save(tmp_path / "x.npy", x)
    return tmp_path / "x.npy", x


@pytest.fixture
def coarse(dense_archive, tmp_path):
    """The archive with its weight rounded to quarters."""
    graph = archive.read(dense_archive[0])
    graph.constants["fc.weight"] = Constant(np.rint(dense_archive[1] * 4) / np.float32(4))
    archive.write(tmp_path / "coarse.glz", graph)
    return tmp_path / "coarse.glz"


def test_diagnose(cli, dense_archive, coarse, samples, tmp_path):
    path, weight, bias = dense_archive
    source, x = samples
    done = cli("diagnose", path, coarse, "-i", source, "--json", "--plot", tmp_path / "e.png")
    assert done.exit_code == 0, done.output
    d = np.maximum(x @ weight.T + bias, 0).astype("float64")
    c = np.maximum(x @ (np.rint(weight * 4) / 4).T + bias, 0)
    expected = 10 * math.log10((d**2).sum() / ((d - c) ** 2).sum())
    (layer,) = json.loads(done.stdout)["layers"]
    assert layer["introduced"]["sqnr"] == pytest.approx(expected, abs=1e-3)
    assert (tmp_path / "e.png").stat().st_size > 1000
    text = cli("diagnose", path, coarse, "-i", source, "--samples", 10).stdout
    assert "on 10 samples" in text


def test_sensitivity(cli, dense_archive, samples, tmp_path):
    path, weight, bias = dense_archive
    source, x = samples
    scores = np.maximum(x @ weight.T + bias, 0)
    np.save(tmp_path / "labels.npy", scores.argmax(axis=1))
    arguments = ("sensitivity", path, "-i", source, "--labels", tmp_path / "labels.npy")
    arguments += ("--method", "bits", "--level", 2, "--level", 6)
    done = cli(*arguments, "--json", "--checkpoint", tmp_path / "c.json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert (found["score"], found["levels"]) == (1.0, [6, 2])
    step = np.abs(weight).max() / 31
    coarse = np.maximum(x @ (np.rint(weight / step) * step).T + bias, 0)
    right = (coarse.argmax(axis=1) == scores.argmax(axis=1)).mean()
    assert found["layers"][0]["points"][0]["score"] == pytest.approx(right)
    assert (tmp_path / "c.json").exists()
    text = cli(*arguments, "--plot", tmp_path / "s.png").stdout
    assert "bits 6" in text
    assert "100.00 % unchanged" in text
    assert (tmp_path / "s.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["diagnose", "{dense}", "{none}", "-i", "{x}"], "none.glz"),
        (["diagnose", "{dense}", "{dense}", "-i", "{none}"], "none.glz' cannot be read"),
        (["diagnose", "{dense}", "{dense}", "-i", "{x}", "--layers", "q"], "'q' matches nothing"),
        (["sensitivity", "{dense}", "-i", "{x}", "--level", "1.5"], "level 1.5 is not a sparsity"),
        (["sensitivity", "{dense}", "-i", "{x}", "--labels", "{dense}"], "labels .* be read"),
        (["sensitivity", "{dense}", "-i", "{x}", "--labels", "{x}"], None),
    ],
)
def test_errors_are_one_line(cli, dense_archive, samples, tmp_path, arguments, message):
    names = {"dense": dense_archive[0], "x": samples[0], "none": tmp_path / "none.glz"}
    done = cli(*(argument.format(**names) for argument in arguments))
    if message is None:  # labels that are no classes: the outputs' error is all there is
        assert done.exit_code == 0, done.output
        assert "give evaluate=" in done.stdout
        return
    assert done.exit_code == 1
    assert re.search(message, done.output), done.output
    assert len(done.output.strip().splitlines()) == 1
