"""A residual network teaches a smaller one at temperature 3.

Trains ResNet-20 on handwritten digits, then ResNet-8 twice from the same start: from the labels
alone, and from the teacher's softened answers as well (Hinton et al. 2015, KL divergence times
temperature squared plus cross-entropy). Prints what each of the three knows.

    python scripts/examples/resnet_distill.py [--quick] [--temperature 3] [--alpha 0.7]
"""

from __future__ import annotations

import argparse
import os
import time

os.environ.setdefault("OMP_NUM_THREADS", str(len(os.sched_getaffinity(0))))  # for MXNet

import mxnet as mx
from rich.console import Console

from gluonzip.gluon import DistillationLoss
from gluonzip.model_zoo import Digits, get_model, load_digits
from gluonzip.report.tables import Table, percent
from gluonzip.report.text import show
from gluonzip.training import Augment, Training, accuracy, fit


def trained(name: str, digits: Digits, epochs: int, **options: object) -> tuple[object, tuple]:
    """The network called ``name`` after training, and its row of the table."""
    mx.random.seed(1)
    net = get_model(name)
    net.initialize(mx.init.Xavier())
    net.hybridize()
    begin = time.perf_counter()
    fit(net, digits.train(augment=Augment()), Training(epochs, learning_rate=0.003), **options)
    seconds = time.perf_counter() - begin
    parameters = sum(p.data().size for p in net.collect_params().values())
    right = percent(accuracy(net, digits.test()))
    return net, (f"{parameters:,}", right, f"{seconds:.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a smaller run of the same kind")
    parser.add_argument("--temperature", type=float, default=3.0)
    parser.add_argument("--alpha", type=float, default=0.7, help="weight of the teacher, 0 to 1")
    options = parser.parse_args()
    digits = load_digits()
    if options.quick:
        digits = digits.head(256, 100)
    epochs = 1 if options.quick else 12

    teacher, teacher_row = trained("resnet20_small", digits, epochs)
    _, alone = trained("resnet8_small", digits, epochs)
    loss = DistillationLoss(options.temperature, options.alpha)
    _, taught = trained("resnet8_small", digits, epochs, teacher=teacher, loss=loss)
    rows = (
        ("teacher, ResNet-20", *teacher_row),
        ("student, ResNet-8, from labels", *alone),
        (f"student, ResNet-8, distilled at temperature {options.temperature:g}", *taught),
    )
    header = ("network", "parameters", f"accuracy on {len(digits.test_labels):,}", "seconds")
    show(Console(width=120), Table("Distillation", header, rows))


if __name__ == "__main__":
    main()
