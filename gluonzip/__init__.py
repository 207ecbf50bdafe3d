"""gluonzip: compress MXNet/Gluon networks, and run them small and fast without MXNet.

``import gluonzip`` is light: MXNet is imported when something under ``gluonzip.gluon`` is first
used.
"""

from gluonzip._version import __version__

__all__ = ["__version__"]
