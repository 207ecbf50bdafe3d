"""The ``.glz`` format: everything counted, small, safe to read from anyone. See docs/format.md.

>>> import numpy as np
>>> from gluonzip.graph.ir import Constant, Graph, Input, Node
>>> dense = Node("dense", "fc", ["x", "w"], ["y"])
>>> graph = Graph([Input("x", (0, 2))], ["y"], [dense], {"w": Constant(np.eye(2, dtype="float32"))})
>>> read(to_bytes(graph)).constants["w"].data
array([[1., 0.],
       [0., 1.]], dtype=float32)
"""

from gluonzip.archive.compare import Difference, diff
from gluonzip.archive.info import ArchiveInfo, SectionInfo
from gluonzip.archive.reader import inspect, members, read, read_family
from gluonzip.archive.writer import family_to_bytes, to_bytes, write, write_family

__all__ = [
    "ArchiveInfo",
    "Difference",
    "SectionInfo",
    "diff",
    "family_to_bytes",
    "inspect",
    "members",
    "read",
    "read_family",
    "to_bytes",
    "write",
    "write_family",
]
