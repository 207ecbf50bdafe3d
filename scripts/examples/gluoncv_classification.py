"""A classification script in GluonCV's style that prunes, quantizes and distils as it trains.

Mixup, label smoothing, batches split over devices and a Gluon Trainer, as in GluonCV's
``train_imagenet.py`` and ``train_mixup_cifar10.py``; a second network of the zoo teaches. What
gluonzip adds is marked with ``# gluonzip``. Images are generated: classes are colours.

    python scripts/examples/gluoncv_classification.py [--steps 200] [--model cifar_resnet20_v1]
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", str(len(os.sched_getaffinity(0))))  # for MXNet

import mxnet as mx
import numpy as np
from gluoncv.model_zoo import get_model
from mxnet import autograd, gluon
from scenes import CLASSES, loader, scenes

from gluonzip.archive import write  # gluonzip
from gluonzip.gluon import (  # gluonzip
    CompiledBlock,
    DistillationLoss,
    Distiller,
    Pruner,
    polynomial,
    quantize,
    trace,
)
from gluonzip.passes import optimize  # gluonzip
from gluonzip.report.measure import layer_facts  # gluonzip
from gluonzip.report.plain import text  # gluonzip
from gluonzip.report.tables import layer_table  # gluonzip


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="cifar_resnet20_v1")
    parser.add_argument("--teacher", default="cifar_resnet56_v1")
    parser.add_argument(
        "--teacher-params", help="file of the teacher's weights; or it trains first"
    )
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--devices", type=int, default=1, help="batches are split over so many")
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--lr", type=float, default=0.05)
    parser.add_argument("--mixup-alpha", type=float, default=0.2)
    parser.add_argument("--label-smoothing", type=float, default=0.1)
    parser.add_argument("--sparsity", type=float, default=0.75)
    parser.add_argument("--save", default="classifier", help="stem of the files written")
    return parser.parse_args()


def images(count: int, options: argparse.Namespace, seed: int) -> gluon.data.DataLoader:
    found = scenes(count, options.size, seed, most=1)
    labels = [np.float32(s.boxes[0, 4]) for s in found]
    return loader([s.image for s in found], labels, options.batch_size)


def smoothed(label: mx.nd.NDArray, eta: float) -> mx.nd.NDArray:
    """Class indices as probabilities, a share of ``eta`` spread over all classes."""
    return label.one_hot(len(CLASSES), 1 - eta + eta / len(CLASSES), eta / len(CLASSES))


def accuracy(net: gluon.Block, data: gluon.data.DataLoader) -> float:
    metric = mx.metric.Accuracy()
    for image, label in data:
        metric.update(label, net(image))
    return metric.get()[1]


def trained_teacher(options: argparse.Namespace, ctx: list) -> gluon.Block:
    """A zoo network with weights of its own: from a file, or a plain training loop."""
    net = get_model(options.teacher, classes=len(CLASSES))
    net.initialize(mx.init.MSRAPrelu(), ctx=ctx)
    if options.teacher_params:
        net.load_parameters(options.teacher_params, ctx=ctx)
        return net
    net.hybridize()
    trainer = gluon.Trainer(net.collect_params(), "adam", {"learning_rate": 0.002})
    loss_fn = gluon.loss.SoftmaxCrossEntropyLoss()
    for image, label in images(options.steps * options.batch_size // 2, options, seed=1):
        with autograd.record():
            loss = loss_fn(net(image.as_in_context(ctx[0])), label.as_in_context(ctx[0]))
        loss.backward()
        trainer.step(options.batch_size, ignore_stale_grad=True)
    net.collect_params().reset_ctx(ctx)
    return net


def main() -> None:
    options = parse()
    mx.random.seed(1)
    np.random.seed(1)
    ctx = [mx.cpu(i) for i in range(options.devices)]
    train_data = images(options.steps * options.batch_size, options, seed=2)
    val_data = images(8 * options.batch_size, options, seed=3)

    net = get_model(options.model, classes=len(CLASSES))
    net.initialize(mx.init.MSRAPrelu(), ctx=ctx)
    net(mx.nd.zeros((1, 3, options.size, options.size), ctx=ctx[0]))
    net.hybridize(static_alloc=True, static_shape=True)
    teacher = trained_teacher(options, ctx)

    distiller = Distiller(  # gluonzip: in the place of the script's own loss and teacher
        net, teacher, loss=DistillationLoss(temperature=4, alpha=0.5, sparse_label=False)
    )
    pruner = Pruner(  # gluonzip: blocks of 4 go to zero during the first half
        net,
        options.sparsity,
        pattern="4x1",
        layers=lambda layer: layer.kind == "Conv2D" and layer.block._in_channels > 3,
        schedule=polynomial(0, options.steps // 2),
        every=max(1, options.steps // 20),
    )
    schedule = mx.lr_scheduler.CosineScheduler(options.steps, base_lr=options.lr, final_lr=0)
    settings = {"lr_scheduler": schedule, "momentum": 0.9, "wd": 1e-4}
    trainer = gluon.Trainer(net.collect_params(), "nag", settings)

    for step, (image, label) in enumerate(train_data):
        pruner.step()  # gluonzip
        if step == options.steps // 2:  # gluonzip: int8 is simulated from here on
            quantized = quantize(net, data=image)
        data = gluon.utils.split_and_load(image, ctx_list=ctx, batch_axis=0)
        labels = gluon.utils.split_and_load(label, ctx_list=ctx, batch_axis=0)
        mix = np.random.beta(options.mixup_alpha, options.mixup_alpha)
        data = [mix * x + (1 - mix) * x[::-1] for x in data]
        labels = [smoothed(y, options.label_smoothing) for y in labels]
        labels = [mix * y + (1 - mix) * y[::-1] for y in labels]
        lessons = [distiller.teach(x) for x in data]  # gluonzip
        with autograd.record():
            losses = [
                distiller.loss(net(x), lesson, y)  # gluonzip
                for x, lesson, y in zip(data, lessons, labels, strict=True)
            ]
        autograd.backward(losses)
        trainer.step(options.batch_size)
        if step % 20 == 0 or step + 1 == options.steps:
            value = np.mean([loss.mean().asscalar() for loss in losses])
            print(
                f"step {step}: loss {value:.4f}, {pruner.value or 0:.0%} of the sparsity in force"
            )
    net.save_parameters(f"{options.save}.params")  # masks and scales are in it

    # gluonzip: what runs where MXNet is not
    net.collect_params().reset_ctx(mx.cpu())
    graph = optimize(trace(net, (1, 3, options.size, options.size)))
    info = write(f"{options.save}.glz", graph)
    records = {"prune": pruner.finish(), "quantize": quantized}
    print(text(layer_table(layer_facts(net, graph, info, records))))
    compiled = CompiledBlock(f"{options.save}.glz")
    print(f"{options.save}.glz: {info.bytes:,} bytes")
    print(f"accuracy, simulated: {accuracy(net, val_data):.2%}")
    print(f"accuracy, compiled:  {accuracy(compiled, val_data):.2%}")


if __name__ == "__main__":
    main()
