"""AlexNet to 8 bits after training: weights by output channel, activations by calibration.

Trains a small AlexNet on handwritten digits, quantizes it without further training from 512
training digits, packs it, and compares the engine's int8 answers with MXNet's fp32.

    python scripts/examples/alexnet_int8.py [--quick]
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", str(len(os.sched_getaffinity(0))))  # for MXNet

import mxnet as mx
from rich.console import Console

import gluonzip
from gluonzip.model_zoo import get_model, load_digits
from gluonzip.report.tables import layers, summary
from gluonzip.report.text import show
from gluonzip.training import Augment, Training, fit


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a smaller run of the same kind")
    options = parser.parse_args()

    mx.random.seed(1)
    digits, net = load_digits(), get_model("alexnet_small")
    if options.quick:
        digits = digits.head(400, 100)
    net.initialize(mx.init.Xavier())
    net.hybridize()
    epochs = 1 if options.quick else 12
    fit(net, digits.train(augment=Augment()), Training(epochs, learning_rate=0.001))

    recipe = {
        "name": "AlexNet, 8 bits",
        "stages": [{"method": "quantize", "weights": {"granularity": "per_channel"}}],
    }
    result = gluonzip.compress(
        net,
        recipe,
        calibration_data=digits.calibration(512),
        validation_data=digits.test(),
    )
    for table in (summary(result.report), layers(result.report)):
        show(Console(width=140), table)


if __name__ == "__main__":
    main()
