"""gluonzip: compress MXNet/Gluon networks, and run them small and fast without MXNet.

``import gluonzip`` is light: MXNet is imported when something under ``gluonzip.gluon`` is first
used.
"""

import importlib

from gluonzip._version import __version__

__all__ = ["__version__"]


def __getattr__(name: str) -> object:
    """``gluonzip.gluon`` without an import of its own: MXNet loads when it is first named."""
    if name == "gluon":
        return importlib.import_module("gluonzip.gluon")
    raise AttributeError(f"module 'gluonzip' has no attribute {name!r}")
