"""gluonzip: compress MXNet/Gluon networks, and run them small and fast without MXNet.

``import gluonzip`` is light: what a name needs is imported when it is first used.
"""

import importlib

from gluonzip._version import __version__

_LAZY = {
    "Engine": "gluonzip.runtime",
    "CompiledBlock": "gluonzip.gluon",
    "Recipe": "gluonzip.recipe",
    "Report": "gluonzip.report",
    "Result": "gluonzip.pipeline",
    "compress": "gluonzip.pipeline",
    "diagnose": "gluonzip.auto",
    "sensitivity": "gluonzip.auto",
}
_MODULES = frozenset(
    ("archive", "auto", "errors", "gluon", "graph", "model_zoo", "onnx", "passes", "pipeline")
    + ("recipe", "report", "runtime", "schedule", "spec", "tflite", "training")
)

__all__ = ["CompiledBlock", "Engine", "Recipe", "Report", "Result", "__version__", "compress"]
__all__ += ["diagnose", "sensitivity"]


def __getattr__(name: str) -> object:
    """Public names and subpackages, imported when they are first named."""
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    if name in _MODULES:
        return importlib.import_module(f"gluonzip.{name}")
    raise AttributeError(f"module 'gluonzip' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY, *_MODULES})
