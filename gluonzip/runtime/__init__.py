"""The engine and its operators on arrays. Needs NumPy and the compiled core only, never MXNet."""

import gluonzip.archive.rans  # noqa: F401  (first: it names a missing or stale core as such)
from gluonzip.runtime.engine import Engine
from gluonzip.runtime.isa import best_isa, cores, isas, resolve_isa
from gluonzip.runtime.operators import (
    KernelChoice,
    SparseMatrix,
    conv2d_f32,
    conv2d_s8,
    gemm_f32,
    gemm_s8,
    sddmm,
    spmm,
    spmm_s8,
)
from gluonzip.runtime.streams import Streams

__all__ = [
    "CalibrationEngine",
    "Engine",
    "KernelChoice",
    "SparseMatrix",
    "Streams",
    "best_isa",
    "conv2d_f32",
    "conv2d_s8",
    "cores",
    "gemm_f32",
    "gemm_s8",
    "isas",
    "resolve_isa",
    "sddmm",
    "spmm",
    "spmm_s8",
]


def __getattr__(name: str) -> object:
    if name == "CalibrationEngine":  # needs the passes, which running a network does not
        from gluonzip.runtime.calibration import CalibrationEngine

        return CalibrationEngine
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
