"""The FlatBuffers schema of TFLite, or an error that says how to install it."""

from __future__ import annotations

from gluonzip.errors import MissingDependencyError

try:
    import flatbuffers
    import tflite
except ImportError as error:
    raise MissingDependencyError(
        f"TFLite files need the packages tflite and flatbuffers ({error}): "
        "pip install 'gluonzip[tflite]'"
    ) from error

__all__ = ["flatbuffers", "tflite"]
