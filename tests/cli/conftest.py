"""A small archive, and a way to call the command line in this process."""

import numpy as np
import pytest
from click.testing import CliRunner

from gluonzip import archive
from gluonzip.cli.app import app
from gluonzip.graph import Constant, Graph, Input, Node


@pytest.fixture
def cli():
    """``cli("inspect", path)`` returns click's result (exit_code, stdout, stderr)."""

    def call(*arguments):
        return CliRunner().invoke(app, [str(a) for a in arguments])

    return call


@pytest.fixture
def dense_archive(tmp_path):
    """y = relu(x W^T + b), (N, 5) to (N, 3); returns path, W, b."""
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((3, 5)).astype(np.float32)
    bias = rng.standard_normal(3).astype(np.float32)
    graph = Graph(
        [Input("data", (0, 5))],
        ["y"],
        [Node("dense", "fc", ["data", "fc.weight", "fc.bias"], ["y"], {"act": "relu"})],
        {"fc.weight": Constant(weight), "fc.bias": Constant(bias)},
        name="tiny",
    )
    path = tmp_path / "tiny.glz"
    archive.write(path, graph, {"origin": {"by": "a test"}})
    return path, weight, bias
