"""The articles' three examples run, in small, and print what they promise."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "scripts" / "examples"


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (
            "lenet_threshold.py",
            ["threshold 0.001", "conv1", "not pruned:", "not selected", "latency, batch 64"],
        ),
        ("alexnet_int8.py", ["AlexNet, 8 bits", "features.2", "8/8", "smaller"]),
        ("resnet_distill.py", ["teacher, ResNet-20", "distilled at temperature 3", "accuracy"]),
    ],
)
def test_example(script, words, tmp_path):
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / script), "--quick"],
        capture_output=True,
        text=True,
        timeout=400,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(EXAMPLES.parents[1])},
    )
    assert done.returncode == 0, done.stderr
    for word in words:
        assert word in done.stdout, done.stdout


def test_every_example_is_tested():
    assert {p.name for p in EXAMPLES.glob("*.py")} == {
        "scenes.py",  # the generated data of the training scripts (test_training_scripts.py)
        "gluoncv_classification.py",
        "gluoncv_segmentation.py",
        "gluoncv_ssd.py",
        "lenet_threshold.py",
        "alexnet_int8.py",
        "resnet_distill.py",
    }
