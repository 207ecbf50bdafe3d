"""An SSD training script in GluonCV's style that prunes and quantizes as it trains.

Targets from GluonCV's ``SSDTargetGenerator``, ``SSDMultiBoxLoss`` and a Gluon Trainer, as in
GluonCV's ``ssd/train_ssd.py``. What gluonzip adds is marked with ``# gluonzip``. Images are
generated: classes are colours.

    python scripts/examples/gluoncv_ssd.py [--steps 200] [--model ssd_512_...]
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", str(len(os.sched_getaffinity(0))))  # for MXNet

import mxnet as mx
import numpy as np
from gluoncv.loss import SSDMultiBoxLoss
from gluoncv.model_zoo import get_model
from gluoncv.model_zoo.ssd.ssd import get_ssd
from gluoncv.model_zoo.ssd.target import SSDTargetGenerator
from gluoncv.utils.metrics.voc_detection import VOC07MApMetric
from mxnet import autograd, gluon
from scenes import CLASSES, loader, scenes

from gluonzip.archive import write  # gluonzip
from gluonzip.gluon import (  # gluonzip
    CompiledBlock,
    Pruner,
    expand_symbols,
    polynomial,
    quantize,
    trace,
)
from gluonzip.passes import optimize  # gluonzip
from gluonzip.report.measure import layer_facts  # gluonzip
from gluonzip.report.plain import text  # gluonzip
from gluonzip.report.tables import layer_table  # gluonzip

MOST = 3
"""Shapes in a picture; labels of pictures with fewer are filled up with -1."""


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="one of GluonCV's, e.g. ssd_512_mobilenet1.0_custom")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--lr", type=float, default=0.002)
    parser.add_argument("--sparsity", type=float, default=0.75)
    parser.add_argument("--save", default="detector", help="stem of the files written")
    return parser.parse_args()


def network(options: argparse.Namespace) -> gluon.HybridBlock:
    """GluonCV's SSD with the base network of ``ssd_300_mobilenet0.25``, made for small pictures."""
    if options.model:
        net = get_model(options.model, classes=CLASSES, pretrained=False, pretrained_base=False)
    else:
        net = get_ssd(
            "mobilenet0.25",
            options.size,
            features=["relu22_fwd", "relu26_fwd"],
            filters=[64, 64],
            sizes=[25, 40, 60, 80, 100],
            ratios=[[1, 2, 0.5]] * 4,
            steps=[16, 32, 64, 128],
            classes=CLASSES,
            dataset="scenes",
            pretrained_base=False,
            min_depth=32,
        )
    net.initialize()
    # Without pretrained weights GluonCV starts the base network's batch norms at random as well.
    constants = {"gamma": 1, "running_var": 1, "moving_var": 1, "beta": 0, "running_mean": 0}
    for name, parameter in net.features.collect_params().items():
        for ending, value in constants.items():
            if name.endswith(ending):
                parameter.initialize(mx.init.Constant(value), force_reinit=True)
        if name.endswith("weight"):
            parameter.initialize(mx.init.MSRAPrelu(), force_reinit=True)
    return net


def pictures(count: int, options: argparse.Namespace, seed: int) -> gluon.data.DataLoader:
    found = scenes(count, options.size, seed, MOST)
    labels = [
        np.pad(s.boxes, [(0, MOST - len(s.boxes)), (0, 0)], constant_values=-1) for s in found
    ]
    return loader([s.image for s in found], labels, options.batch_size)


def mean_average_precision(net: gluon.Block, data: gluon.data.DataLoader, size: int) -> float:
    metric = VOC07MApMetric(iou_thresh=0.5, class_names=CLASSES)
    for image, label in data:
        ids, scores, boxes = net(image)
        boxes = boxes.clip(0, size)
        metric.update([boxes], [ids], [scores], [label[:, :, :4]], [label[:, :, 4:5]])
    return metric.get()[1][-1]


def main() -> None:
    options = parse()
    mx.random.seed(1)
    np.random.seed(1)
    shape = (1, 3, options.size, options.size)
    train_data = pictures(options.steps * options.batch_size, options, seed=2)
    val_data = pictures(4 * options.batch_size, options, seed=3)

    net = network(options)
    expand_symbols(net, shape)  # gluonzip: the base network is one symbol; now it has layers
    with autograd.train_mode():
        _, _, anchors = net(mx.nd.zeros(shape))
    targets = SSDTargetGenerator(iou_thresh=0.5, negative_mining_ratio=-1)
    criterion = SSDMultiBoxLoss()
    net.hybridize(static_alloc=True, static_shape=True)
    pruner = Pruner(  # gluonzip: blocks of 4 go to zero during the first half
        net,
        options.sparsity,
        pattern="4x1",
        layers=lambda layer: (
            layer.kind == "Conv2D"
            and layer.block._kwargs["num_group"] == 1
            and layer.block._in_channels > 3
        ),
        schedule=polynomial(0, options.steps // 2),
        every=max(1, options.steps // 20),
    )
    settings = {"learning_rate": options.lr, "wd": 5e-4}
    trainer = gluon.Trainer(net.collect_params(), "adam", settings)

    for step, (image, label) in enumerate(train_data):
        pruner.step()  # gluonzip
        if step == options.steps // 2:  # gluonzip: int8 is simulated from here on
            quantized = quantize(net, data=image)
        classes, boxes, _ = targets(anchors, None, label[:, :, :4], label[:, :, 4:5])
        with autograd.record():
            class_scores, box_offsets, _ = net(image)
            losses, class_loss, box_loss = criterion(class_scores, box_offsets, classes, boxes)
        autograd.backward(losses)
        trainer.step(1)
        if step % 20 == 0 or step + 1 == options.steps:
            parts = [part[0].mean().asscalar() for part in (class_loss, box_loss)]
            done = f"{pruner.value or 0:.0%} of the sparsity in force"
            print(f"step {step}: class loss {parts[0]:.4f}, box loss {parts[1]:.4f}, {done}")
    net.save_parameters(f"{options.save}.params")  # masks and scales are in it

    net.set_nms(nms_thresh=0.45, nms_topk=400)
    # gluonzip: the convolutions run in the engine, the choice among boxes in MXNet
    graph = optimize(trace(net, shape))
    info = write(f"{options.save}.glz", graph)
    records = {"prune": pruner.finish(), "quantize": quantized}
    print(text(layer_table(layer_facts(net, graph, info, records))))
    compiled = CompiledBlock(graph)
    print(compiled)
    print(f"{options.save}.glz: {info.bytes:,} bytes")
    print(f"mAP, simulated: {mean_average_precision(net, val_data, options.size):.2%}")
    print(f"mAP, compiled:  {mean_average_precision(compiled, val_data, options.size):.2%}")


if __name__ == "__main__":
    main()
