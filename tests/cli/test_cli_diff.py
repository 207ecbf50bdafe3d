"""``gluonzip diff``, and families of networks on the command line."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from gluonzip import archive
from gluonzip.cli.app import app
from gluonzip.graph.ir import Constant, Graph, Input, Node


def network(scale: float) -> Graph:
    weight = scale * np.arange(6, dtype=np.float32).reshape(2, 3)
    node = Node("dense", "fc", ["x", "w"], ["y"])
    return Graph([Input("x", (0, 3))], ["y"], [node], {"w": Constant(weight)}, "net")


@pytest.fixture
def files(tmp_path):
    paths = [str(tmp_path / name) for name in ("a.glz", "b.glz", "f.glz")]
    archive.write(paths[0], network(1))
    archive.write(paths[1], network(2))
    archive.write_family(paths[2], {"one": network(1), "two": network(2)})
    return paths


def call(*arguments: str):
    return CliRunner().invoke(app, arguments)


def test_diff(files):
    a, b, _ = files
    told = call("diff", a, b)
    assert told.exit_code == 0
    assert "tensor w: 5 of 6 elements differ, by 5 at most" in told.output
    assert call("diff", a, a).output == "No difference.\n"
    assert json.loads(call("diff", a, b, "--json").output)[0]["name"] == "w"


def test_diff_of_a_file_that_is_not_there(files):
    told = call("diff", files[0], "nothing.glz")
    assert told.exit_code == 1
    assert "nothing.glz: cannot be read" in told.output


def test_inspect_a_family(files):
    told = call("inspect", files[2])
    assert told.exit_code == 0
    assert "A family of networks: one, two" in told.output
    assert json.loads(call("inspect", files[2], "--json").output)["members"] == ["one", "two"]
    assert "dense" in call("inspect", files[2], "--member", "two").output
    assert "has no member 'six'" in call("inspect", files[2], "--member", "six").output


def test_run_a_member(files, tmp_path):
    x = np.ones((1, 3), np.float32)
    np.save(tmp_path / "x.npy", x)
    arguments = ["run", files[2], "-i", str(tmp_path / "x.npy"), "-o", str(tmp_path / "y.npy")]
    assert call(*arguments, "--member", "two").exit_code == 0
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), [[6, 24]])
