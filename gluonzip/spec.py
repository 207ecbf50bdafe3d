"""Frozen values that say *what* is wanted; how it is done lives in ``passes`` and ``gluon``.

>>> WeightQuantization(bits=8, granularity=PerChannel())
WeightQuantization(bits=8, granularity=PerChannel(axis=0))
>>> NM(2, 4).density
0.5
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from gluonzip.errors import ConfigError


# ---------------------------------------------------------------- granularity
@dataclass(frozen=True)
class PerTensor:
    """One scale for the whole tensor. A (20, 1, 5, 5) weight has a scale of shape ()."""


@dataclass(frozen=True)
class PerChannel:
    """One scale for each index along ``axis``. A (20, 1, 5, 5) weight at axis 0: shape (20,)."""

    axis: int = 0


@dataclass(frozen=True)
class PerGroup:
    """One scale for each ``size`` consecutive input weights of an output channel.

    The weights of a channel count in row-major order: a (20, 16, 3, 3) weight has 144 an output, so
    PerGroup(36) gives scales of shape (20, 4).
    """

    size: int = 32

    def __post_init__(self) -> None:
        good = isinstance(self.size, int) and not isinstance(self.size, bool) and self.size >= 1
        if not good:
            raise ConfigError(f"groups of {self.size!r} weights: use an integer from 1 up")

    def count(self, inputs: int, layer: str) -> int:
        """Groups of each output channel of a layer that has ``inputs`` weights an output.

        Raises ConfigError, naming ``layer`` and both numbers, unless ``size`` divides them.
        """
        if inputs % self.size:
            near = [n for n in range(1, inputs + 1) if inputs % n == 0]
            near = sorted(sorted(near, key=lambda n: abs(n - self.size))[:4])
            raise ConfigError(
                f"layer {layer!r}: groups of {self.size} do not divide the {inputs} input weights "
                f"of each output; use {', '.join(map(str, near))} or leave the layer out"
            )
        return inputs // self.size


Granularity = PerTensor | PerChannel | PerGroup


def granularity(name: str | Granularity) -> Granularity:
    """``"per_tensor"``, ``"per_channel"`` or ``"per_group:32"`` as a value; values pass through.

    Raises ConfigError for another name.
    """
    if isinstance(name, (PerTensor, PerChannel, PerGroup)):
        return name
    known = {"per_tensor": PerTensor(), "per_channel": PerChannel()}
    if name in known:
        return known[name]
    if found := re.fullmatch(r"per_group:(\d+)", str(name)):
        return PerGroup(int(found[1]))
    raise ConfigError(
        f"granularity {name!r} is unknown; use per_tensor, per_channel or per_group:SIZE"
    )


def granularity_name(value: Granularity) -> str:
    """What :func:`granularity` makes ``value`` of."""
    if isinstance(value, PerGroup):
        return f"per_group:{value.size}"
    return "per_channel" if isinstance(value, PerChannel) else "per_tensor"


# ---------------------------------------------------------------- quantization
def max_code(bits: int) -> int:
    """Largest code of symmetric ``bits``-bit integers: 127 for 8 (codes are [-127, 127]).

    Raises ConfigError unless 2 <= bits <= 8. (Binary codes, -1 and 1, are :class:`Binary`'s.)
    """
    if isinstance(bits, bool) or not isinstance(bits, int) or not 2 <= bits <= 8:
        raise ConfigError(f"bits = {bits!r} is not supported; use an integer from 2 to 8")
    return 2 ** (bits - 1) - 1


def code_limit(bits: int) -> int:
    """Largest code of stored weights: :func:`max_code`, and 1 for the 1 bit of binary weights."""
    return 1 if bits == 1 and not isinstance(bits, bool) else max_code(bits)


def code_range(bits: int, unsigned: bool) -> tuple[int, int]:
    """Lowest and highest code of activations: symmetric, or all of ``bits`` from zero up.

    >>> code_range(8, unsigned=False), code_range(8, unsigned=True)
    ((-127, 127), (0, 255))
    """
    limit = max_code(bits)
    return (0, 2 * limit + 1) if unsigned else (-limit, limit)


@dataclass(frozen=True)
class WeightQuantization:
    """Symmetric integers for a weight, zero point 0.

    ``scale``: "peak" (``max|w| / max_code(bits)`` of the present weights) or "learned" (trained
    with them: :mod:`gluonzip.gluon.learned_scale`; not per group). :class:`Ternary` and
    :class:`Binary` are such values, too, with scales of their own.
    """

    bits: int = 8
    granularity: Granularity = field(default_factory=PerTensor)
    scale: str = "peak"

    def __post_init__(self) -> None:
        max_code(self.bits)
        _check_scale(self.scale, "peak")
        if self.scale == "learned" and isinstance(self.granularity, PerGroup):
            raise ConfigError(
                "scales per group are not learned; use scale='peak', or granularity per_tensor or "
                "per_channel"
            )


@dataclass(frozen=True)
class Ternary(WeightQuantization):
    """Weights -scale, 0 and scale: 2 bits each (1.6 or less in an archive).

    A weight is 0 where ``|w| <= threshold * mean|w|``; the scale is the mean magnitude of the
    others (F. Li et al., "Ternary Weight Networks", arXiv:1605.04711, equations 5 and 6).
    """

    bits: int = field(default=2, init=False)
    scale: str = field(default="peak", init=False)
    threshold: float = 0.7

    def __post_init__(self) -> None:
        if not (self.threshold >= 0 and math.isfinite(self.threshold)):
            raise ConfigError(f"threshold = {self.threshold!r} must be a number >= 0")


@dataclass(frozen=True)
class Binary(WeightQuantization):
    """Weights -scale and scale, 1 bit each: the sign (that of 0 is +) times the mean magnitude.

    By default one scale for each output channel (M. Rastegari et al., "XNOR-Net",
    arXiv:1603.05279, section 3.1).
    """

    bits: int = field(default=1, init=False)
    granularity: Granularity = field(default_factory=PerChannel)
    scale: str = field(default="peak", init=False)

    def __post_init__(self) -> None:
        """Nothing to check."""


@dataclass(frozen=True)
class ActivationQuantization:
    """Integers for the inputs of layers, one scale a tensor, zero point 0.

    Codes are symmetric, or 0 to ``2^bits - 1`` where calibration saw nothing below zero: behind a
    ReLU, say. ``signed=True`` makes them symmetric everywhere, as those of mode "dynamic" are.
    ``mode``: "static", a scale found by ``observer`` on calibration data; "dynamic", that of the
    largest magnitude in each batch as it comes; "none", activations stay float32 (weight-only).
    ``observer``: a name (``minmax``, ``moving_average``, ``percentile``, ``kl``, ``mse``) or a
    function of one's own (:mod:`gluonzip.passes.quantize.observers`). ``scale``: "observed" (stays
    as the observer found it) or "learned" (trained from there: LSQ, arXiv:1902.08153).
    """

    bits: int = 8
    observer: str | Callable[..., float] = "minmax"
    scale: str = "observed"
    mode: str = "static"
    signed: bool = False

    def __post_init__(self) -> None:
        max_code(self.bits)
        _check_scale(self.scale, "observed")
        if not isinstance(self.signed, bool):
            raise ConfigError(f"signed = {self.signed!r} must be True or False")
        if self.mode not in MODES:
            raise ConfigError(f"mode = {self.mode!r} is unknown; use one of {list(MODES)}")
        if self.scale == "learned" and self.mode != "static":
            raise ConfigError(f"scales are learned in mode 'static', not {self.mode!r}")


def _check_scale(scale: object, usual: str) -> None:
    if scale not in (usual, "learned"):
        raise ConfigError(f"scale = {scale!r} is unknown; use {usual!r} or 'learned'")


MODES = ("static", "dynamic", "none")
DYNAMIC = ActivationQuantization(mode="dynamic")
WEIGHT_ONLY = ActivationQuantization(mode="none")


# ---------------------------------------------------------------- storage
@dataclass(frozen=True)
class FloatStorage:
    """How an archive stores floats: "float32" (as they are), "float16" or "bfloat16"."""

    dtype: str = "float16"

    def __post_init__(self) -> None:
        if self.dtype not in STORED:
            raise ConfigError(f"dtype = {self.dtype!r} is unknown; use one of {list(STORED)}")


STORED = ("float32", "float16", "bfloat16")


# ---------------------------------------------------------------- weight sharing
@dataclass(frozen=True)
class WeightSharing:
    """At most ``2^bits`` different values other than zero, found by k-means from ``start``.

    ``start``: "linear" (between the smallest and the largest value), "density" (equally many
    weights each) or "random". ``rate``: what a bit of the archive counts next to the squared error
    relative to the mean square of the weights; above 0, zeros and values are chosen for both.
    """

    bits: int = 4
    granularity: Granularity = field(default_factory=PerTensor)
    start: str = "linear"
    rate: float = 0.0

    def __post_init__(self) -> None:
        good = isinstance(self.bits, int) and not isinstance(self.bits, bool)
        if not good or not 1 <= self.bits <= 8:
            raise ConfigError(f"bits = {self.bits!r} is not supported; use an integer from 1 to 8")
        if self.start not in STARTS:
            raise ConfigError(f"start = {self.start!r} is unknown; use one of {list(STARTS)}")
        if isinstance(self.granularity, PerGroup):
            raise ConfigError("codebooks are per tensor or per channel, not per group")
        if not (self.rate >= 0 and math.isfinite(self.rate)):
            raise ConfigError(f"rate = {self.rate!r} must be a number >= 0")


STARTS = ("linear", "density", "random")


# ---------------------------------------------------------------- sparsity patterns
@dataclass(frozen=True)
class Unstructured:
    """Any weight may be zero."""


@dataclass(frozen=True)
class NM:
    """At most ``n`` non-zeros in each group of ``m`` consecutive input weights of one output."""

    n: int
    m: int

    def __post_init__(self) -> None:
        if not 0 < self.n < self.m:
            raise ConfigError(f"N:M sparsity needs 0 < n < m, got n = {self.n}, m = {self.m}")

    @property
    def density(self) -> float:
        return self.n / self.m


@dataclass(frozen=True)
class Block:
    """Zeros come in blocks of ``inputs`` input channels times ``outputs`` output channels.

    ``Block(4, 1)`` is the 4x1 pattern that the engine likes.
    """

    inputs: int = 4
    outputs: int = 1

    def __post_init__(self) -> None:
        if self.inputs < 1 or self.outputs < 1:
            raise ConfigError(f"block sides must be at least 1, got {self.inputs}x{self.outputs}")


@dataclass(frozen=True)
class Filters:
    """Whole outputs become zero: filters of a convolution, neurons of a dense layer."""


@dataclass(frozen=True)
class Channels:
    """Whole inputs become zero: what a layer reads of one channel (or of one neuron)."""


SparsityPattern = Unstructured | NM | Block | Filters | Channels


def sparsity_pattern(name: str | SparsityPattern | None) -> SparsityPattern:
    """``unstructured``, ``4x1`` (blocks), ``2:4`` (N:M), ``filters`` or ``channels`` as a value.

    Values pass through; None is unstructured. Raises ConfigError for another name.
    """
    if isinstance(name, (Unstructured, NM, Block, Filters, Channels)):
        return name
    known = {"unstructured": Unstructured(), "filters": Filters(), "channels": Channels()}
    if name is None or name in known:
        return known[name or "unstructured"]
    if found := re.fullmatch(r"(\d+)x(\d+)", str(name)):
        return Block(int(found[1]), int(found[2]))
    if found := re.fullmatch(r"(\d+):(\d+)", str(name)):
        return NM(int(found[1]), int(found[2]))
    raise ConfigError(
        f"pattern {name!r} is unknown; use unstructured, 4x1 (blocks), 2:4 (N:M), filters or "
        "channels"
    )
