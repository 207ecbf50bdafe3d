"""The ``.glz`` format: everything counted, small, safe to read from anyone. See docs/format.md.

The engine reads archives in C++: what handles graphs is imported when it is first named.

>>> import numpy as np
>>> from gluonzip.graph.ir import Constant, Graph, Input, Node
>>> dense = Node("dense", "fc", ["x", "w"], ["y"])
>>> graph = Graph([Input("x", (0, 2))], ["y"], [dense], {"w": Constant(np.eye(2, dtype="float32"))})
>>> read(to_bytes(graph)).constants["w"].data
array([[1., 0.],
       [0., 1.]], dtype=float32)
"""

import importlib

_LAZY = {
    "ArchiveInfo": "info",
    "Difference": "compare",
    "SectionInfo": "info",
    "diff": "compare",
    "family_to_bytes": "writer",
    "inspect": "reader",
    "members": "reader",
    "read": "reader",
    "read_family": "reader",
    "to_bytes": "writer",
    "write": "writer",
    "write_family": "writer",
}

__all__ = list(_LAZY)


def __getattr__(name: str) -> object:
    if name in _LAZY:
        return getattr(importlib.import_module(f"gluonzip.archive.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
