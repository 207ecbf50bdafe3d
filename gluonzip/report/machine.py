"""The machine that a report was measured on."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from gluonzip._version import __version__
from gluonzip.report.facts import Machine
from gluonzip.runtime import best_isa, cores


def machine(threads: int | None = None, isa: str | None = None) -> Machine:
    """This machine; ``threads`` (default: all cores) and ``isa`` as the engine uses them."""
    found = {"gluonzip": __version__}
    for name in ("numpy", "mxnet"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return Machine(
        _processor(), cores(), isa or best_isa(), threads or cores(), mxnet_threads(), found
    )


def mxnet_threads() -> int:
    """OpenMP threads of MXNet, which goes down to 1 when the environment does not say otherwise."""
    value = os.environ.get("OMP_NUM_THREADS", "")
    return int(value) if value.isdigit() else 1


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    models = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.machine())
