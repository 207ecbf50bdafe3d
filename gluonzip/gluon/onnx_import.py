"""Networks trained elsewhere, as Gluon networks."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from gluonzip.gluon.rebuild import GraphBlock


def import_onnx(
    path: str | os.PathLike, shapes: Mapping[str, Sequence[int]] | None = None, ctx: Any = None
) -> GraphBlock:
    """The network in an ONNX file, with real layers: it can be trained, pruned, quantized.

    ``shapes``: of inputs whose axes (other than the first) have no fixed length. Raises as
    :func:`gluonzip.onnx.read`; MissingDependencyError without the package onnx.
    """
    from gluonzip.onnx import read

    return GraphBlock(read(path, shapes), prefix="", ctx=ctx)
