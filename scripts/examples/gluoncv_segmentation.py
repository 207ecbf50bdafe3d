"""A segmentation script in GluonCV's style that prunes and quantizes as it trains.

A network of the zoo with an auxiliary output, ``MixSoftmaxCrossEntropyLoss`` and a Gluon Trainer,
as in GluonCV's ``segmentation/train.py``. What gluonzip adds is marked with ``# gluonzip``. Images
are generated: classes are colours.

    python scripts/examples/gluoncv_segmentation.py [--steps 200] [--model fcn|psp|deeplab|fastscnn]
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", str(len(os.sched_getaffinity(0))))  # for MXNet

import mxnet as mx
import numpy as np
from gluoncv.loss import MixSoftmaxCrossEntropyLoss
from gluoncv.model_zoo.segbase import get_segmentation_model
from gluoncv.utils import LRScheduler
from gluoncv.utils.metrics.segmentation import SegmentationMetric
from mxnet import autograd, gluon
from scenes import CLASSES, loader, scenes

from gluonzip.archive import write  # gluonzip
from gluonzip.gluon import CompiledBlock, Pruner, layers, polynomial, quantize, trace  # gluonzip
from gluonzip.passes import optimize  # gluonzip
from gluonzip.report.measure import layer_facts  # gluonzip
from gluonzip.report.plain import text  # gluonzip
from gluonzip.report.tables import layer_table  # gluonzip


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = ("fcn", "psp", "deeplab", "fastscnn")
    parser.add_argument("--model", default="fastscnn", choices=names)
    parser.add_argument("--backbone", default="resnet50", help="not for fastscnn")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--crop-size", type=int, default=96)
    parser.add_argument("--lr", type=float, default=0.05)
    parser.add_argument("--aux-weight", type=float, default=0.4)
    parser.add_argument("--sparsity", type=float, default=0.75)
    parser.add_argument("--save", default="segmenter", help="stem of the files written")
    return parser.parse_args()


def network(options: argparse.Namespace) -> gluon.HybridBlock:
    """``dataset`` only says how many classes there are; here they are those of the scenes."""
    settings = {"aux": True, "crop_size": options.crop_size, "base_size": options.crop_size}
    if options.model != "fastscnn":
        settings["backbone"] = options.backbone
    net = get_segmentation_model(
        options.model, dataset="pascal_voc", pretrained_base=False, **settings
    )
    net.initialize(mx.init.Xavier())
    return net


def pictures(count: int, options: argparse.Namespace, seed: int) -> gluon.data.DataLoader:
    found = scenes(count, options.crop_size, seed)
    return loader([s.image for s in found], [s.mask for s in found], options.batch_size)


def score(net: gluon.Block, data: gluon.data.DataLoader) -> tuple[float, float]:
    """Share of right pixels and mean intersection over union."""
    metric = SegmentationMetric(len(CLASSES) + 1)
    for image, mask in data:
        output = net(image)
        output = output[0] if isinstance(output, (list, tuple)) else output  # not the auxiliary one
        metric.update([mask], [output[:, : len(CLASSES) + 1]])
    return metric.get()


def main() -> None:
    options = parse()
    mx.random.seed(1)
    np.random.seed(1)
    train_data = pictures(options.steps * options.batch_size, options, seed=2)
    val_data = pictures(4 * options.batch_size, options, seed=3)

    net = network(options)
    net(mx.nd.zeros((1, 3, options.crop_size, options.crop_size)))
    net.hybridize()
    pruner = Pruner(  # gluonzip: of the layers that will run; the auxiliary head only trains
        net,
        options.sparsity,
        pattern="4x1",
        layers=lambda layer: (
            layer.kind == "Conv2D"
            and layer.block._kwargs["num_group"] == 1
            and layer.block._in_channels > 3
            and not layer.name.startswith("aux")
        ),
        schedule=polynomial(0, options.steps // 2),
        every=max(1, options.steps // 20),
    )
    criterion = MixSoftmaxCrossEntropyLoss(aux=True, aux_weight=options.aux_weight)
    lr_scheduler = LRScheduler(
        mode="poly", base_lr=options.lr, niters=options.steps, nepochs=1, power=0.9
    )
    trainer = gluon.Trainer(
        net.collect_params(),
        "sgd",
        {"lr_scheduler": lr_scheduler, "wd": 1e-4, "momentum": 0.9, "multi_precision": True},
    )

    for step, (image, mask) in enumerate(train_data):
        pruner.step()  # gluonzip
        if step == options.steps // 2:  # gluonzip: int8 is simulated from here on
            chosen = [name for name in layers(net) if not name.startswith("aux")]
            quantized = quantize(net, layers=chosen, data=image)
        with autograd.record(True):
            loss = criterion(*net(image), mask)
        loss.backward()
        trainer.step(options.batch_size)
        if step % 20 == 0 or step + 1 == options.steps:
            value = loss.mean().asscalar()
            print(
                f"step {step}: loss {value:.4f}, {pruner.value or 0:.0%} of the sparsity in force"
            )
    net.save_parameters(f"{options.save}.params")  # masks and scales are in it

    # gluonzip: what runs where MXNet is not; without the auxiliary output
    net.aux = False
    graph = optimize(trace(net, (1, 3, options.crop_size, options.crop_size)))
    info = write(f"{options.save}.glz", graph)
    records = {"prune": pruner.finish(), "quantize": quantized}
    print(text(layer_table(layer_facts(net, graph, info, records))))
    compiled = CompiledBlock(f"{options.save}.glz")
    print(f"{options.save}.glz: {info.bytes:,} bytes")
    for name, block in (("simulated", net), ("compiled", compiled)):
        right, overlap = score(block, val_data)
        print(f"{name}: {right:.2%} of the pixels, mean IoU {overlap:.2%}")


if __name__ == "__main__":
    main()
