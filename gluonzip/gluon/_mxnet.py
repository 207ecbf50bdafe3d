"""MXNet, or an error that says how to get it. Other files here write ``from ._mxnet import mx``."""

from __future__ import annotations

from gluonzip.errors import MissingDependencyError

INSTALL = "pip install 'gluonzip[gluon]'"


def _explain(error: Exception) -> str:
    """Why ``import mxnet`` failed, and what to do about it."""
    if isinstance(error, ModuleNotFoundError) and error.name == "mxnet":
        return f"gluonzip.gluon needs MXNet, which is not installed: {INSTALL}"
    import numpy as np

    if isinstance(error, AttributeError) and "numpy" in str(error):
        return (
            f"MXNet 1.9.1 does not work with NumPy {np.__version__} (it uses np.bool, removed in "
            f"NumPy 1.24): {INSTALL}, which brings numpy<1.24; name every package in that one "
            "command, for a later pip install may bring a newer NumPy back"
        )
    return f"import mxnet failed ({type(error).__name__}: {error}); a working set: {INSTALL}"


try:
    import mxnet as mx
except (ImportError, AttributeError, OSError) as error:
    raise MissingDependencyError(_explain(error)) from error

__all__ = ["mx"]
