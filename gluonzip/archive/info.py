"""What an archive's bytes are spent on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SectionInfo:
    """A tensor's section. ``bits``: of its codes when quantized, else of a value as stored."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    encoding: str
    bytes: int
    nonzeros: int
    bits: int
    elements: int
    quantized: bool
    members: tuple[str, ...] = ()
    """Which networks of a family have this tensor."""

    @property
    def sparsity(self) -> float:
        """Share of zeros, 0 for an empty tensor."""
        return 1 - self.nonzeros / self.elements if self.elements else 0.0


@dataclass(frozen=True)
class ArchiveInfo:
    """Every byte of an archive: ``bytes == header + index + sum of sections + meta``."""

    bytes: int
    header: int
    index: int
    sections: tuple[SectionInfo, ...]
    meta: int
    members: tuple[str, ...] = ()
    """The networks of a family; () when there is one network."""

    @property
    def payload(self) -> int:
        """Bytes of all tensors' sections."""
        return sum(section.bytes for section in self.sections)
