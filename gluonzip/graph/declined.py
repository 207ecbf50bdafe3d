"""What an exporter cannot write, named before anything is written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gluonzip.errors import UnsupportedError
from gluonzip.graph.ir import Graph, Node


def check_operators(
    graph: Graph, declined: Mapping[str, str], known: Mapping[str, Any], target: str
) -> None:
    """UnsupportedError that lists every node whose operator the target lacks."""
    bad = [node for node in graph.nodes if node.op in declined or node.op not in known]
    if not bad:
        return
    lines = "\n".join(
        f"  - {_title(node)}: {declined.get(node.op, 'no equivalent')}" for node in bad
    )
    raise UnsupportedError(
        f"graph {graph.name!r} has {len(bad)} node(s) that cannot be written as {target}; nothing "
        f"was written:\n{lines}"
    )


def _title(node: Node) -> str:
    return f"{node.name!r} ({node.attrs.get('operator') or node.op})"
