"""Old ``-symbol.json`` and ``.params`` models as first-class Gluon networks."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gluonzip.errors import ConfigError, DataError
from gluonzip.gluon._mxnet import mx
from gluonzip.gluon.rebuild import GraphBlock
from gluonzip.gluon.symbol_graph import reason
from gluonzip.gluon.tracing import trace_symbol

PARAMS_MAGIC = (0x112).to_bytes(8, "little")
"""How every file of ``mx.nd.save`` begins."""


def import_symbol(
    symbol_file: str | os.PathLike,
    params_file: str | os.PathLike,
    input_shapes: Mapping[str, Sequence[int]] | Sequence[int],
    ctx: Any = None,
) -> GraphBlock:
    """A network saved by ``HybridBlock.export``, ``Module.save_checkpoint`` or the like.

    ``input_shapes``: input name -> shape, e.g. ``{"data": (1, 3, 224, 224)}``; a bare shape is
    that of ``data``. Unlike a ``SymbolBlock``, the result has real layers: it can be trained,
    wrapped, pruned, quantized. Outputs are a ``SymbolBlock``'s; parameters keep their names.

    Raises DataError for a file that is missing, damaged or lacks parameters, ConfigError for
    inputs that the symbol does not have, ShapeError for shapes that it does not accept,
    UnsupportedError for an operator that MXNet does not have.
    """
    shapes = _shapes(input_shapes)
    symbol = _load_symbol(Path(symbol_file))
    params = _load_params(Path(params_file))
    known = set(symbol.list_inputs())
    unknown = sorted(set(shapes) - known)
    if unknown:
        free = sorted(known - set(params))
        raise ConfigError(
            f"{symbol_file} has no input named {', '.join(unknown)}; "
            f"variables without a parameter: {', '.join(free) or 'none'}"
        )
    missing = [n for n in symbol.list_inputs() if n not in {*params, *shapes} and not _label(n)]
    if missing:
        shown = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
        raise DataError(
            f"{params_file} lacks {len(missing)} parameters of {symbol_file}: {shown} (if one of "
            "them is an input, give its shape)"
        )
    params = {name: value for name, value in params.items() if name not in shapes}
    graph = trace_symbol(symbol, params, shapes, name=Path(symbol_file).stem)
    return GraphBlock(graph, prefix="", ctx=ctx)


def _label(name: str) -> bool:
    """Labels of loss layers have no value; the tracer complains if one is really read."""
    return name.endswith("label")


def _shapes(given: Any) -> dict[str, tuple[int, ...]]:
    shapes = dict(given) if isinstance(given, Mapping) else {"data": given}
    try:
        return {str(name): tuple(int(n) for n in shape) for name, shape in shapes.items()}
    except TypeError:
        raise ConfigError(
            f"input_shapes must be a shape or a mapping from input names to shapes, got {given!r}"
        ) from None


def _exists(path: Path, what: str) -> None:
    if not path.is_file():
        raise DataError(f"{what} file {str(path)!r} does not exist")


def _load_symbol(path: Path) -> Any:
    _exists(path, "symbol")
    try:
        text = path.read_text(encoding="utf-8")
        _check_symbol(json.loads(text))
        return mx.sym.load_json(text)
    except (ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
        raise DataError(f"{path} is not an MXNet symbol: {error}") from error
    except mx.MXNetError as error:
        raise DataError(f"MXNet cannot load symbol {path}: {reason(error)}") from error


def _check_symbol(document: Any) -> None:
    """What MXNet itself does not check before it follows an index."""
    if not isinstance(document, dict) or not isinstance(document.get("nodes"), list):
        raise ValueError("no list of nodes")
    nodes = document["nodes"]
    for at, node in enumerate(nodes):
        for entry in node["inputs"]:
            if not (isinstance(entry[0], int) and 0 <= entry[0] < at and entry[1] >= 0):
                raise ValueError(f"node {at} reads {entry}, which is not a node before it")
    for entry in document["heads"]:
        if not (isinstance(entry[0], int) and 0 <= entry[0] < len(nodes)):
            raise ValueError(f"output {entry} is not a node")
    if not document["heads"]:
        raise ValueError("it has no outputs")
    if any(not 0 <= at < len(nodes) or nodes[at]["op"] != "null" for at in document["arg_nodes"]):
        raise ValueError("arg_nodes names something that is not a variable")


def _load_params(path: Path) -> dict[str, Any]:
    _exists(path, "parameter")
    with path.open("rb") as file:
        if file.read(8) != PARAMS_MAGIC:
            raise DataError(f"{path} is not an MXNet parameter file")
    try:
        loaded = mx.nd.load(str(path))
    except (mx.MXNetError, MemoryError) as error:
        raise DataError(f"MXNet cannot load parameters {path}: {reason(error)}") from error
    if not isinstance(loaded, dict):
        raise DataError(f"{path} holds arrays without names")
    return {name.removeprefix("arg:").removeprefix("aux:"): v for name, v in loaded.items()}
