"""TFLite files from graphs. Needs ``pip install 'gluonzip[tflite]'``; to run them, LiteRT."""

from gluonzip.tflite.export import write
from gluonzip.tflite.verify import run_litert, verify

__all__ = ["run_litert", "verify", "write"]
