"""What a report knows, as plain frozen values; bytes, milliseconds, shares from 0 to 1."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Machine:
    """Where it was measured. ``isa`` and ``threads`` are the engine's."""

    cpu: str
    cores: int
    isa: str
    threads: int
    mxnet_threads: int
    versions: dict[str, str]


@dataclass(frozen=True)
class Stage:
    """The network after one stage. ``accuracy`` is None without validation data."""

    name: str
    accuracy: float | None
    archive_bytes: int
    seconds: float


@dataclass(frozen=True)
class LayerFacts:
    """A layer with parameters.

    ``parameters`` counts biases as well; ``shape``, ``sparsity`` and ``weight_bits`` are of the
    weight alone. ``archive_bytes``: of its tensors' sections. ``reason``: why something was not
    done to it, "" if all was. ``weighted``: False for a batch norm and the like. ``unsigned``: its
    input's codes go from 0 up.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int
    sparsity: float
    weight_bits: int
    activation_bits: int
    dense_bytes: int
    archive_bytes: int
    encoding: str
    compressed: bool
    reason: str = ""
    weighted: bool = True
    unsigned: bool = False


@dataclass(frozen=True)
class Section:
    """A tensor's section of the archive."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    encoding: str
    bits: int
    sparsity: float
    bytes: int


@dataclass(frozen=True)
class ArchiveBytes:
    """Every byte of the archive: ``total == header + index + sum of sections + meta``."""

    total: int
    header: int
    index: int
    meta: int
    sections: tuple[Section, ...]


@dataclass(frozen=True)
class Latency:
    """Medians of one call, milliseconds, the sides alternating."""

    batch: int
    dense_ms: float
    engine_ms: float
    calls: int

    @property
    def speedup(self) -> float:
        return self.dense_ms / self.engine_ms


@dataclass(frozen=True)
class Agreement:
    """The engine next to the network with simulated quantizers, on the same samples."""

    samples: int
    same_answer: int
    largest_difference: float

    @property
    def share(self) -> float:
        return self.same_answer / self.samples


@dataclass(frozen=True)
class Histogram:
    """Weights of a layer before and after: counts in equal bins over [-limit, limit].

    ``after`` leaves out the zeros (``zeros`` counts them), which would hide everything else.
    """

    layer: str
    limit: float
    before: tuple[int, ...]
    after: tuple[int, ...]
    zeros: int
