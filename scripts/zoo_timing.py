"""Speed of a network of the zoo: MXNet's dense one against ours in int8, all cores each."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable
from typing import Any

import zoo_build
import zoo_measure

SECONDS = 6.0
"""How long a network is measured, both sides together; at least ROUNDS rounds."""
ROUNDS = 3

REPRESENTATIVE = {
    "resnet": "resnet50_v1",
    "vgg": "vgg16",
    "densenet": "densenet121",
    "inception": "inceptionv3",
    "mobilenet": "mobilenet1.0",
    "mobilenetv2": "mobilenetv2_1.0",
    "mobilenetv3": "mobilenetv3_large",
    "ssd": "ssd_512_mobilenet1.0_voc",
    "yolo3": "yolo3_darknet53_voc",
    "resnest": "resnest50",
    "faster_rcnn": "faster_rcnn_resnet50_v1b_voc",
    "mask_rcnn": "mask_rcnn_resnet50_v1b_coco",
    "se-resnet": "se_resnet50_v1",
    "action-2d": "inceptionv3_kinetics400",
    "pose": "simple_pose_resnet50_v1b",
    "center_net": "center_net_resnet18_v1b_voc",
    "cifar": "cifar_resnet56_v1",
}
"""Families whose first network is not the one to look at."""


def chosen(names: Iterable[str], every: bool) -> list[str]:
    """One network a family, or all."""
    names = list(names)
    if every:
        return names
    found: dict[str, str] = {}
    for name in names:
        family = zoo_build.entry(name).family
        preferred = REPRESENTATIVE.get(family)
        if not name.endswith("_int8") and (preferred == name or preferred not in names):
            found.setdefault(family, name)
    return list(found.values())


def measure(name: str, note: Callable[[dict[str, Any]], None]) -> None:
    """Hand ``note`` the medians in milliseconds, or the reason why there are none."""
    try:
        note(_measure(name))
    except zoo_build.Download as reason:
        note({"reason": f"GluonCV downloads {reason}"})
    except Exception as error:
        note({"reason": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"})


def _measure(name: str) -> dict[str, Any]:
    import mxnet as mx

    from gluonzip.gluon import CompiledBlock, Quantizer
    from gluonzip.runtime import cores
    from gluonzip.spec import PerChannel, WeightQuantization

    net, shapes, _ = zoo_build.build(name, small=False)
    inputs = [mx.nd.array(x) for x in zoo_measure.images(shapes)]
    zoo_measure.flat(net(*inputs))
    quantizer = Quantizer([(inputs,)], WeightQuantization(granularity=PerChannel()))
    int8 = CompiledBlock(net, *shapes, quantizer=quantizer)
    net.hybridize(static_alloc=True, static_shape=True)
    sides = {"mxnet": net, "gluonzip": int8}
    for side in sides.values():
        zoo_measure.flat(side(*inputs))
    times = _alternate(sides, inputs)
    return {
        **{side: round(1e3 * statistics.median(taken), 3) for side, taken in times.items()},
        "speedup": round(
            statistics.median(times["mxnet"]) / statistics.median(times["gluonzip"]), 2
        ),
        "calls": len(times["mxnet"]),
        "inputs": [list(shape) for shape in shapes],
        "threads": cores(),
    }


def _alternate(sides: dict[str, Any], inputs: list[Any]) -> dict[str, list[float]]:
    """Seconds of each call; a side takes a few calls at a time, of which the first wakes it and
    does not count. Networks that take seconds take one call at a time, and count it."""
    times: dict[str, list[float]] = {side: [] for side in sides}
    begin, rounds = time.perf_counter(), 0
    while rounds < ROUNDS or (time.perf_counter() - begin < SECONDS and rounds < 20):
        for side, network in sides.items():
            first = _timed(network, inputs)
            times[side] += [first] if first > 1 else [_timed(network, inputs) for _ in range(3)]
        rounds += 1
    return times


def _timed(network: Any, inputs: list[Any]) -> float:
    start = time.perf_counter()
    zoo_measure.flat(network(*inputs))
    return time.perf_counter() - start
