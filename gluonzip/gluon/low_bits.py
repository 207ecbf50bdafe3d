"""Quantization that grows while a network trains: fewer bits, or more of the layers."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from gluonzip.errors import ConfigError
from gluonzip.gluon.calibration import calibrate
from gluonzip.gluon.handlers import Scheduled
from gluonzip.gluon.layers import Layer, Selection, select
from gluonzip.gluon.scale_parameters import restart_weight_scales
from gluonzip.gluon.structure import Block, clear_caches
from gluonzip.gluon.wrapper import INPUT_SCALE, Compressed
from gluonzip.schedule import Schedule, as_schedule
from gluonzip.spec import code_range


def set_bits(
    net: Block,
    *,
    weights: int | None = None,
    activations: int | None = None,
    layers: Selection = None,
    data: Any = None,
) -> list[str]:
    """Another number of bits for quantizers that are there already; the trainer stays valid.

    Input scales keep their range, or are calibrated again with ``data``; learned scales of weights
    start anew from the present weights. Layers that do not quantize the side in question are left
    alone. Returns the names of the layers changed.

    Raises ConfigError for bits outside the range, for ternary and binary weights, and when nothing
    is there to change; PatternError as :func:`gluonzip.gluon.layers.select`.
    """
    changed: list[str] = []
    scales: set[int] = set()
    for name, layer in select(net, layers).items():
        if not isinstance(layer.block, Compressed):
            continue
        done = [_set_weight_bits(layer, weights), _set_input_bits(layer.block, activations, scales)]
        if any(done):
            changed.append(name)
    if not changed:
        raise ConfigError(
            "set_bits found no quantizer to change; call gluonzip.gluon.quantize(net) first"
        )
    clear_caches(net)
    if data is not None and activations is not None:
        calibrate(net, data)
    return changed


def _set_weight_bits(layer: Layer, bits: int | None) -> bool:
    what = layer.block._weight_quantization
    if bits is None or what is None:
        return False
    if not any(field.name == "bits" and field.init for field in dataclasses.fields(what)):
        raise ConfigError(f"layer {layer.name!r} has {what!r}, whose bits are fixed")
    layer.block._weight_quantization = dataclasses.replace(what, bits=bits)
    restart_weight_scales(layer)
    return True


def _set_input_bits(block: Compressed, bits: int | None, done: set[int]) -> bool:
    """``done``: scales (several layers may share one) that have the new bits already."""
    what = block._activation_quantization
    if bits is None or what is None:
        return False
    block._activation_quantization = dataclasses.replace(what, bits=bits)
    parameter = block._reg_params.get(INPUT_SCALE)
    if parameter is not None and id(parameter) not in done:
        done.add(id(parameter))
        unsigned = block.unsigned_input
        ratio = code_range(what.bits, unsigned)[1] / code_range(bits, unsigned)[1]
        parameter.set_data(parameter.list_data()[0] * ratio)
    return True


def quantize_share(net: Block, share: float, *, layers: Selection = None) -> list[str]:
    """Let the first ``share`` (0 to 1) of the quantized layers quantize, and the others not yet.

    All of them keep their settings and scales, so the trainer stays valid. Returns the names of
    those that quantize now. Raises ConfigError for a share outside 0 to 1, and when no layer is
    quantized; PatternError as :func:`gluonzip.gluon.layers.select`.
    """
    if not 0 <= share <= 1:
        raise ConfigError(f"share = {share!r} of the layers must be between 0 and 1")
    found = {name: la for name, la in select(net, layers).items() if _quantizes(la.block)}
    if not found:
        raise ConfigError("no layer is quantized; call gluonzip.gluon.quantize(net) first")
    on = list(found)[: round(share * len(found))]
    for name, layer in found.items():
        layer.block._quantizing = name in on
        for attribute in layer.weights:
            # Inference puts plain weights into oneDNN's layout, which quantizers cannot read.
            layer.data(attribute)
    clear_caches(net)
    return on


def _quantizes(block: Block) -> bool:
    sides = ("_weight_quantization", "_activation_quantization")
    return isinstance(block, Compressed) and any(getattr(block, side) for side in sides)


class LowerBits(Scheduled):
    """:func:`set_bits` on a schedule, rounded to whole bits.

        LowerBits(net, Steps(((500, 6), (1000, 4)), start=8))

    ``side``: "weights" or "activations"; ``layers``, ``data``: see :func:`set_bits`; the rest as of
    :class:`gluonzip.gluon.Scheduled`, in whose three ways it is used: ``step()`` and ``epoch()`` in
    your loop, an event handler of the Estimator, a handler of :func:`gluonzip.training.fit`.
    """

    def __init__(
        self,
        net: Block,
        schedule: float | Schedule,
        *,
        side: Literal["weights", "activations"] = "weights",
        layers: Selection = None,
        data: Any = None,
        unit: Literal["step", "epoch"] = "step",
        every: int = 1,
    ) -> None:
        if side not in ("weights", "activations"):
            raise ConfigError(f"side = {side!r} is unknown; use 'weights' or 'activations'")

        def lower(bits: float) -> None:
            set_bits(net, **{side: int(bits)}, layers=layers, data=data)

        super().__init__(_Whole(as_schedule(schedule)), lower, unit=unit, every=every)


class QuantizeGradually(Scheduled):
    """:func:`quantize_share` on a schedule, from the first layer on; used as :class:`LowerBits`.

    QuantizeGradually(net, Ramp(0, 1, begin=0, end=1000), every=50)
    """

    def __init__(
        self,
        net: Block,
        schedule: float | Schedule,
        *,
        layers: Selection = None,
        unit: Literal["step", "epoch"] = "step",
        every: int = 1,
    ) -> None:
        def more(share: float) -> None:
            quantize_share(net, share, layers=layers)

        super().__init__(schedule, more, unit=unit, every=every)


@dataclasses.dataclass(frozen=True)
class _Whole:
    """A schedule in whole numbers."""

    schedule: Schedule

    def __call__(self, time: float) -> float:
        return float(round(self.schedule(time)))
