"""gluonzip bench --calibrate: measured, kept, and used by what is loaded afterwards."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from gluonzip import _core
from gluonzip.cli.app import app
from gluonzip.runtime import best_isa, sparse_costs


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("GLUONZIP_CACHE", str(tmp_path))
    for name, value in {
        "SHAPES": [(7, 16, 16, 1), (7, 16, 32, 3)], "ROWS": [(1, 64, 64, 1)],
        "COLD_ROW": (1, 64, 64, 1), "COLD_COPIES": 4,
    }.items():  # fmt: skip
        monkeypatch.setattr(sparse_costs, name, value)
    yield tmp_path
    monkeypatch.setenv("GLUONZIP_CACHE", str(tmp_path / "none"))
    sparse_costs.apply(best_isa())


def test_calibration_from_the_command_line(folder):
    ran = CliRunner().invoke(app, ["bench", "--calibrate"])
    assert ran.exit_code == 0, ran.output
    path = folder / f"sparse-costs-{best_isa()}.json"
    kept = json.loads(path.read_text())["costs"]
    assert f"kept in {path}" in ran.output.replace("\n", "")
    for name, cost in kept["int8"].items():
        assert f"{name} {cost:.3g} ns" in ran.output
    _core.set_sparse_costs(True, dict.fromkeys(kept["int8"], 1.0))
    sparse_costs._used[0] = None  # as in a new process
    assert sparse_costs.apply(best_isa())
    assert _core.sparse_costs(True) == kept["int8"]
    assert _core.sparse_costs(False) == kept["float32"]
