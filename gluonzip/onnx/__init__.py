"""ONNX files from graphs, and graphs from ONNX files. Needs ``pip install 'gluonzip[onnx]'``."""

from gluonzip.onnx.export import Exported, to_model
from gluonzip.onnx.storage import Storage
from gluonzip.onnx.verify import Agreement, random_inputs, sum_ranges, verify
from gluonzip.onnx.write import Written, write

__all__ = [
    "Agreement",
    "Exported",
    "Storage",
    "Written",
    "random_inputs",
    "sum_ranges",
    "to_model",
    "verify",
    "write",
]
