"""The index: what the file holds and where. One MessagePack array, described in docs/format.md."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import takewhile
from typing import Any

import numpy as np

from gluonzip.archive import layout, rans
from gluonzip.archive.codings import MAX_ENTRIES, MAX_EXPONENT, MIN_EXPONENT, RAW, Coding
from gluonzip.archive.encodings import Encoding
from gluonzip.archive.layout import DTYPES, MAX_STREAM_BYTES, NAME_OF_DTYPE, WORDS
from gluonzip.archive.msgpack import Cursor, pack
from gluonzip.errors import ArchiveError
from gluonzip.graph.ir import Graph, Input, Node
from gluonzip.graph.ops import OPS
from gluonzip.graph.scales import fits


@dataclass(frozen=True)
class TensorEntry:
    """A tensor's line of the index. ``scale`` is None unless quantized (then dtype is int8)."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    encoding: Encoding
    length: int
    crc: int
    scale: np.ndarray | None = None
    axis: int = 0
    bits: int = 8

    @property
    def elements(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True)
class MetaEntry:
    """The compressed JSON behind the tensors: ``size`` bytes when decompressed."""

    length: int
    size: int
    crc: int


@dataclass
class Member:
    """A network of a family: ``uses`` says which tensors (by number), and what it calls them."""

    name: str
    uses: list[tuple[int, str]] = field(default_factory=list)


@dataclass
class Index:
    """``graphs`` have everything but their constants' data, which ``tensors`` describe.

    ``members``: of a family, one for each graph; None for a network alone, which has every tensor
    under the tensor's own name.
    """

    graphs: list[Graph]
    tensors: list[TensorEntry] = field(default_factory=list)
    meta: MetaEntry | None = None
    members: list[Member] | None = None


# ---------------------------------------------------------------- write
def pack_index(index: Index) -> bytes:
    """The index as bytes, the same for the same index."""
    strings = sorted(set(_names(index)) - set(WORDS))
    ids = {word: -1 - i for i, word in enumerate(WORDS)}
    ids.update({name: i for i, name in enumerate(strings)})
    graphs: list[Any] = [_graph(graph, ids) for graph in index.graphs]
    tensors = [_tensor(entry, ids) for entry in index.tensors]
    meta = index.meta and [index.meta.length, index.meta.size, index.meta.crc]
    if index.members is None:
        return pack([_front_coded(strings), graphs[0], tensors, meta])
    members = [_member(member, ids) for member in index.members]
    return pack([_front_coded(strings), graphs, tensors, meta, members])


def _graph(graph: Graph, ids: dict[str, int]) -> list[Any]:
    return [
        ids[graph.name],
        [[ids[i.name], list(i.shape), ids[_dtype_name(i)]] for i in graph.inputs],
        [ids[name] for name in graph.outputs],
        [_node(node, ids) for node in graph.nodes],
    ]


def _member(member: Member, ids: dict[str, int]) -> list[int]:
    uses = [item for number, name in member.uses for item in (number, ids[name])]
    return [ids[member.name], *uses]


def _names(index: Index) -> Iterator[str]:
    for graph in index.graphs:
        yield from _names_of(graph)
    for entry in index.tensors:
        yield entry.name
    for member in index.members or ():
        yield member.name
        yield from (name for _, name in member.uses)


def _names_of(graph: Graph) -> Iterator[str]:
    yield graph.name
    yield from graph.outputs
    for entry in graph.inputs:
        yield entry.name
    for node in graph.nodes:
        yield from (node.op, node.name, *node.inputs, *node.outputs)
        for key, value in _stored_attrs(node).items():
            yield key
            if isinstance(value, dict):
                yield from (*value.keys(), *value.values())


def _front_coded(strings: list[str]) -> list[int | str]:
    """Sorted strings, each without the bytes that it shares with the one before."""
    out: list[int | str] = []
    before = ""
    for string in strings:
        same = (a == b for a, b in zip(before, string, strict=False))
        shared = sum(takewhile(bool, same))
        size = len(string[:shared].encode())
        if size > len(pack(size)):
            out += [size, string[shared:]]
        else:
            out.append(string)
        before = string
    return out


def _dtype_name(entry: Input) -> str:
    name = NAME_OF_DTYPE.get(np.dtype(entry.dtype))
    if name is None:
        raise ArchiveError(
            f"input {entry.name!r}: dtype {entry.dtype} has no place in an archive; "
            f"use one of {[str(d) for d in DTYPES.values()]}"
        )
    return name


def _node(node: Node, ids: dict[str, int]) -> list[Any]:
    attrs = {
        ids[key]: {ids[k]: ids[v] for k, v in value.items()} if isinstance(value, dict) else value
        for key, value in _stored_attrs(node).items()
    }
    inputs = [ids[name] for name in node.inputs]
    return [ids[node.op], ids[node.name], inputs, [ids[name] for name in node.outputs], attrs]


_SCALES = ("scale", "out_scale")


def _stored_attrs(node: Node) -> dict[str, Any]:
    """Attributes that differ from the op table's defaults, as plain Python values.

    Scales count as float32 (see the op table), so four bytes are enough.
    """
    defaults = OPS[node.op].attrs if node.op in OPS else {}
    out = {}
    for key, value in node.attrs.items():
        plain = _plain(np.float32(value) if key in _SCALES and value is not None else value)
        default = _plain(defaults.get(key))
        if (
            key in defaults
            and plain == default
            and isinstance(plain, bool) == isinstance(default, bool)
        ):
            continue
        if not _storable(plain):
            raise ArchiveError(
                f"node {node.name!r}: attribute {key!r} is {value!r}; an archive holds integers, "
                "floats, booleans, strings, lists of integers and maps of strings"
            )
        out[key] = plain
    return out


def _plain(value: Any) -> Any:
    if isinstance(value, (np.generic, np.ndarray)):
        value = value.tolist()
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return value


def _storable(value: Any) -> bool:
    if isinstance(value, int):
        return -(2**63) <= value < 2**63
    if isinstance(value, list):
        return all(isinstance(i, int) and not isinstance(i, bool) and _storable(i) for i in value)
    if isinstance(value, dict):
        return all(isinstance(text, str) for pair in value.items() for text in pair)
    return isinstance(value, (float, str))


def _tensor(entry: TensorEntry, ids: dict[str, int]) -> list[Any]:
    kind: Any = ids[NAME_OF_DTYPE[entry.dtype]]
    if entry.scale is not None:
        scale = entry.scale.astype("<f4")
        kind = [entry.bits, entry.axis, float(scale) if scale.ndim == 0 else scale.tobytes()]
    encoding = [ids[w] if isinstance(w, str) else w for w in entry.encoding.words()]
    return [ids[entry.name], list(entry.shape), kind, entry.length, entry.crc, *encoding]


# ---------------------------------------------------------------- read
def unpack_index(data: bytes) -> Index:
    """The index in ``data``. ArchiveError says what is wrong, and where."""
    return _IndexReader(data).read()


class _IndexReader(Cursor):
    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.strings: list[str] = []
        self.text_left = layout.MAX_TEXT_BYTES
        self.items_left = 0

    def read(self) -> Index:
        items = self.array("the index")
        if items not in (4, 5):
            raise self.fail(f"the index must have 4 items, or 5 for a family, has {items}")
        self.where = "index, strings"
        self._read_strings()
        self.where = "index, graph"
        count = 1 if items == 4 else self._many("members", layout.MAX_MEMBERS)
        graphs = [self._graph() for _ in range(count)]
        self.where = "index, tensors"
        count = self._many("tensors", layout.MAX_TENSORS)
        tensors = [self._tensor(i) for i in range(count)]
        self.where = "index, meta"
        meta = self._meta()
        members = self._members(len(graphs), len(tensors)) if items == 5 else None
        if self.left():
            raise self.fail(f"{self.left()} bytes follow the end of the index")
        return Index(graphs, tensors, meta, members)

    # ------------------------------------------------------------ names
    def _read_strings(self) -> None:
        items = self.array("strings")
        before = b""
        while items:
            items -= 1
            kind, value = self.token()
            shared = 0
            if kind == "int":
                if not 0 <= value <= len(before) or not items:
                    raise self.fail("a shared length is not that of a string before another")
                items -= 1
                shared, value = value, self.expect("str", "a string")
            elif kind != "str":
                raise self.fail("strings must hold strings and their shared lengths")
            before = before[:shared] + value.encode()
            self.strings.append(self._charge(before))

    def _charge(self, text: bytes) -> str:
        """``text`` as a name, counted against the limits."""
        if len(text) > layout.MAX_NAME_BYTES:
            raise self.fail(
                f"a name of {len(text)} bytes is longer than the limit of {layout.MAX_NAME_BYTES}"
            )
        self.text_left -= len(text)
        if self.text_left < 0:
            raise self.fail(f"names take more than {layout.MAX_TEXT_BYTES} bytes")
        try:
            return text.decode()
        except UnicodeDecodeError:
            raise self.fail("a string is not valid UTF-8") from None

    def _resolve(self, kind: str, value: Any, what: str) -> str:
        if kind == "str":
            return self._charge(value.encode())
        if kind != "int":
            raise self.fail(f"{what} must be a name (a string or its number)")
        value = self._int64(value, what)
        if -len(WORDS) <= value < 0:
            return self._charge(WORDS[-1 - value].encode())
        if not 0 <= value < len(self.strings):
            raise self.fail(f"{what} is string number {value}, there are {len(self.strings)}")
        return self._charge(self.strings[value].encode())

    def _name(self, what: str, empty: bool = False) -> str:
        name = self._resolve(*self.token(), what)
        if not name and not empty:
            raise self.fail(f"{what} is empty")
        return name

    def _many(self, what: str, limit: int) -> int:
        count = self.array(what)
        if count > limit:
            raise self.fail(f"{count} {what} are more than the limit of {limit}")
        return count

    # ------------------------------------------------------------ graph
    def _graph(self) -> Graph:
        self.array("the graph", 4)
        name = self._name("the graph's name", empty=True)
        inputs = [self._input() for _ in range(self.array("inputs"))]
        outputs = [self._name("an output") for _ in range(self.array("outputs"))]
        count = self._many("nodes", layout.MAX_NODES)
        nodes = [self._node(i) for i in range(count)]
        return Graph(inputs, outputs, nodes, {}, name)

    def _input(self) -> Input:
        self.array("an input", 3)
        name = self._name("an input's name")
        return Input(name, self._shape(), self._dtype().name)

    def _shape(self) -> tuple[int, ...]:
        axes = self.array("a shape")
        if axes > layout.MAX_AXES:
            raise self.fail(f"a shape of {axes} axes is past the limit of {layout.MAX_AXES}")
        return tuple(self.integer("an axis", 0, layout.MAX_ELEMENTS) for _ in range(axes))

    def _dtype(self) -> np.dtype:
        return self._dtype_called(self._name("a dtype"))

    def _dtype_called(self, name: str) -> np.dtype:
        if name not in DTYPES:
            raise self.fail(f"dtype {name!r} is not known to format version {layout.VERSION}")
        return DTYPES[name]

    def _node(self, number: int) -> Node:
        self.where = f"index, node {number}"
        self.array("a node", 5)
        op = self._name("an operator")
        name = self._name("a node's name")
        self.where = f"index, node {name!r}"
        inputs = [self._name("an input", empty=True) for _ in range(self.array("inputs"))]
        outputs = [self._name("an output") for _ in range(self.array("outputs"))]
        attrs: dict[str, Any] = {}
        for _ in range(self.expect("map", "attributes")):
            key = self._name("an attribute's name")
            if key in attrs:
                raise self.fail(f"attribute {key!r} is there twice")
            attrs[key] = self._attribute(key)
        return Node(op, name, inputs, outputs, attrs)

    def _attribute(self, key: str) -> Any:
        """A value. Its strings are never numbers of strings, except in a map."""
        what = f"attribute {key!r}"
        kind, value = self.token()
        if kind in ("bool", "float"):
            return value
        if kind == "int":
            return self._int64(value, what)
        if kind == "str":
            return self._charge(value.encode())
        if kind == "array":
            return [self._int64(self.expect("int", what), what) for _ in range(value)]
        if kind == "map":
            return self._string_map(value, what)
        raise self.fail(f"{what} is of a type that attributes do not have")

    def _int64(self, value: int, what: str) -> int:
        if value >= 2**63:
            raise self.fail(f"{what} is {value}, which does not fit 64 bits with a sign")
        return value

    def _string_map(self, count: int, what: str) -> dict[str, str]:
        out: dict[str, str] = {}
        for _ in range(count):
            key = self._name(what, empty=True)
            if key in out:
                raise self.fail(f"{what} has {key!r} twice")
            out[key] = self._name(what, empty=True)
        return out

    # ------------------------------------------------------------ tensors
    def _tensor(self, number: int) -> TensorEntry:
        self.where = f"index, tensor {number}"
        items = self.array("a tensor")
        if items < 6:
            raise self.fail(f"a tensor must have 6 items or more, has {items}")
        name = self._name("a tensor's name")
        self.where = f"index, tensor {name!r}"
        shape = self._shape()
        elements = math.prod(shape)
        if elements > layout.MAX_ELEMENTS:
            raise self.fail(f"shape has more elements than the limit of {layout.MAX_ELEMENTS}")
        dtype, scale, axis, bits = self._type(shape)
        length = self.integer("the section's length", 0, 2**63 - 1)
        crc = self.integer("the section's checksum", 0, 2**32 - 1)
        self.items_left = items - 5
        encoding = self._encoding(dtype, elements)
        if self.items_left:
            raise self.fail(f"{self.items_left} items follow the encoding")
        expected = sum(encoding.parts(elements, dtype.itemsize))
        if length != expected:
            raise self.fail(f"the section has {length} bytes, its encoding needs {expected}")
        return TensorEntry(name, shape, dtype, encoding, length, crc, scale, axis, bits)

    def _type(self, shape: tuple[int, ...]) -> tuple[np.dtype, np.ndarray | None, int, int]:
        kind, value = self.token()
        if kind != "array":
            return self._dtype_called(self._resolve(kind, value, "a dtype")), None, 0, 8
        if value != 3:
            raise self.fail(f"a quantized tensor's type must have 3 items, has {value}")
        bits = self.integer("bits", 1, 8)
        axis = self.integer("axis", 0, max(len(shape), 1) - 1)
        return DTYPES["s8"], self._scale(shape, axis), axis, bits

    def _scale(self, shape: tuple[int, ...], axis: int) -> np.ndarray:
        kind, value = self.token()
        if kind == "float":
            with np.errstate(over="ignore"):
                scale = np.float32(value).reshape(())
        elif kind == "bin":
            scale = np.frombuffer(value, "<f4", len(value) // 4).copy()
            channels = shape[axis] if shape else 0
            groups = scale.size // channels if channels else 0
            grouped = (channels, groups) if groups > 1 else (channels,)
            if not shape or len(value) != 4 * math.prod(grouped) or not fits(grouped, shape, axis):
                raise self.fail(
                    f"scale takes {len(value)} bytes, which is not 4 for each index of axis {axis} "
                    "or for each of its groups"
                )
            scale = scale.reshape(grouped)
        else:
            raise self.fail("scale must be a float, or binary with a float32 for each channel")
        if not np.isfinite(scale).all():
            raise self.fail("scale is not finite")
        return scale

    def _encoding(self, dtype: np.dtype, elements: int) -> Encoding:
        """The encoding, from the items that are left of a tensor's entry."""
        kind = self._word("an encoding")
        if kind == "bitmap":
            nonzeros = self._parameter("non-zeros", 0, elements)
            return Encoding("bitmap", self._coding(self._word("a coding"), dtype), nonzeros)
        if kind == "gap":
            symbols = self._parameter("gap symbols", 0, elements)
            nonzeros = self._parameter("non-zeros", 0, symbols)
            gaps = self._integer_coding(layout.MAX_GAP_BITS)
            values = self._coding(self._word("a coding"), dtype)
            return Encoding("gap", values, nonzeros, symbols, gaps)
        return Encoding("dense", self._coding(kind, dtype))

    def _coding(self, kind: str, dtype: np.dtype) -> Coding:
        if kind == "raw":
            return RAW
        floats = dtype.kind == "f"
        if kind == "codebook":
            if not floats:
                raise self.fail("coding 'codebook' is for floats, the tensor holds integers")
            entries = self._parameter("entries of a codebook", 1, MAX_ENTRIES)
            return replace(self._integer_coding(rans.MAX_BITS), entries=entries)
        if kind == "fixed":
            if dtype != DTYPES["f32"]:
                raise self.fail("coding 'fixed' is for f32")
            exponent = self._parameter("exponent", MIN_EXPONENT, MAX_EXPONENT)
            return replace(self._integer_coding(32), exponent=exponent)
        if kind == "rans" and floats:
            raise self.fail("coding 'rans' is for integers, the tensor holds floats")
        return self._integer_coding(8 * dtype.itemsize, kind)

    def _integer_coding(self, widest: int, kind: str | None = None) -> Coding:
        """packed with up to ``widest`` bits, or rans."""
        kind = self._word("a coding") if kind is None else kind
        if kind == "packed":
            return Coding("packed", self._parameter("bits of a value", 1, widest))
        if kind != "rans":
            raise self.fail(f"coding {kind!r} is not known to format version 1 here")
        bits = self._parameter("bits of a value", 1, rans.MAX_BITS)
        return Coding("rans", bits, self._parameter("length of a stream", 0, MAX_STREAM_BYTES))

    def _word(self, what: str) -> str:
        self._take_item(what)
        return self._name(what)

    def _parameter(self, what: str, low: int, high: int) -> int:
        self._take_item(what)
        return self.integer(what, low, high)

    def _take_item(self, what: str) -> None:
        if self.items_left < 1:
            raise self.fail(f"{what} is missing")
        self.items_left -= 1

    # ------------------------------------------------------------ members
    def _members(self, graphs: int, tensors: int) -> list[Member]:
        self.where = "index, members"
        count = self.array("members")
        if count != graphs:
            raise self.fail(f"there are {count} members but {graphs} graphs")
        members: dict[str, Member] = {}
        for _ in range(count):
            items = self.array("a member")
            if items % 2 == 0:
                raise self.fail("a member must be a name, then pairs of a tensor and its name")
            member = Member(self._name("a member's name"))
            if member.name in members:
                raise self.fail(f"member {member.name!r} is there twice")
            for _ in range(items // 2):
                number = self.integer("a tensor's number", 0, max(tensors, 1) - 1)
                if not tensors:
                    raise self.fail("there is no tensor to use")
                member.uses.append((number, self._name("a tensor's name")))
            members[member.name] = member
        return list(members.values())

    # ------------------------------------------------------------ meta
    def _meta(self) -> MetaEntry | None:
        kind, count = self.token()
        if kind == "nil":
            return None
        if kind != "array" or count != 3:
            raise self.fail("meta must be nil or a list of 3 items")
        length = self.integer("the section's length", 0, 2 * layout.MAX_META_BYTES)
        size = self.integer("the decompressed size", 0, layout.MAX_META_BYTES)
        return MetaEntry(length, size, self.integer("the section's checksum", 0, 2**32 - 1))
