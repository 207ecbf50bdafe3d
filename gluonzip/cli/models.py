"""Graphs from the files that verbs take: archives, and MXNet's pairs of files."""

from __future__ import annotations

import re
from pathlib import Path

from gluonzip.errors import DataError
from gluonzip.graph import Graph


def load_graph(file: Path, params: Path | None, shapes: dict[str, tuple[int, ...]]) -> Graph:
    """The graph of a ``.glz`` archive, or of a ``-symbol.json`` with its ``.params``."""
    if file.name.endswith(".json"):
        return _symbol(file, params, shapes)
    from gluonzip import archive

    if params is not None or shapes:
        raise DataError(f"--params and --shape go with a -symbol.json, and {file} is none")
    return archive.read(file)


def _symbol(file: Path, params: Path | None, shapes: dict[str, tuple[int, ...]]) -> Graph:
    from gluonzip.gluon import import_symbol, trace

    if not shapes:
        raise DataError(f"{file} does not say how large its inputs are: --shape data=1x3x224x224")
    net = import_symbol(file, params or newest_params(file), shapes)
    graph = trace(net, *shapes.values(), names=list(shapes))
    graph.name = file.name.removesuffix(".json").removesuffix("-symbol")
    return graph


def newest_params(symbol: Path) -> Path:
    """The ``-EEEE.params`` of the highest epoch beside a symbol file."""
    stem = symbol.name.removesuffix(".json").removesuffix("-symbol")
    pattern = re.compile(re.escape(stem) + r"-\d{4}\.params")
    folder = symbol.parent
    found = [p for p in folder.iterdir() if pattern.fullmatch(p.name)] if folder.is_dir() else []
    if not found:
        raise DataError(f"no {stem}-0000.params beside {symbol}; name the file with --params")
    return max(found)
