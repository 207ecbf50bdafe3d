"""Quantizers in networks that compute in float16 or bfloat16: cast ones, and those of MXNet's AMP.

Rounding needs float32: beside 1.5 * 2^23 the spacing of floats is 1, and a scale of 0.003 has three
digits in float16. So values are cast on the way in, and back on the way out where the network was
cast as a whole; AMP casts what its operators take by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gluonzip.errors import UnsupportedError
from gluonzip.gluon import tags
from gluonzip.gluon._mxnet import mx


def in_float32(F: Any, x: Any, dtype: Any, function: Callable[[Any], Any]) -> Any:
    """``function`` of ``x`` in float32; back in ``dtype``, that of the layer's parameters."""
    if np.dtype(dtype) != np.float32:
        return _cast(F, function(_cast(F, x, "float32")), dtype)
    if isinstance(x, mx.nd.NDArray):
        return function(x if x.dtype == np.float32 else _cast(F, x, "float32"))
    # AMP may give a symbol another type, before or after it is made. Of float32 it makes float32 at
    # no cost, and MXNet leaves it out of the files it writes.
    with tags.tag(F, tags.CAST):
        x = F.amp_cast(x, dtype="float32")
    return function(x)


def _cast(F: Any, x: Any, dtype: Any) -> Any:
    with tags.tag(F, tags.CAST):
        return F.cast(x, np.dtype(dtype).name)


def require_castable(dtype: Any) -> None:
    """UnsupportedError for a type that MXNet cannot cast a network to."""
    if str(dtype) == "bfloat16":
        raise UnsupportedError(
            "MXNet 1.9 has no Gluon parameters in bfloat16 (net.cast); call "
            "mx.contrib.amp.init(target_dtype='bfloat16') before the network is built: weights "
            "then stay float32 and its matrix products run in bfloat16"
        )
