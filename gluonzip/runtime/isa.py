"""Instruction sets: what this machine can run, and what an engine or operator will use.

An instruction set is named ``"reference"`` (portable C++, slow, the definition of truth),
``"avx2"``, ``"avxvnni"``, ``"avx512bw"``, ``"avx512vnni"`` or ``"avx512vbmi2"`` (VNNI, and VBMI2
for products of one row with zeros). Wherever one can be given, ``None`` means the environment
variable ``GLUONZIP_ISA`` if it is set, else :func:`best_isa`.
"""

from __future__ import annotations

from gluonzip import _core

__all__ = ["best_isa", "cores", "isas", "resolve_isa"]


def isas() -> list[str]:
    """What the CPU, its operating system and this build have, slowest first."""
    return _core.isas()


def best_isa() -> str:
    """The fastest of :func:`isas`; the environment variable is not looked at."""
    return _core.best_isa()


def resolve_isa(name: str | None = None) -> str:
    """The instruction set that ``name`` stands for.

    Raises:
        IsaError: the name (or that in ``GLUONZIP_ISA``) is unknown, or the machine lacks it; the
            message lists what there is.
    """
    return _core.resolve_isa(name or "")


def cores() -> int:
    """CPU cores that this process may run on: the default number of threads."""
    return _core.cores()
