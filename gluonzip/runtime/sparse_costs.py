"""What dense and sparse layers cost on this machine: measured, kept on disk, given to the core.

The core runs a layer sparse where an estimate says that it is faster: counts of what costs time
(vector instructions, words of weights, rows, ...; ``csrc/ops/sparse_choice.h``) times nanoseconds.
The built-in nanoseconds are of one machine with AVX-512; :func:`calibrate` measures this one's.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

from gluonzip import _core
from gluonzip.archive.core import expected_stamp
from gluonzip.errors import ConfigError
from gluonzip.runtime.tuning import cache_folder, cpu_model

Costs = dict[str, float]
"""Name of a cost -> nanoseconds."""

# (size of the image, input channels, output channels, kernel)
SHAPES = [(28, 64, 64, 1), (28, 64, 256, 1), (28, 256, 64, 1), (28, 64, 64, 3),
          (14, 256, 512, 1), (14, 128, 128, 3), (7, 512, 512, 1), (7, 256, 256, 3)]  # fmt: skip
ROWS = [(1, 1024, 1024, 1), (1, 256, 1024, 1)]  # products of one row, in a near cache
COLD_ROW = (1, 2048, 2048, 1)  # a matrix that is read from memory, as COLD_COPIES are in rotation
COLD_COPIES = 16
SPARSITIES = (0.5, 0.75, 0.9, 0.98)


def path(isa: str) -> Path:
    """The file of this machine's costs with an instruction set; it need not exist."""
    return cache_folder() / f"sparse-costs-{isa}.json"


def geometry(size: int, channels: int, out: int, kernel: int) -> dict[str, int]:
    """A convolution of one image that keeps its size, as ``_core.PackedConvS8`` takes it."""
    pad = kernel // 2
    return {
        "n": 1, "h": size, "w": size, "channels": channels, "stride_c": channels, "kh": kernel,
        "kw": kernel, "sh": 1, "sw": 1, "pad_top": pad, "pad_left": pad, "dh": 1, "dw": 1,
        "oh": size, "ow": size, "out_channels": out,
    }  # fmt: skip


def calibrate(
    isa: str | None = None, seconds: float = 8.0, say: Callable[[str], None] = lambda _: None
) -> dict[str, Costs]:
    """Measure, keep in the cache folder and use this machine's costs: {"int8": ..., "float32": ...}

    One thread's CPU time; ``seconds`` in all, roughly. ``say`` gets a line for each measurement.
    """
    isa = _core.resolve_isa(isa or "")
    found = {}
    budget = seconds / (2 * (len(ROWS) + len(SHAPES)) * (1 + len(SPARSITIES)))
    for integer, name in ((True, "int8"), (False, "float32")):
        counts, times = [], []
        start = _core.sparse_costs(integer)
        start["weight_byte"] = _byte_nanoseconds(integer, isa)
        say(f"{name} weights from memory: {start['weight_byte']:.3f} ns a byte")
        for shape in (*SHAPES, *ROWS):
            for these, nanoseconds in _measure(geometry(*shape), integer, isa, budget):
                counts.append(these)
                times.append(nanoseconds)
                say(f"{name} {shape}: {nanoseconds / 1e3:.1f} us")
        found[name] = fit(counts, times, start)
        _core.set_sparse_costs(integer, found[name])
    save(isa, found)
    return found


def _measure(shape: dict[str, int], integer: bool, isa: str, budget: float):
    """(counts, nanoseconds) of a layer, dense and with zeros in blocks of one word."""
    random = np.random.default_rng(0)
    size = (shape["out_channels"], shape["kh"], shape["kw"], shape["channels"])
    kind, block = ("S8", 4) if integer else ("F32", 1)
    full = random.integers(1, 100, size).astype(np.int8 if integer else np.float32)
    conv = getattr(_core, f"PackedConv{kind}")(shape, full, isa)
    yield _core.sparse_counts(shape, integer, 0)[0], _time(conv, budget)
    for sparsity in SPARSITIES:
        keep = random.random((*size[:3], size[3] // block)) >= sparsity
        weights = full * np.repeat(keep, block, axis=3).astype(full.dtype)
        conv = getattr(_core, f"SparseConv{kind}")(shape, weights, isa)
        yield _core.sparse_counts(shape, integer, int(keep.sum()))[1], _time(conv, budget)
        if integer and shape["oh"] == 1 and _core.has_bitmap(isa):
            conv = _core.BitmapS8(shape, weights, isa)
            counts = _core.bitmap_counts(shape, int(np.count_nonzero(weights)))
            yield counts, _time(conv, budget)


def _byte_nanoseconds(integer: bool, isa: str) -> float:
    """What a byte of weights costs that no cache near the core holds."""
    shape = geometry(*COLD_ROW)
    size = (shape["out_channels"], 1, 1, shape["channels"])
    kind = "S8" if integer else "F32"
    weights = np.ones(size, np.int8 if integer else np.float32)
    copies = COLD_COPIES if integer else COLD_COPIES // 4
    conv = getattr(_core, f"PackedConv{kind}")(shape, weights, isa, copies)
    conv.time(copies)
    return statistics.median(conv.time(2 * copies)) * 1e9 / weights.nbytes


def _time(conv, budget: float) -> float:
    first = min(conv.time(2))
    return statistics.median(conv.time(max(3, min(500, int(budget / first))))) * 1e9


def fit(counts: list[Costs], times: list[float], start: Costs) -> Costs:
    """Nonnegative nanoseconds by which counts give times with small relative errors.

    Least squares by coordinate descent, drawn a little towards ``start`` so that what the
    measurements do not tell apart stays sensible; ``weight_byte`` is kept (measured by itself).
    """
    names = [name for name in start if name != "weight_byte"]
    rows = np.array([[row.get(name, 0.0) for name in names] for row in counts])
    rows /= np.array(times)[:, None]
    x = np.array([start[name] for name in names])
    pull = 1e-3 * (rows**2).sum(axis=0)
    prior = x.copy()
    squares = (rows**2).sum(axis=0) + pull
    for _ in range(3000):
        for i in np.flatnonzero(squares):  # the others do not occur
            rest = 1.0 - rows @ x + rows[:, i] * x[i]
            x[i] = max(0.0, (rows[:, i] @ rest + pull[i] * prior[i]) / squares[i])
    return {**start, **{name: float(value) for name, value in zip(names, x, strict=True)}}


def key(isa: str) -> dict:
    return {"cpu": cpu_model(), "isa": isa, "stamp": list(expected_stamp())}


def save(isa: str, costs: dict[str, Costs]) -> None:
    """Replace the file, at once or not at all; a folder that cannot be written is an OSError."""
    target = path(isa)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=target.stem)
    try:
        with open(handle, "w", encoding="utf-8") as file:
            json.dump({"key": key(isa), "costs": costs}, file, indent=1)
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise


_BUILT_IN = {integer: _core.sparse_costs(integer) for integer in (True, False)}
_used: list[object] = [None]  # the file, and when it was written, that the core's costs are from


def apply(isa: str) -> bool:
    """Give the core this machine's costs, if it was calibrated with this version; else the
    built-in ones (False).

    A file that is damaged or of another machine is ignored with a warning.
    """
    target = path(isa)
    try:
        source: object = (str(target), target.stat().st_mtime_ns)
    except OSError:
        source = None
    if _used[0] == source:
        return source is not None
    _used[0] = source
    if source is not None:
        try:
            content = json.loads(target.read_text(encoding="utf-8"))
            if content["key"] != key(isa):
                raise ValueError("they are of another machine or version")
            costs = {True: content["costs"]["int8"], False: content["costs"]["float32"]}
            for integer in (True, False):
                _core.set_sparse_costs(integer, costs[integer])
            return True
        except (OSError, ValueError, KeyError, TypeError, ConfigError) as error:
            warnings.warn(
                f"{target}: these costs are not used ({error}); gluonzip bench --calibrate "
                "measures them again",
                stacklevel=3,
            )
    for integer in (True, False):
        _core.set_sparse_costs(integer, _BUILT_IN[integer])
    return False
