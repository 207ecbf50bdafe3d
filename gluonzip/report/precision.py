"""What :func:`gluonzip.auto.mixed_precision` found: the bits of each layer, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class LayerPrecision:
    """``decibels``: the outputs' signal by noise with this layer alone at so many bits;
    ``costs``: bytes of the archive, or milliseconds. Both by bits."""

    name: str
    bits: int
    decibels: Mapping[int, float]
    costs: Mapping[int, float]
    reason: str


@dataclass(frozen=True)
class MixedPrecision:
    """``decibels``, ``cost``: of the whole network, measured; ``unit`` of costs and ``budget``:
    bytes or ms. ``complete``: False after Ctrl-C: then layers that were not measured count as if
    they bore nothing."""

    layers: tuple[LayerPrecision, ...]
    decibels: float
    cost: float
    budget: float
    unit: str
    complete: bool = True

    @property
    def bits(self) -> dict[str, int]:
        """By layer."""
        return {layer.name: layer.bits for layer in self.layers}

    def __str__(self) -> str:
        from gluonzip.report.plain import text
        from gluonzip.report.tables import Table, decibels

        levels = sorted({b for layer in self.layers for b in layer.costs}, reverse=True)
        header = ("layer", "bits", *(f"dB at {b}" for b in levels))
        header += (*(f"{self.unit} at {b}" for b in levels), "why")
        rows = tuple(
            (
                layer.name,
                str(layer.bits),
                *(decibels(layer.decibels[b]) if b in layer.decibels else "" for b in levels),
                *(_amount(layer.costs.get(b)) for b in levels),
                layer.reason,
            )
            for layer in self.layers
        )
        title = (
            f"Bits by layer: {self.decibels:.2f} dB, {_amount(self.cost)} of "
            f"{_amount(self.budget)} {self.unit}"
        )
        return text(Table(title, header, rows, left=1, wide=frozenset({len(header) - 1})))


def _amount(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 1000 or value == int(value) else f"{value:.4g}"
