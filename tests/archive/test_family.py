"""Several networks in one archive: what is common is there once, and each reads back as it was."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gluonzip import archive
from gluonzip.errors import ConfigError, GraphError
from gluonzip.graph.ir import Constant, Graph, Input, Node
from gluonzip.runtime import Engine


def network(body: np.ndarray, head: np.ndarray, name: str = "net", **meta) -> Graph:
    nodes = [
        Node("dense", "body", ["x", "body.weight"], ["h"]),
        Node("dense", "head", ["h", "head.weight"], ["y"]),
    ]
    weights = {"body.weight": Constant(body), "head.weight": Constant(head)}
    return Graph([Input("x", (0, body.shape[1]))], ["y"], nodes, weights, name, meta)


RANDOM = np.random.default_rng(6)
BODY = RANDOM.standard_normal((64, 32)).astype(np.float32)
HEADS = [RANDOM.standard_normal((n, 64)).astype(np.float32) for n in (3, 5)]


def family() -> dict[str, Graph]:
    return {
        "digits": network(BODY, HEADS[0], recipe="a"),
        "letters": network(BODY.copy(), HEADS[1]),
    }


def test_what_is_common_is_stored_once(tmp_path):
    info = archive.write_family(tmp_path / "f.glz", family())
    alone = [len(archive.to_bytes(graph)) for graph in family().values()]
    assert info.bytes < sum(alone) - BODY.nbytes + 200
    assert info.members == ("digits", "letters")
    used = {s.name: s.members for s in info.sections if s.shape == (64, 32)}
    assert used == {"body.weight": ("digits", "letters")}
    assert archive.inspect(tmp_path / "f.glz") == info
    parts = info.header + info.index + info.payload + info.meta
    assert info.bytes == parts == (tmp_path / "f.glz").stat().st_size


def test_members_read_back_with_their_own_meta(read_both):
    data = archive.family_to_bytes(family())
    assert archive.members(data) == ("digits", "letters")
    for name, graph in family().items():
        back = read_both(data, name)
        assert back.meta == graph.meta
        for key, constant in graph.constants.items():
            np.testing.assert_array_equal(back.constants[key].data, constant.data)
    both = archive.read_family(data)
    shared = [graph.constants["body.weight"].data for graph in both.values()]
    assert shared[0] is shared[1]


def test_the_engine_runs_each_member(tmp_path):
    path = tmp_path / "f.glz"
    archive.write_family(path, family())
    x = RANDOM.standard_normal((4, 32)).astype(np.float32)
    for name, head in zip(family(), HEADS, strict=True):
        engine = Engine.load(path, threads=1, member=name)
        np.testing.assert_allclose(engine(x), x @ BODY.T @ head.T, rtol=1e-4, atol=1e-4)
    with pytest.raises(ConfigError, match=r"f.glz: holds a family of networks; say which member: "
                       r"'digits', 'letters'"):  # fmt: skip
        Engine.load(path)


def test_the_same_networks_give_the_same_bytes():
    assert archive.family_to_bytes(family()) == archive.family_to_bytes(family())
    back = archive.read_family(archive.family_to_bytes(family()))
    assert archive.family_to_bytes(back) == archive.family_to_bytes(family())


def test_values_that_differ_in_sign_of_zero_only_are_not_common(read_both):
    zeros = np.zeros((4, 32), np.float32)
    node = Node("add", "a", ["x", "c"], ["y"])
    graphs = {
        name: Graph([Input("x", (4, 32))], ["y"], [node], {"c": Constant(value)})
        for name, value in (("a", zeros), ("b", -zeros))
    }
    back = read_both(archive.family_to_bytes(graphs), "b")
    assert np.signbit(back.constants["c"].data).all()


def test_quantized_tensors_are_common_only_with_their_scale():
    codes = np.ones((8, 8), np.int8)
    graphs = {}
    for name, scale in (("a", 0.5), ("b", 0.25), ("c", 0.5)):
        graphs[name] = network(BODY[:8, :8], HEADS[0][:, :8])
        graphs[name].constants["body.weight"] = Constant(codes, np.float32(scale))
    info = archive.inspect(archive.family_to_bytes(graphs))
    assert [s.members for s in info.sections if s.quantized] == [("a", "c"), ("b",)]


@given(st.lists(st.integers(0, 3), min_size=1, max_size=6), st.integers(0, 2**32 - 1))
@settings(derandomize=True, deadline=None, max_examples=30)
def test_any_family(read_both, choices, seed):
    """Members that take their weights from a few arrays, in any combination."""
    random = np.random.default_rng(seed)
    pool = [np.rint(random.standard_normal((5, 4)) * 3).astype(np.float32) + 0 for _ in range(4)]
    graphs = {
        f"m{i}": network(pool[choice], pool[(choice + i) % 4][:3].repeat(2, 1)[:, :5])
        for i, choice in enumerate(choices)
    }
    data = archive.family_to_bytes(graphs)
    for name, graph in graphs.items():
        back = read_both(data, name)
        for key, constant in graph.constants.items():
            assert back.constants[key].data.tobytes() == constant.data.tobytes()


# ---------------------------------------------------------------- differences
def test_diff_of_families():
    a, b = family(), family()
    b["letters"].constants["head.weight"] = Constant(HEADS[1] + 1)
    b["more"] = b.pop("digits")
    found = [str(d) for d in archive.diff(*map(archive.family_to_bytes, (a, b)))]
    assert "member digits: removed" in found
    assert "member more: added" in found
    assert any(
        d.startswith("tensor letters: head.weight: 320 of 320 elements differ") for d in found
    )
    assert archive.diff(*[archive.family_to_bytes(a)] * 2) == []


# ---------------------------------------------------------------- bad input
def test_members_that_there_are_not(refused):
    data = archive.family_to_bytes(family())
    assert refused(data, "words", ConfigError) == (
        "archive: has no member 'words'; there are 'digits', 'letters'"
    )
    assert "say which member: 'digits', 'letters'" in refused(data, None, ConfigError)
    alone = archive.to_bytes(network(BODY, HEADS[0]))
    assert refused(alone, "a", ConfigError) == (
        "archive: holds one network, so there is no member 'a'"
    )
    with pytest.raises(ConfigError, match="holds one network, not a family"):
        archive.read_family(alone)
    assert archive.members(alone) == ()


def test_families_that_cannot_be_written(tmp_path):
    with pytest.raises(ConfigError, match="a family needs members with names, got \\[\\]"):
        archive.write_family(tmp_path / "f.glz", {})
    with pytest.raises(ConfigError, match="members with names, got \\[''\\]"):
        archive.write_family(tmp_path / "f.glz", {"": network(BODY, HEADS[0])})
    broken = network(BODY, HEADS[0])
    broken.outputs = ["nothing"]
    with pytest.raises(GraphError):
        archive.write_family(tmp_path / "f.glz", {"a": broken})


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([["a", 1, "w"]], "a tensor's number is 1"),
        ([["a", 0]], "a member must be a name, then pairs of a tensor and its name"),
        ([["a", 0, "w"], ["a", 0, "w"]], "member 'a' is there twice"),
        ([["a", 0, "w", 0, "w"]], "tensor 'w' is defined twice"),
        ([["a", 0, "other"]], "reads tensor 'w', which nothing before it defines"),
        ([["", 0, "w"]], "a member's name is empty"),
        ([[]], "a member must be a name"),
    ],
)
def test_members_that_are_malformed(members, message, forge, refused):
    forge.members = members
    assert message in refused(forge.bytes(), "a")


def test_a_tensor_used_often_is_no_bomb(forge, refused):
    """2^26 zeros fit the limit, eight times 2^26 floats do not."""
    forge.tensor([2**13, 2**13], "f32", b"", "gap", 0, 0, "packed", 1, "raw")
    forge.members = [["a", *(item for i in range(8) for item in (0, f"w{i}"))]]
    assert "the tensors would take 2147483648 bytes of memory" in refused(forge.bytes(), "a")


def test_more_members_than_graphs(forge, refused):
    forge.members = [["a", 0, "w"]]
    index = forge.index()
    assert index.count(b"\x93\xa1a\x00\xa1w") == 1
    broken = index.replace(b"\x91\x93\xa1a\x00\xa1w", b"\x90")
    assert "there are 0 members but 1 graphs" in refused(forge.seal(broken), "a")
