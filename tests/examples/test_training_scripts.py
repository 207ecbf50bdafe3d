"""The training scripts run for two steps: masks and scales last, the compiled network agrees."""

import os
import re
import subprocess
import sys
from pathlib import Path

import mxnet as mx
import numpy as np
import pytest

from gluonzip.archive import read
from gluonzip.gluon import prune, quantize

EXAMPLES = Path(__file__).parents[2] / "scripts" / "examples"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    pytest.importorskip("gluoncv")
    folder = tmp_path_factory.mktemp("training")

    def run(script, *options):
        done = subprocess.run(
            [sys.executable, str(EXAMPLES / script), "--steps", "2", *options],
            capture_output=True,
            text=True,
            timeout=400,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(EXAMPLES.parents[1])},
        )
        assert done.returncode == 0, done.stderr
        return done.stdout, folder

    return run


def stored(path):
    """Parameters of a file by name, and the weights that have masks."""
    values = {name: v.asnumpy() for name, v in mx.nd.load(str(path)).items()}
    masked = [name.removesuffix("_mask") for name in values if name.endswith("_mask")]
    return values, masked


def assert_masks_and_scales(path, layers):
    """What the files say after steps of momentum, decay and Adam, which move masked values too."""
    values, masked = stored(path)
    assert len(masked) == layers
    pruned = 0
    for name in masked:
        mask = values[f"{name}_mask"]
        pruned += (mask == 0).sum()
        assert set(np.unique(mask)) == {0, 1}
        assert 0.7 < 1 - mask.mean() < 0.8
    scales = {name: v for name, v in values.items() if name.endswith("input_scale")}
    assert len(scales) >= layers
    assert all(scale != 0 for scale in scales.values())  # below zero: unsigned codes
    constants = read(path.with_suffix(".glz")).constants.values()
    weights = [c.dense() for c in constants if c.data.ndim == 4 and c.data.dtype == np.int8]
    assert sum((weight == 0).sum() for weight in weights) >= pruned


def scores(output, pattern):
    """The figures of the simulated and of the compiled network."""
    found = re.findall(pattern, output)
    assert len(found) == 2, output
    return found


def test_classification(run):
    output, folder = run("gluoncv_classification.py", "--devices", "2")
    assert "100% of the sparsity in force" in output
    assert "not pruned: not selected" in output
    assert_masks_and_scales(folder / "classifier.params", 20)
    simulated, compiled = scores(output, r"accuracy, \w+: +([\d.]+)%")
    assert abs(float(simulated) - float(compiled)) < 1
    weights = [
        c.data for n, c in read(folder / "classifier.glz").constants.items() if c.data.ndim == 4
    ]
    assert len(weights) == 21
    assert all(weight.dtype == np.int8 for weight in weights)


def test_segmentation(run):
    output, folder = run("gluoncv_segmentation.py")
    assert re.search(r"auxlayer\.block\.0 .* not quantized: not selected", output)
    assert_masks_and_scales(folder / "segmenter.params", 30)
    simulated, compiled = scores(output, r"([\d.]+)% of the pixels")
    assert abs(float(simulated) - float(compiled)) < 1
    assert len(read(folder / "segmenter.glz").outputs) == 1


def test_ssd(run):
    output, folder = run("gluoncv_ssd.py")
    # A layer of the base network: its name, weight, values, zeros, bits, bytes before and after.
    pattern = r"features\.mobilenet0_conv2 +Conv2D +16x8x1x1 +128 +75\.0 % +8/8u +512 +[1-9]"
    assert re.search(pattern, output), output
    assert re.search(r"MXNet: .*_contrib_box_nms", output)
    assert_masks_and_scales(folder / "detector.params", 17)
    simulated, compiled = scores(output, r"mAP, \w+: +([\d.]+)%")
    assert abs(float(simulated) - float(compiled)) < 1


def test_saved_parameters_load_into_a_fresh_network(run):
    """As docs/training-scripts.md says: the same calls, then ``load_parameters``."""
    from gluoncv.model_zoo import get_model

    _, folder = run("gluoncv_classification.py", "--save", "again")
    values, masked = stored(folder / "again.params")
    net = get_model("cifar_resnet20_v1", classes=3)
    net.initialize()
    net(mx.nd.zeros((1, 3, 32, 32)))
    chosen = [name.removesuffix(".weight") for name in masked]
    prune(net, sparsity=0.5, layers=chosen)
    quantize(net)
    net.load_parameters(str(folder / "again.params"))
    for name, parameter in net._collect_params_with_prefix().items():
        np.testing.assert_array_equal(parameter.data().asnumpy(), values[name], err_msg=name)
