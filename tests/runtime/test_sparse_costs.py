"""Measured costs of sparse layers: fitted, kept on disk, and what layers are chosen by."""

from __future__ import annotations

import json

import numpy as np
import pytest

from gluonzip import _core
from gluonzip.errors import ConfigError
from gluonzip.graph import Constant, Graph, Input, Node
from gluonzip.runtime import Engine, sparse_costs


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A cache folder of its own; the built-in costs again afterwards."""
    monkeypatch.setenv("GLUONZIP_CACHE", str(tmp_path))
    monkeypatch.delenv("GLUONZIP_SPARSE", raising=False)
    sparse_costs.apply(_core.best_isa())
    yield tmp_path
    monkeypatch.setenv("GLUONZIP_CACHE", str(tmp_path / "none"))
    sparse_costs.apply(_core.best_isa())


def layer(keep: float) -> Graph:
    random = np.random.default_rng(1)
    weights = random.normal(size=(64, 64, 1, 1)).astype(np.float32)
    weights *= random.random(weights.shape) < keep
    node = Node("conv2d", "layer", ["x", "w"], ["y"], {"stride": [1, 1], "pad": [0] * 4})
    return Graph([Input("x", (1, 64, 16, 16))], ["y"], [node], {"w": Constant(weights)})


def profiled(keep: float) -> dict:
    engine = Engine.from_graph(layer(keep), threads=1)
    rows = engine.profile(np.zeros((1, 64, 16, 16), np.float32), repeat=1, limits=False)
    return next(row for row in rows if row["name"] == "layer")


def test_a_fit_finds_the_costs_that_times_were_made_from():
    shapes = [sparse_costs.geometry(*shape) for shape in sparse_costs.SHAPES]
    start = _core.sparse_costs(True)
    truth = {name: value * 1.5 for name, value in start.items()}
    counts, times = [], []
    for shape in shapes:
        words = shape["out_channels"] * shape["kh"] ** 2 * shape["channels"] // 4
        for these in (*_core.sparse_counts(shape, True, words // 3),
                      _core.sparse_counts(shape, True, words // 20)[1]):  # fmt: skip
            counts.append(these)
            times.append(sum(n * truth[k] for k, n in these.items() if k != "weight_byte"))
    found = sparse_costs.fit(counts, times, start)
    for these, expected in zip(counts, times, strict=True):
        got = sum(n * found[k] for k, n in these.items() if k != "weight_byte")
        assert got == pytest.approx(expected, rel=0.03)


def test_calibration_is_kept_and_used(folder, monkeypatch):
    monkeypatch.setattr(sparse_costs, "SHAPES", [(7, 16, 16, 1), (7, 16, 32, 3)])
    found = sparse_costs.calibrate(_core.best_isa(), seconds=0.05)
    files = list(folder.iterdir())
    assert [file.name for file in files] == [f"sparse-costs-{_core.best_isa()}.json"]
    assert _core.sparse_costs(True) == found["int8"]
    _core.set_sparse_costs(True, {name: 1.0 for name in found["int8"]})
    assert sparse_costs.apply(_core.best_isa())
    assert _core.sparse_costs(True) == found["int8"]


@pytest.mark.parametrize("damage", ["not json", "{}", '{"key": 1, "costs": {}}'])
def test_a_damaged_file_is_told_and_the_built_in_costs_are_used(folder, damage):
    isa, built_in = _core.best_isa(), _core.sparse_costs(True)
    kept = {"int8": dict.fromkeys(built_in, 2.0), "float32": _core.sparse_costs(False)}
    sparse_costs.save(isa, kept)
    assert sparse_costs.apply(isa)
    sparse_costs.path(isa).write_text(damage)
    with pytest.warns(UserWarning, match="calibrate measures them again"):
        assert not sparse_costs.apply(isa)
    assert _core.sparse_costs(True) == built_in


def test_costs_of_another_machine_are_told(folder):
    isa = _core.best_isa()
    sparse_costs.save(isa, {"int8": {}, "float32": {}})
    content = json.loads(sparse_costs.path(isa).read_text())
    content["key"]["cpu"] = "another"
    sparse_costs.path(isa).write_text(json.dumps(content))
    with pytest.warns(UserWarning, match="another machine"):
        assert not sparse_costs.apply(isa)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"none": 1.0}, "no cost named 'none'"), ({"sparse_row": -1.0}, "'sparse_row' is -1"),
     ({"sparse_row": float("nan")}, "'sparse_row' is nan")],
)  # fmt: skip
def test_costs_that_cannot_be_are_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        _core.set_sparse_costs(True, {**_core.sparse_costs(True), **change})
    with pytest.raises(ConfigError, match="is missing"):
        _core.set_sparse_costs(True, {})


@pytest.mark.skipif(_core.best_isa() == "reference", reason="no sparse kernels to choose")
def test_layers_follow_the_costs_and_say_why():
    sparse, dense = profiled(0.02), profiled(1.0)
    assert sparse["kernel"] == "sparse_f32"
    assert "of 4096 words are not zero; sparse is estimated at 0." in sparse["note"]
    assert dense["kernel"] == "conv_f32"
    assert "100% of 4096 words" in dense["note"]
    costs = _core.sparse_costs(False)
    _core.set_sparse_costs(False, {**costs, "sparse_finish": 1e6})
    assert profiled(0.02)["kernel"] == "conv_f32"
    _core.set_sparse_costs(False, costs)


def test_the_policy_is_named_as_the_reason(monkeypatch):
    monkeypatch.setenv("GLUONZIP_SPARSE", "never")
    assert "GLUONZIP_SPARSE says never" in profiled(0.02)["note"]
