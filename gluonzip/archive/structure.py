"""What holds for every graph in an archive; the C++ reader checks the same, the engine the rest."""

from __future__ import annotations

from gluonzip.errors import ArchiveError
from gluonzip.graph.ir import Graph


def check_structure(graph: Graph) -> None:
    """Names are unique, and every tensor is defined once, before it is read. Else ArchiveError."""
    defined: set[str] = set()

    def define(name: str, what: str) -> None:
        if name in defined:
            raise ArchiveError(f"{what}: tensor {name!r} is defined twice")
        defined.add(name)

    for entry in graph.inputs:
        define(entry.name, f"input {entry.name!r}")
    for name in graph.constants:
        define(name, f"tensor {name!r}")
    nodes: set[str] = set()
    for node in graph.nodes:
        what = f"node {node.name!r}"
        if node.name in nodes:
            raise ArchiveError(f"{what}: another node has the same name")
        nodes.add(node.name)
        for name in node.present_inputs():
            if name not in defined:
                raise ArchiveError(f"{what} reads tensor {name!r}, which nothing before it defines")
        if not node.outputs:
            raise ArchiveError(f"{what} has no output")
        for name in node.outputs:
            define(name, what)
    for name in graph.outputs:
        if name not in defined:
            raise ArchiveError(f"output {name!r} of the graph is a tensor that nothing defines")
