"""From the errors of layers to what to change about them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from gluonzip.report.diagnosis import LayerError

WORTH_TELLING = 6.0
"""dB below the median of the other layers: an error twice as large."""

SOUND = 40.0
"""dB: an error of 1 %; what is better needs no advice."""


def advise(layers: Sequence[LayerError], most: int = 8) -> tuple[str, ...]:
    """What to do about the layers that stand out, worst first. ``layers``: in that order."""
    ranks = sorted(layer.rank for layer in layers if math.isfinite(layer.rank))
    median = ranks[len(ranks) // 2] if ranks else math.inf
    limit = min(SOUND, median - WORTH_TELLING) if len(ranks) > 1 else SOUND
    lines = []
    for layer in layers:
        stands_out = layer.rank < limit
        lines += _about_input(layer)
        lines += _about_channels(layer)
        if stands_out:
            lines += _about_precision(layer)
    return tuple(dict.fromkeys(lines))[:most]


def _about_input(layer: LayerError) -> list[str]:
    given = layer.input
    if given is None:
        return []
    if given.saturated > 1e-3:
        return [
            f"{layer.name}: {100 * given.saturated:.2g} % of its input values are clipped (they "
            f"reach {given.used:.2g} times the range): calibrate again on data like this"
        ]
    if 0 < given.used < 0.25:
        return [
            f"{layer.name}: its input uses {100 * given.used:.0f} % of the quantizer's range: "
            "calibrate again on data like this, or with an observer that cuts outliers"
        ]
    return []


def _about_channels(layer: LayerError) -> list[str]:
    if not layer.dead:
        return []
    named = ", ".join(map(str, layer.dead[:5])) + (", ..." if len(layer.dead) > 5 else "")
    return [
        f"{layer.name}: {len(layer.dead)} of {layer.channels} output channels never change ({named}"
        "): remove them (prune_channels), or compress the layer less"
    ]


def _about_precision(layer: LayerError) -> list[str]:
    """Is it the weight or the input that costs most, and what would help?"""
    weight, given = layer.weight, layer.input
    of_weight = weight.quality.sqnr if weight and weight.quality else math.inf
    of_input = given.quality.sqnr if given else math.inf
    if layer.rank == -math.inf:
        return [f"{layer.name}: its compressed output is not finite or all the signal is lost"]
    if math.isinf(of_weight) and math.isinf(of_input):
        return []
    start = f"{layer.name}: {layer.rank:.1f} dB, "
    if of_input < of_weight:
        return [f"{start}most of it from its {given.bits}-bit input: leave it in float32"]
    if weight.narrowest is not None and weight.narrowest < 1 / 16:
        return [
            f"{start}some channels reach {100 * weight.narrowest:.1f} % of the weights' range: "
            "scales per channel"
        ]
    if weight.bits < 8:
        return [f"{start}most of it from its {weight.bits}-bit weights: more bits"]
    if weight.sparsity > 0.3:
        return [f"{start}most of it from {100 * weight.sparsity:.0f} % zeros: prune it less"]
    return [f"{start}most of it from its {weight.bits}-bit weights: leave it in float32"]
