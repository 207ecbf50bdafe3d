"""ONNX files from graphs, and graphs from ONNX files. Needs ``pip install 'gluonzip[onnx]'``."""

from gluonzip.onnx.export import Exported, to_model
from gluonzip.onnx.read import read
from gluonzip.onnx.storage import Storage
from gluonzip.onnx.verify import verify
from gluonzip.onnx.write import Written, write

__all__ = [
    "Exported",
    "Storage",
    "Written",
    "read",
    "to_model",
    "verify",
    "write",
]
