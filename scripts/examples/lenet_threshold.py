"""LeNet with the convolutions' small weights removed: threshold 0.001, dense layers left alone.

Trains LeNet-5 on handwritten digits, sets every convolution weight smaller than 0.001 in magnitude
to zero, trains on with the zeros held, and shows what that buys: which layers became how sparse,
what the archive weighs, how accurate the engine is. (Little: weights below 0.001 are rare. Compare
``gluonzip compress lenet``, which prunes by sparsity.)

    python scripts/examples/lenet_threshold.py [--quick] [--threshold 0.001]
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
    parser.add_argument("--threshold", type=float, default=0.001)
    options = parser.parse_args()
    epochs, tuning = (1, 1) if options.quick else (15, 3)

    mx.random.seed(1)
    digits, net = load_digits(), get_model("lenet")
    if options.quick:
        digits = digits.head(600, 200)
    net.initialize(mx.init.Xavier())
    net.hybridize()
    fit(net, digits.train(augment=Augment()), Training(epochs, learning_rate=0.002))

    recipe = {
        "name": f"LeNet, threshold {options.threshold} on convolutions",
        "stages": [
            {
                "method": "prune",
                "rules": [{"layers": "conv*", "threshold": options.threshold}],
                "training": {"epochs": tuning, "learning_rate": 0.0002},
            }
        ],
    }
    result = gluonzip.compress(
        net, recipe, train_data=digits.train(), validation_data=digits.test()
    )
    for table in (summary(result.report), layers(result.report)):
        show(Console(width=140), table)


if __name__ == "__main__":
    main()
