"""``python -m gluonzip.model_zoo.<name>`` trains and saves the dense network."""

import os
import subprocess
import sys
from pathlib import Path

import mxnet as mx

from gluonzip.model_zoo import get_model

ROOT = Path(__file__).parents[2]


def test_lenet(tmp_path):
    path = tmp_path / "lenet.params"
    settings = ["--set", "data.limit=200", "--set", "stages.0.training.epochs=1"]
    done = subprocess.run(
        [sys.executable, "-m", "gluonzip.model_zoo.lenet", "--output", str(path), *settings],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    assert "% of the test digits" in done.stdout
    net = get_model("lenet")
    net.load_parameters(str(path))
    assert net(mx.nd.zeros((1, 1, 28, 28))).shape == (1, 10)
