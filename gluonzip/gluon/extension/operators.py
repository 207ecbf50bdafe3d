"""The quantizers as single operators, where the library is loaded and the tensor suits it."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from gluonzip.errors import UnsupportedError
from gluonzip.gluon._mxnet import mx
from gluonzip.gluon.extension.build import library

_state = threading.local()
_loaded = False


def load_extension(required: bool = False) -> bool:
    """Fake quantizers as C++ operators of MXNet from now on, in this process; several times faster.

    Compiles them at the first call on a machine (some ten seconds, then from
    :func:`~gluonzip.gluon.extension.build.cache_folder`). Outputs and the gradients of weights and
    activations stay the same to the bit; gradients of learned scales are summed in another order.
    Symbols (``trace``, ``export``) still hold MXNet's own operators alone, so they load anywhere.

    Returns whether the operators are in use. Where they cannot be (no compiler, no headers) it
    warns, saying why, and the composition of built-in operators does the work; with ``required``
    it raises UnsupportedError instead.
    """
    global _loaded
    try:
        _load()
    except UnsupportedError as error:
        if required:
            raise
        warnings.warn(
            f"fake quantizers stay compositions of MXNet's operators, which are slower: {error}",
            stacklevel=2,
        )
        return False
    _loaded = True
    return True


def _load() -> None:
    from gluonzip.gluon.extension.hybrid import install

    if _loaded:
        return
    path = library()
    try:
        if not hasattr(mx.nd, "gluonzip_fake_quantize"):
            mx.library.load(str(path), verbose=False)
    except (mx.MXNetError, OSError) as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise UnsupportedError(
            f"MXNet does not load {path} ({reason[-1]}); delete it to have it built again"
        ) from error
    install()


def loaded() -> bool:
    """Are the operators in use?"""
    return _loaded


@contextmanager
def unused() -> Iterator[None]:
    """Compositions of built-in operators for a while: the oracle, to compare with."""
    global _loaded
    before, _loaded = _loaded, False
    try:
        yield
    finally:
        _loaded = before


@contextmanager
def in_symbols() -> Iterator[None]:
    """Symbols made inside, by this thread, hold the operators: only to be run, never stored."""
    before = getattr(_state, "symbols", False)
    _state.symbols = True
    try:
        yield
    finally:
        _state.symbols = before


def suits(F: Any, x: Any) -> bool:
    """Can the operators take ``x``? (A symbol is float32 already.)"""
    if not _loaded:
        return False
    if isinstance(x, mx.nd.NDArray):
        return x.context.device_type == "cpu" and x.dtype == np.float32 and x.stype == "default"
    return getattr(_state, "symbols", False)


def fake_quantize(
    F: Any,
    x: Any,
    scale: Any,
    low: int,
    high: int,
    axis: int | None,
    clip: bool,
    growth: Any = None,
    per_sample: bool = False,
) -> Any:
    """As :func:`gluonzip.gluon.fake_quantize.fake_quantize`, in one operator.

    ``growth``: of a learned scale, takes its gradient; ``per_sample``: how its values are counted.
    """
    inputs = [F.BlockGrad(scale)] if growth is None else [F.BlockGrad(scale), growth]
    learned, clip = growth is not None, int(clip)
    facts = {"low": low, "high": high, "clip": clip, **_along(axis)}
    if learned:
        facts |= {"learned": 1, "per_sample": int(per_sample)}
    return F.gluonzip_fake_quantize(_adding(F, x), *inputs, **facts)


def quantize_weight(F: Any, weight: Any, high: int, axis: int | None) -> Any:
    """With scales of ``max|w| / high`` of the tensor or along ``axis``, 1 for zeros."""
    return F.gluonzip_quantize_weight(_adding(F, weight), high=high, clip=0, **_along(axis))[0]


def _adding(F: Any, x: Any) -> Any:
    """``x``, from an operator that can add to gradients.

    MXNet 1.9 writes an extension's gradient over one that ``grad_req="add"`` should add to. Symbols
    come from such an operator already (:func:`gluonzip.gluon.precision.in_float32`).
    """
    leaf = isinstance(x, mx.nd.NDArray) and x.grad is not None
    return F.identity(x) if leaf else x


def _along(axis: int | None) -> dict[str, int]:
    return {} if axis is None else {"axis": axis}
