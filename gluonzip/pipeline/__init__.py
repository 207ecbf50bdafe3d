"""Running a recipe on a network: :func:`compress`."""

from gluonzip.pipeline.compress import compress
from gluonzip.pipeline.result import Result

__all__ = ["Result", "compress"]
