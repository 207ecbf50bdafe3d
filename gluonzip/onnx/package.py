"""The onnx package, or an error that says how to install it."""

from __future__ import annotations

from gluonzip.errors import MissingDependencyError

try:
    import onnx
except ImportError as error:
    raise MissingDependencyError(
        f"ONNX files need the package onnx ({error}): pip install 'gluonzip[onnx]'"
    ) from error

OPSET = min(onnx.defs.onnx_opset_version(), 23)
"""The newest opset that the installed package knows and whose operators were checked here."""
IR_VERSION = min(onnx.IR_VERSION, 11)

__all__ = ["IR_VERSION", "OPSET", "onnx"]
