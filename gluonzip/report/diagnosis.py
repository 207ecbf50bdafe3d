"""What :func:`gluonzip.auto.diagnose` found: facts by layer, and every form they take."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Quality:
    """How near a tensor is to its dense original, over all the data.

    ``sqnr``: signal-to-quantization-noise ratio, ``10 log10(sum d^2 / sum (d - c)^2)`` dB; infinite
    when both are equal, minus infinity when the compressed values are not finite. ``cosine``:
    ``sum d c / sqrt(sum d^2 sum c^2)``; NaN when either side is all zeros.
    """

    sqnr: float
    cosine: float


@dataclass(frozen=True)
class WeightError:
    """``bits`` a value and ``sparsity`` are the compressed weight's; ``narrowest``: the smallest
    share of the integer range that a channel's weights reach (None in float32)."""

    values: int
    bits: int
    sparsity: float
    quality: Quality | None
    narrowest: float | None = None


@dataclass(frozen=True)
class InputRange:
    """The quantizer of a layer's input, on the dense network's activations.

    ``saturated``: the share of values that are clipped (further out than the last code by more than
    half a step). ``used``: largest ``|x|`` by the largest value that a code can stand for: below 1,
    the rest is a dead range that no value reaches. ``unsigned``: codes go from 0 up.
    """

    bits: int
    saturated: float
    used: float
    quality: Quality
    unsigned: bool = False


@dataclass(frozen=True)
class LayerError:
    """What compression does to one layer.

    ``introduced``: the layer alone, its compressed weight and input quantizer fed with the dense
    network's own inputs; None where the layer cannot run alone (``note`` says why).
    ``accumulated``: as the compressed network runs. ``dead``: output channels that never change
    over the data, though the dense ones do.
    """

    name: str
    op: str
    introduced: Quality | None
    accumulated: Quality
    weight: WeightError | None
    input: InputRange | None
    channels: int
    dead: tuple[int, ...]
    note: str = ""

    @property
    def rank(self) -> float:
        """What layers are sorted by: the introduced dB, or the accumulated where there is none."""
        return (self.introduced or self.accumulated).sqnr


@dataclass(frozen=True)
class Diagnosis:
    """``layers``: worst first. ``order``: their names as the network runs them. ``outputs``: the
    networks' outputs by name. ``skipped``: layer -> why it cannot be compared. ``advice``: what to
    change, most urgent first. ``rows``: samples of data that went through both.
    """

    dense: str
    compressed: str
    rows: int
    layers: tuple[LayerError, ...]
    order: tuple[str, ...]
    outputs: Mapping[str, Quality]
    skipped: Mapping[str, str]
    advice: tuple[str, ...] = field(default_factory=tuple)

    def __getitem__(self, name: str) -> LayerError:
        """The layer called ``name``. KeyError, with the reason if it was skipped."""
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise KeyError(f"{name!r}: {self.skipped.get(name, 'the networks have no such layer')}")

    def in_order(self) -> list[LayerError]:
        """The layers as the network runs them."""
        place = {name: at for at, name in enumerate(self.order)}
        return sorted(self.layers, key=lambda layer: place[layer.name])

    def to_dict(self) -> dict[str, Any]:
        """JSON-able: what is not finite is the string "inf", "-inf" or "nan"."""
        return plain_values(asdict(self))

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=1) + "\n"

    def to_text(self) -> str:
        """Tables for a terminal or a log, layers worst first, then the advice."""
        from gluonzip.report.error_tables import diagnosis_tables
        from gluonzip.report.plain import text

        parts = [text(table) for table in diagnosis_tables(self)]
        parts += ["\n".join(f"* {line}" for line in self.advice)] if self.advice else []
        return "\n\n".join(parts) + "\n"

    def to_markdown(self) -> str:
        from gluonzip.report.error_tables import diagnosis_tables
        from gluonzip.report.markdown import table_text

        parts = [table_text(table) for table in diagnosis_tables(self)]
        parts += ["\n".join(f"- {line}" for line in self.advice)] if self.advice else []
        return "\n\n".join(parts) + "\n"

    def plot(self, path: str | Path) -> Path:
        """Introduced and accumulated dB by layer, in the network's order; PNG.

        MissingDependencyError without matplotlib.
        """
        from gluonzip.report.error_plots import plot_errors

        return plot_errors(self, Path(path))

    __str__ = to_text


def plain_values(value: Any) -> Any:
    """Dicts, lists and numbers for JSON, which has no infinities."""
    if isinstance(value, Mapping):
        return {key: plain_values(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_values(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
