"""The machine that a report was measured on."""

from __future__ import annotations

import os
from importlib.metadata import PackageNotFoundError, version

from gluonzip._version import __version__
from gluonzip.report.facts import Machine
from gluonzip.runtime import best_isa, cores
from gluonzip.runtime.tuning import cpu_model


def machine(threads: int | None = None, isa: str | None = None) -> Machine:
    """This machine; ``threads`` (default: all cores) and ``isa`` as the engine uses them."""
    found = {"gluonzip": __version__}
    for name in ("numpy", "mxnet"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return Machine(
        cpu_model(), cores(), isa or best_isa(), threads or cores(), mxnet_threads(), found
    )


def mxnet_threads() -> int:
    """OpenMP threads of MXNet, which goes down to 1 when the environment does not say otherwise."""
    value = os.environ.get("OMP_NUM_THREADS", "")
    return int(value) if value.isdigit() else 1
