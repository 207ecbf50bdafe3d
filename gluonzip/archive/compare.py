"""What differs between two archives."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gluonzip.archive.info import ArchiveInfo, SectionInfo
from gluonzip.archive.reader import Source, load
from gluonzip.graph.ir import Constant, Graph, Input, Node


@dataclass(frozen=True)
class Difference:
    """One thing that differs: ``kind`` is "member", "graph", "input", "node", "tensor",
    "meta" or "bytes"."""

    kind: str
    name: str
    what: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}: {self.what}" if self.name else f"{self.kind}: {self.what}"


def diff(a: Source, b: Source) -> list[Difference]:
    """Everything that differs from archive ``a`` to archive ``b``; empty when nothing does.

    Bytes are compared by part (index, each tensor's section, meta). ArchiveError when one of them
    cannot be read.
    """
    (graphs_a, info_a), (graphs_b, info_b) = load(a), load(b)
    out: list[Difference] = []
    for member in dict.fromkeys([*graphs_a, *graphs_b]):
        if member not in graphs_a or member not in graphs_b:
            what = "added" if member in graphs_b else "removed"
            out.append(Difference("member", member, what))
        else:
            out += _of_member(member, graphs_a[member], info_a, graphs_b[member], info_b)
    return [*out, *_bytes(info_a, info_b)]


def _of_member(
    member: str, a: Graph, info_a: ArchiveInfo, b: Graph, info_b: ArchiveInfo
) -> list[Difference]:
    found = [*_graphs(a, b), *_tensors(a, info_a, b, info_b), *_meta(a.meta, b.meta)]
    if not member:
        return found
    return [replace(d, name=f"{member}: {d.name}" if d.name else member) for d in found]


def _graphs(a: Graph, b: Graph) -> Iterator[Difference]:
    for what in ("name", "outputs"):
        before, after = getattr(a, what), getattr(b, what)
        if before != after:
            yield Difference("graph", "", f"{what} {before!r} -> {after!r}")
    yield from _named("input", {i.name: i for i in a.inputs}, {i.name: i for i in b.inputs}, _input)
    nodes_a, nodes_b = ({n.name: n for n in g.nodes} for g in (a, b))
    yield from _named("node", nodes_a, nodes_b, _node)
    if nodes_a.keys() == nodes_b.keys() and list(nodes_a) != list(nodes_b):
        yield Difference("graph", "", "the nodes are in another order")


def _named(kind: str, a: dict[str, Any], b: dict[str, Any], changes) -> Iterator[Difference]:
    """Differences of two maps; ``changes(before, after)`` says how two of one name differ."""
    for name in dict.fromkeys([*a, *b]):
        if name not in b:
            yield Difference(kind, name, "removed")
        elif name not in a:
            yield Difference(kind, name, "added")
        else:
            yield from (Difference(kind, name, what) for what in changes(a[name], b[name]))


def _input(a: Input, b: Input) -> Iterator[str]:
    if a.shape != b.shape or a.dtype != b.dtype:
        yield f"{a.dtype} {a.shape} -> {b.dtype} {b.shape}"


def _node(a: Node, b: Node) -> Iterator[str]:
    for what in ("op", "inputs", "outputs"):
        before, after = getattr(a, what), getattr(b, what)
        if before != after:
            yield f"{what} {before!r} -> {after!r}"
    for key in dict.fromkeys([*a.attrs, *b.attrs]):
        before, after = (n.attrs.get(key, "default") for n in (a, b))
        if before != after:
            yield f"attribute {key} {before!r} -> {after!r}"


# ---------------------------------------------------------------- tensors
def _tensors(a: Graph, info_a: ArchiveInfo, b: Graph, info_b: ArchiveInfo) -> Iterator[Difference]:
    sides = [
        {name: (constant, sections.get(name)) for name, constant in graph.constants.items()}
        for graph, sections in ((a, _sections(info_a)), (b, _sections(info_b)))
    ]
    yield from _named("tensor", *sides, _tensor)


def _sections(info: ArchiveInfo) -> dict[str, SectionInfo]:
    """By tensor; nothing for a family, where members call a tensor what they like."""
    return {} if info.members else {s.name: s for s in info.sections}


def _tensor(
    a: tuple[Constant, SectionInfo | None], b: tuple[Constant, SectionInfo | None]
) -> Iterator[str]:
    (old, old_section), (new, new_section) = a, b
    if old.data.shape != new.data.shape or old.data.dtype != new.data.dtype:
        yield f"{old.data.dtype} {old.data.shape} -> {new.data.dtype} {new.data.shape}"
    else:
        yield from _values(old, new)
    if (old.quantized, old.bits, old.axis) != (new.quantized, new.bits, new.axis):
        yield f"{_quantization(old)} -> {_quantization(new)}"
    elif old.quantized and not np.array_equal(old.scale, new.scale):
        yield f"scale {_short(old.scale)} -> {_short(new.scale)}"
    for what in ("encoding", "bytes", "nonzeros") if old_section and new_section else ():
        before, after = getattr(old_section, what), getattr(new_section, what)
        if before != after:
            yield f"{what} {before} -> {after}"


def _values(old: Constant, new: Constant) -> Iterator[str]:
    differ = old.data != new.data
    count = int(np.count_nonzero(differ))
    if count:
        x, y = (c.data[differ].astype(np.float64) for c in (old, new))
        yield f"{count} of {differ.size} elements differ, by {np.abs(x - y).max():.6g} at most"


def _quantization(constant: Constant) -> str:
    if not constant.quantized:
        return "not quantized"
    return f"quantized to {constant.bits} bits along axis {constant.axis}"


def _short(scale: np.ndarray | None) -> str:
    assert scale is not None
    return f"{float(scale):.6g}" if scale.ndim == 0 else f"of {scale.size} channels"


# ---------------------------------------------------------------- the rest
def _meta(a: dict[str, Any], b: dict[str, Any]) -> Iterator[Difference]:
    yield from _named("meta", a, b, lambda old, new: ["changed"] if old != new else [])


def _bytes(a: ArchiveInfo, b: ArchiveInfo) -> Iterator[Difference]:
    for what in ("bytes", "index", "payload", "meta"):
        before, after = getattr(a, what), getattr(b, what)
        if before != after:
            name = "in all" if what == "bytes" else f"of the {what}"
            yield Difference("bytes", name, f"{before} -> {after} ({after - before:+d})")
