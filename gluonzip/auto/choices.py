"""What automatic quantization may choose, and what it says of its trials."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gluonzip.graph import Graph
from gluonzip.report.precision import MixedPrecision
from gluonzip.spec import PerChannel, WeightQuantization

PER_CHANNEL = WeightQuantization(granularity=PerChannel())

STEPS = (
    "observers",
    "round",
    "bias",
    "reconstruct",
    "equalize",
    "balance",
    "single_observers",
    "floats",
)
"""Names of what :func:`quantize_automatically` may try, in its order."""


@dataclass(frozen=True)
class Choices:
    """Which steps are on. ``bits``: of weights by layer, where they are not those of ``weights``
    (32: the layer stays in float32; 16: and its weights are stored in float16); ``observers``: by
    tensor, where it is not ``observer``; ``balance``: its strength, 0 for none;
    ``fitted_to``: the observers by tensor that reconstruction reckoned with; ``floats``: layers
    left in float32; ``signed``: no activation gets unsigned codes."""

    weights: WeightQuantization = PER_CHANNEL
    bits: Mapping[str, int] = field(default_factory=dict)
    observer: str = "minmax"
    observers: Mapping[str, str] = field(default_factory=dict)
    equalize: bool = False
    relax_clips: bool = False
    balance: float = 0.0
    adaptive_rounding: bool = False
    bias_correction: bool = False
    reconstruct: bool = False
    fitted_to: Mapping[str, str] = field(default_factory=dict)
    floats: frozenset[str] = frozenset()
    signed: bool = False

    @property
    def in_floats(self) -> frozenset[str]:
        """Layers that are not quantized."""
        return self.floats | {name for name, bits in self.bits.items() if bits >= 16}

    @property
    def key(self) -> str:
        """Equal for equal choices, in every process."""
        values = {
            name: sorted(value.items()) if isinstance(value, Mapping) else value
            for name, value in vars(self).items()
        }
        return repr({**values, "floats": sorted(self.floats)})


@dataclass(frozen=True)
class Step:
    """A step that was tried: the output error with it (signal-to-quantization-noise, dB), and
    whether it was kept."""

    name: str
    decibels: float
    kept: bool


@dataclass(frozen=True)
class AutoResult:
    """``graph``: quantized, ready for the engine. ``steps``: all that was tried, in order.
    ``skipped``: what was asked for and not tried, and why. ``complete``: False after Ctrl-C.
    ``precision``: how the bits of layers were found, if a budget was given."""

    graph: Graph
    choices: Choices
    steps: tuple[Step, ...]
    skipped: tuple[str, ...] = ()
    complete: bool = True
    precision: MixedPrecision | None = None

    @property
    def decibels(self) -> float:
        """Of the held-out part of the data."""
        return max(step.decibels for step in self.steps if step.kept)

    def __str__(self) -> str:
        lines = [
            f"{'kept' if step.kept else '':5}{step.decibels:8.2f} dB  {step.name}"
            for step in self.steps
        ]
        lines += [f"not tried: {reason}" for reason in self.skipped]
        return "\n".join([*([str(self.precision)] if self.precision else []), *lines])
