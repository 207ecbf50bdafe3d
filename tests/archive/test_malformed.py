"""One test a malformation; both readers refuse it with the same words."""

import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from gluonzip import _core, archive
from gluonzip.archive import layout
from gluonzip.archive.msgpack import pack
from gluonzip.errors import ArchiveError


def test_the_archive_that_is_damaged_below_is_fine(forge, read_both):
    graph = read_both(forge.bytes())
    assert graph.constants["w"].data.tolist() == [[1, 0], [0, 2]]
    assert graph.nodes[0].attrs == {"flatten": False}


# ---------------------------------------------------------------- header
@pytest.mark.parametrize(
    ("start", "message"),
    [
        (b"", "not a gluonzip archive: the file is empty"),
        (b"PK\x03\x04rest", "it is a ZIP file"),
        (struct.pack("<QQ", 0x112, 0), "it looks like MXNet's .params"),
        (b"\x93NUMPY\x01", "it is a NumPy .npy array"),
        (b"\x89HDF\r\n\x1a\n", "it is an HDF5 file"),
        (b"\x1f\x8b\x08", "it is gzip-compressed"),
        (b'{"nodes": []}', "it looks like JSON .MXNet's -symbol.json"),
        (b"\x08\x07\x12\x04", "it looks like ONNX"),
        (b"\x89GLZ\n\x1a\n", "its line ends were rewritten by a transfer in text mode"),
        (b"what?", "it does not start with 89 47 4c 5a"),
    ],
)
def test_foreign_file(refused, start, message):
    assert re.search(message, refused(start))


def test_truncated_in_the_header(forge, refused):
    assert "truncated: 31 bytes, the header alone takes 32" in refused(forge.bytes()[:31])


def test_newer_version(forge, refused):
    forge.version = 7
    message = refused(forge.bytes())
    assert "written by format version 7, this gluonzip reads up to 1: upgrade" in message


def test_version_zero(forge, refused):
    forge.version = 0
    assert "header: there is no format version 0" in refused(forge.bytes())


def test_unknown_flags(forge, refused):
    forge.flags = 0x1F
    assert "header: flags 0x1f are not known" in refused(forge.bytes())


def test_damaged_header(forge, refused):
    data = bytearray(forge.bytes())
    data[17] ^= 1
    assert "header: the checksum does not match" in refused(bytes(data))


def test_every_truncation(forge, refused):
    data = forge.bytes()
    for size in range(32, len(data)):
        assert "archive: truncated: the " in refused(data[:size])


def test_index_longer_than_any_file(forge, refused):
    head = struct.pack("<8sIIQI", layout.MAGIC, 1, 0, 2**64 - 1, 0)
    head += struct.pack("<I", zlib.crc32(head))
    assert "truncated: the index takes 18446744073709551615 bytes, 0 are left" in refused(head)


def test_trailing_bytes(forge, refused):
    forge.after_file = b"??"
    assert "2 bytes follow the last section" in refused(forge.bytes())


# ---------------------------------------------------------------- checksums
def test_damaged_index(forge, refused):
    data = bytearray(forge.bytes())
    data[40] ^= 0x20
    assert "index: the checksum does not match" in refused(bytes(data))


def test_damaged_section_is_named(forge, refused):
    data = bytearray(forge.bytes())
    data[-1] ^= 1
    assert "tensor 'w': the checksum does not match" in refused(bytes(data))


def test_damaged_meta(forge, refused):
    forge.with_meta(b'{"a":1}')
    data = bytearray(forge.bytes())
    data[-1] ^= 1
    assert "meta: the checksum does not match" in refused(bytes(data))


# ---------------------------------------------------------------- index: edits of a sound archive
def _set(target, *path_and_value):
    *path, last, value = path_and_value
    for step in path:
        target = target[step]
    target[last] = value


BIG = 2**63
EDITS = {
    "a node without attributes": (lambda f: f.nodes[0].pop(), "a node must have 5 items, has 4"),
    "a node that is a string": (
        lambda f: _set(f.nodes, 0, "fc"),
        "index, node 0: a node must be a list, found a string",
    ),
    "an empty operator": (lambda f: _set(f.nodes, 0, 0, ""), "an operator is empty"),
    "an empty node name": (lambda f: _set(f.nodes, 0, 1, ""), "a node's name is empty"),
    "an empty output": (lambda f: _set(f.nodes, 0, 3, [""]), "node 'fc': an output is empty"),
    "no output": (lambda f: _set(f.nodes, 0, 3, []), "node 'fc' has no output"),
    "a node defined twice": (
        lambda f: f.nodes.append(["relu", "fc", ["y"], ["z"], {}]),
        "node 'fc': another node has the same name",
    ),
    "a tensor defined by two nodes": (
        lambda f: f.nodes.append(["relu", "r", ["y"], ["y"], {}]),
        "node 'r': tensor 'y' is defined twice",
    ),
    "an input twice": (
        lambda f: f.inputs.append(["x", [1], "f32"]),
        "input 'x': tensor 'x' is defined twice",
    ),
    "an input called like a tensor": (
        lambda f: f.inputs.append(["w", [1], "f32"]),
        "tensor 'w': tensor 'w' is defined twice",
    ),
    "reading an undefined tensor": (
        lambda f: _set(f.nodes, 0, 2, ["x", "v"]),
        "node 'fc' reads tensor 'v', which nothing before it defines",
    ),
    "reading a later tensor": (
        lambda f: f.nodes.insert(0, ["relu", "r", ["y"], ["z"], {}]),
        "node 'r' reads tensor 'y', which nothing before it defines",
    ),
    "reading itself": (lambda f: _set(f.nodes, 0, 2, ["y"]), "node 'fc' reads tensor 'y'"),
    "an undefined graph output": (lambda f: _set(f.outputs, 0, "z"), "output 'z' of the graph"),
    "an attribute that is nil": (
        lambda f: _set(f.nodes, 0, 4, {"axis": None}),
        "node 'fc': attribute 'axis' is of a type that attributes do not have",
    ),
    "an attribute that is binary": (
        lambda f: _set(f.nodes, 0, 4, {"axis": b"1"}),
        "attribute 'axis' is of a type that attributes do not have",
    ),
    "an attribute with a list of floats": (
        lambda f: _set(f.nodes, 0, 4, {"pad": [0, 0.5]}),
        "attribute 'pad' must be an integer, found a float",
    ),
    "an attribute with nested lists": (
        lambda f: _set(f.nodes, 0, 4, {"pad": [[0]]}),
        "attribute 'pad' must be an integer, found a list",
    ),
    "an attribute that int64 does not hold": (
        lambda f: _set(f.nodes, 0, 4, {"axis": BIG}),
        f"attribute 'axis' is {BIG}, which does not fit 64 bits with a sign",
    ),
    "an attribute list that int64 does not hold": (
        lambda f: _set(f.nodes, 0, 4, {"pad": [BIG]}),
        "which does not fit 64 bits with a sign",
    ),
    "a map attribute with an unknown string": (
        lambda f: _set(f.nodes, 0, 4, {"attrs": {"a": 5}}),
        "attribute 'attrs' is string number 5, there are 0",
    ),
    "attributes in a list": (
        lambda f: _set(f.nodes, 0, 4, [1]),
        "attributes must be a map, found a list",
    ),
    "an input of unknown dtype": (
        lambda f: _set(f.inputs, 0, 2, "f8"),
        "dtype 'f8' is not known to format version 1",
    ),
    "a negative axis length": (
        lambda f: _set(f.inputs, 0, 1, [-1]),
        "an axis is -1, must be from 0 to",
    ),
    "a name that is a float": (
        lambda f: _set(f.inputs, 0, 0, 0.5),
        "an input's name must be a name (a string or its number)",
    ),
    "a string number past the strings": (
        lambda f: _set(f.outputs, 0, 1000),
        "an output is string number 1000, there are 0",
    ),
    "a word that is not there": (
        lambda f: _set(f.outputs, 0, -1000),
        "an output is string number -1000",
    ),
    "a string number past int64": (lambda f: _set(f.outputs, 0, BIG), "does not fit 64 bits"),
    "a name that is too long": (
        lambda f: _set(f.outputs, 0, "n" * 4097),
        "a name of 4097 bytes is longer than the limit of 4096",
    ),
    "a shared length without a string": (
        lambda f: _set(f.__dict__, "strings", ["ab", 1]),
        "a shared length is not that of a string before another",
    ),
    "a shared length past the string before": (
        lambda f: _set(f.__dict__, "strings", ["ab", 3, "c"]),
        "a shared length is not that of a string before another",
    ),
    "a shared part that cuts a character": (
        lambda f: _set(f.__dict__, "strings", ["é", 1, "c"]),
        "strings: a string is not valid UTF-8",
    ),
    "strings that are floats": (
        lambda f: _set(f.__dict__, "strings", [0.5]),
        "strings must hold strings and their shared lengths",
    ),
    "too short a tensor": (lambda f: f.tensors[0].pop(), "a tensor must have 6 items or more"),
    "a tensor twice": (
        lambda f: (f.tensors.append(f.tensors[0]), f.sections.append(f.sections[0])),
        "tensor 'w': tensor 'w' is defined twice",
    ),
    "unknown dtype": (lambda f: _set(f.tensors, 0, 2, "f64"), "tensor 'w': dtype 'f64' is not"),
    "unknown encoding": (
        lambda f: _set(f.tensors, 0, 5, "lzma"),
        "tensor 'w': coding 'lzma' is not known to format version 1 here",
    ),
    "items behind the encoding": (
        lambda f: f.tensors[0].append(1),
        "1 items follow the encoding",
    ),
    "a shape that does not fit the section": (
        lambda f: _set(f.tensors, 0, 1, [2, 3]),
        "tensor 'w': the section has 16 bytes, its encoding needs 24",
    ),
    "too many axes": (
        lambda f: _set(f.tensors, 0, 1, [1] * 33),
        "a shape of 33 axes is past the limit of 32",
    ),
    "too many elements": (
        lambda f: _set(f.tensors, 0, 1, [2**16, 2**16]),
        "shape has more elements than the limit of 2147483648",
    ),
    "a product of axes that overflows": (
        lambda f: _set(f.tensors, 0, 1, [2**31] * 32),
        "shape has more elements than the limit",
    ),
    "a negative section length": (
        lambda f: _set(f.tensors, 0, 3, -1),
        "the section's length is -1, must be from 0",
    ),
    "a huge section length": (
        lambda f: _set(f.tensors, 0, 3, 2**64 - 1),
        "the section's length is 18446744073709551615, must be from 0",
    ),
    "a checksum of 33 bits": (
        lambda f: _set(f.tensors, 0, 4, 2**32),
        "the section's checksum is 4294967296",
    ),
    "meta that is a string": (
        lambda f: _set(f.__dict__, "meta", "{}"),
        "meta must be nil or a list of 3 items",
    ),
    "meta past the limit": (
        lambda f: _set(f.__dict__, "meta", [0, 2**26 + 1, 0]),
        "the decompressed size is 67108865, must be from 0 to 67108864",
    ),
    "bytes after the index": (
        lambda f: _set(f.__dict__, "after_index", b"\0\0\0"),
        "3 bytes follow the end of the index",
    ),
}


@pytest.mark.parametrize("what", EDITS)
def test_index_with(what, forge, refused):
    edit, message = EDITS[what]
    edit(forge)
    assert message in refused(forge.bytes())


@pytest.mark.parametrize(
    "text", [b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82"]
)
def test_names_that_are_not_utf8(text, forge, refused):
    forge.outputs = ["?" * len(text)]
    index = forge.index().replace(b"?" * len(text), text)
    assert "index, graph: a string is not valid UTF-8" in refused(forge.seal(index))


def test_an_attribute_twice(forge, refused):
    one = pack({"flatten": False})
    index = forge.index().replace(one, b"\x82" + one[1:] * 2)
    assert "node 'fc': attribute 'flatten' is there twice" in refused(forge.seal(index))


@pytest.mark.parametrize("byte", [0xC1, 0xC7, 0xD4])
def test_messagepack_types_that_are_not_used(byte, forge, refused):
    assert f"index: byte {byte:#04x} is no MessagePack type" in refused(forge.seal(bytes([byte])))


def test_a_list_longer_than_the_index(forge, refused):
    index = b"\x94\xdd\xff\xff\xff\xff"
    message = refused(forge.seal(index))
    assert "strings: a list or map of 4294967295 items runs past the end" in message


def test_deep_nesting_is_no_recursion(forge, refused):
    assert "the index must have 4 items, or 5 for a family, has 1" in refused(
        forge.seal(b"\x91" * 1_000_000)
    )


def test_names_that_multiply(forge, refused):
    """One long string, used often: memory would grow 4,096 times."""
    forge.strings = ["n" * 4096]
    forge.nodes = [["concat", "c", [0] * 70_000, ["y"], {}]]
    message = refused(forge.bytes())
    assert "node 'c': names take more than 268435456 bytes" in message


# ---------------------------------------------------------------- quantized tensors
@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ([8, 0], "a quantized tensor's type must have 3 items, has 2"),
        ([9, 0, 1.0], "bits is 9, must be from 1 to 8"),
        ([0, 0, 1.0], "bits is 0, must be from 1 to 8"),
        ([1, 0, 1.0], "a binary code is stored as neither 0 nor -1"),
        ([8, 1, 1.0], "axis is 1, must be from 0 to 0"),
        ([8, 0, 1], "scale must be a float, or binary"),
        ([8, 0, float("inf")], "scale is not finite"),
        ([8, 0, float("nan")], "scale is not finite"),
        ([8, 0, 1e300], "scale is not finite"),
        ([8, 0, b"\0" * 8], "scale takes 8 bytes, which is not 4 for each index of axis 0"),
        ([8, 0, b"\0" * 17], "scale takes 17 bytes, which is not 4 for each index of axis 0"),
        ([8, 0, b"\0" * 32], "scale takes 32 bytes, which is not 4 for each index of axis 0"),
        ([8, 0, struct.pack("<4f", 1, 1, np.inf, 1)], "scale is not finite"),
        ([4, 0, 1.0], "a code is outside [-7, 7]"),
    ],
)
def test_quantized(kind, message, forge, refused):
    forge.tensor([4], kind, bytes([1, 2, 3, 8]), "raw")
    assert f"tensor 'w': {message}" in refused(forge.bytes())


def test_minus_128_is_no_code(forge, refused):
    forge.tensor([2], [8, 0, 1.0], b"\x01\x80", "raw")
    assert "tensor 'w': a code is outside [-127, 127]" in refused(forge.bytes())


# ---------------------------------------------------------------- sections
@pytest.mark.parametrize(
    ("encoding", "section", "message"),
    [
        (["packed", 9], b"\0" * 9, "bits of a value is 9, must be from 1 to 8"),
        (["packed", 0], b"", "bits of a value is 0, must be from 1 to 8"),
        (["packed"], b"", "bits of a value is missing"),
        (["packed", 3], b"\0\0\xf0", "the section has 3 bytes, its encoding needs 4"),
        (["packed", 3], b"\0\0\0\x80", "padding bits at the end are not zero"),
        (["bitmap"], b"", "non-zeros is missing"),
        (["bitmap", 1], b"", "a coding is missing"),
        (["bitmap", 11, "raw"], b"", "non-zeros is 11, must be from 0 to 10"),
        (["bitmap", 1, "raw"], b"\x03\0\5", "the bitmap marks 2 values, the index says 1"),
        (["bitmap", 1, "raw"], b"\0\x08\5", "padding bits at the end are not zero"),
        (["gap", 11, 1, "packed", 4, "raw"], b"", "gap symbols is 11, must be from 0 to 10"),
        (["gap", 1, 2, "packed", 4, "raw"], b"", "non-zeros is 2, must be from 0 to 1"),
        (["gap", 1, 1, "packed", 17, "raw"], b"", "bits of a value is 17, must be from 1 to 16"),
        (["gap", 1, 1, "raw", "raw"], b"", "coding 'raw' is not known to format version 1 here"),
        (["gap", 1, 1, "packed", 4, "raw"], b"\x0a\5", "the gaps run past the tensor's 10"),
        (["gap", 2, 1, "packed", 4, "raw"], b"\x0f\5", "the gaps run past the tensor's 10"),
        (["gap", 1, 0, "packed", 4, "raw"], b"\x01", "the gaps place 1 values, the index says 0"),
        (["gap", 2, 2, "packed", 2, "raw"], b"\x03\1\1", "the gaps place 1 values, the index"),
        (["gap", 1, 1, "packed", 4, "raw"], b"\x11\5", "padding bits at the end are not zero"),
        (["codebook", 1, "packed", 1], b"", "coding 'codebook' is for floats"),
        (["fixed", 1, "packed", 1], b"", "coding 'fixed' is for f32"),
        (["rans", 9, 0], b"", "bits of a value is 9, must be from 1 to 8"),
        (["rans", 8], b"", "length of a stream is missing"),
        (["rans", 8, 2**33 + 1], b"", "length of a stream is 8589934593, must be from 0 to"),
        (["rans", 8, 4], b"\0\0\0", "the section has 3 bytes, its encoding needs 4"),
    ],
)  # fmt: skip
def test_section(encoding, section, message, forge, refused):
    forge.tensor([10], "s8", section, *encoding)
    assert f"tensor 'w': {message}" in refused(forge.bytes())


@pytest.mark.parametrize(
    ("encoding", "section", "message"),
    [
        (["rans", 8, 0], b"", "coding 'rans' is for integers, the tensor holds floats"),
        (["packed", 33], b"", "bits of a value is 33, must be from 1 to 32"),
        (["codebook", 0, "packed", 1], b"", "entries of a codebook is 0, must be from 1 to 256"),
        (["codebook", 257, "packed", 1], b"", "entries of a codebook is 257, must be from 1"),
        (["fixed", 97, "packed", 1], b"", "exponent is 97, must be from -149 to 96"),
        (["fixed", 0, "packed", 33], b"", "bits of a value is 33, must be from 1 to 32"),
        (["fixed", 0, "raw"], b"", "coding 'raw' is not known to format version 1 here"),
        (["codebook", 1, "raw"], b"", "coding 'raw' is not known to format version 1 here"),
        (["codebook", 1, "codebook", 1], b"", "coding 'codebook' is not known to format version"),
        (["codebook", 1, "packed", 9], b"", "bits of a value is 9, must be from 1 to 8"),
        (["codebook", 3, "packed", 2], b"\0" * 12 + b"\xc0\0", "an index is past the 3 entries"),
    ],
)
def test_section_of_floats(encoding, section, message, forge, refused):
    forge.tensor([8], "f32", section, *encoding)
    assert f"tensor 'w': {message}" in refused(forge.bytes())


# One-bit symbols: level 49 for 0 (gamma code 98), level 0 for 1 (gamma code 99).
TABLE = sum(1 << bit for bit in (6, 8, 12, 19, 20, 21, 25)).to_bytes(4, "little")
STATE = (1 << 16).to_bytes(4, "little")


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        (b"", "the table of probabilities is cut short"),
        (b"\0" * 9, "the table of probabilities is malformed"),
        (b"\x03", "the table of probabilities has no symbol"),
        (b"\x06" + STATE, "the table of probabilities is malformed"),
        (b"\xff", "padding bits at the end are not zero"),
        (TABLE, "the coded values are cut short"),
        (TABLE + b"\xff\xff\0\0", "the coded values start with an impossible state"),
        (TABLE + b"\0\0\2\0", "the coded values do not end where they should"),
        (TABLE + STATE + b"??", "the coded values do not end where they should"),
        (TABLE + STATE + b"?", "the coded values do not end where they should"),
    ],
)
def test_entropy_coded(stream, message, forge, refused):
    forge.tensor([8], "s8", stream, "rans", 1, len(stream))
    assert f"tensor 'w': {message}" in refused(forge.bytes())


def test_entropy_coded_table_of_one_symbol(forge, read_both):
    """The table used above is sound: eight zeros in no bits at all."""
    forge.tensor([8], "s8", TABLE + STATE, "rans", 1, 8)
    assert read_both(forge.bytes()).constants["w"].data.tolist() == [0] * 8


def test_entropy_coded_values_of_an_empty_tensor(forge, read_both, refused):
    forge.tensor([0], "s8", b"", "rans", 1, 0)
    assert read_both(forge.bytes()).constants["w"].data.size == 0
    forge.tensor([0], "s8", TABLE + STATE, "rans", 1, 8)
    assert "the coded values do not end where they should" in refused(forge.bytes())


def test_fixed_point_reads_alike(forge, read_both):
    """Integers that float32 rounds, at both ends of its range."""
    integers = np.array([2**31 - 1, -(2**31), 2**24 + 1, -3], "<i4")
    for exponent in (96, -149, -140, 0):
        forge.tensor([4], "f32", integers.tobytes(), "fixed", exponent, "packed", 32)
        data = read_both(forge.bytes()).constants["w"].data
        assert np.array_equal(data, np.ldexp(integers.astype(float), exponent).astype("f4"))


def test_decompression_bomb(forge, refused):
    """Two gigabytes of zeros from an empty section."""
    forge.tensor([2**29], "f32", b"", "gap", 0, 0, "packed", 8, "raw")
    assert "the tensors would take 2147483648 bytes of memory, the limit" in refused(forge.bytes())


# ---------------------------------------------------------------- meta: the C++ reader skips it
@pytest.mark.parametrize(
    ("text", "size", "message"),
    [
        (b"{}", 3, "does not decompress to the 3 bytes"),
        (b'{"a": 1}', 3, "does not decompress to the 3 bytes"),
        (b"[]", None, "is not a JSON object"),
        (b"{", None, "is not JSON"),
        (b'{"a":' + b"[" * 100_000, None, "is not JSON"),
        (b'{"\xff": 1}', None, "is not JSON"),
        (b"0" * 10_000_000, 5, "does not decompress to the 5 bytes"),
    ],
)
def test_meta(text, size, message, forge):
    forge.with_meta(text, size)
    data = forge.bytes()
    with pytest.raises(ArchiveError, match=f"archive: meta: {message}"):
        archive.read(data)
    assert _core.read_archive(data)["name"] == "g"


def test_meta_that_is_not_deflate(forge):
    forge.meta = [3, 5, zlib.crc32(b"\xff\xff\xff")]
    forge.sections.append(b"\xff\xff\xff")
    with pytest.raises(ArchiveError, match="meta: cannot be decompressed"):
        archive.read(forge.bytes())


# ---------------------------------------------------------------- files
def test_missing_file(tmp_path):
    path = tmp_path / "no.glz"
    for reader in (archive.read, archive.inspect, lambda p: _core.read_archive_file(str(p))):
        with pytest.raises(ArchiveError, match=r"no\.glz: cannot be read: No such file"):
            reader(path)


def test_a_folder_is_no_archive(tmp_path):
    for reader in (archive.read, lambda p: _core.read_archive_file(str(p))):
        with pytest.raises(ArchiveError, match="cannot be read: Is a directory"):
            reader(tmp_path)


def test_messages_name_the_file(tmp_path, forge):
    path = tmp_path / "half.glz"
    path.write_bytes(forge.bytes()[:40])
    for reader in (archive.read, lambda p: _core.read_archive_file(str(p))):
        with pytest.raises(ArchiveError, match=r"half\.glz: truncated"):
            reader(path)


# ---------------------------------------------------------------- the two readers' tables
def test_both_readers_have_the_same_words_and_limits():
    for name, value in _core.archive_layout().items():
        assert getattr(layout, name) == value, name


def test_the_document_lists_the_words():
    text = (Path(__file__).parents[2] / "docs" / "format.md").read_text()
    words = text.split("**Words**:")[1].strip().rstrip(".").split()
    assert words == layout.WORDS
