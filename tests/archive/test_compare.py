"""diff names what changed, and only that."""

import numpy as np
import pytest

from gluonzip import archive
from gluonzip.errors import ArchiveError
from gluonzip.graph.ir import Constant, Graph, Input, Node


def network(**changes) -> Graph:
    scale = np.float32(0.5).reshape(())
    parts = {
        "inputs": [Input("x", (0, 4))],
        "outputs": ["y"],
        "nodes": [Node("dense", "fc", ["x", "w", "b"], ["y"], {"act": "relu"})],
        "constants": {
            "w": Constant(np.arange(12, dtype=np.int8).reshape(3, 4), scale),
            "b": Constant(np.ones(3, np.float32)),
        },
        "meta": {"recipe": {"bits": 8}},
    }
    return Graph(**(parts | changes))


def changed(**changes) -> list[str]:
    a, b = archive.to_bytes(network()), archive.to_bytes(network(**changes))
    return [str(difference) for difference in archive.diff(a, b)]


def test_nothing_differs():
    assert changed() == []


def test_values():
    data = np.ones(3, np.float32)
    data[1] = -1
    constants = network().constants | {"b": Constant(data)}
    assert changed(constants=constants) == [
        "tensor b: 1 of 3 elements differ, by 2 at most",
    ]


def test_pruned_tensor():
    codes = np.zeros((3, 4), np.int8)
    codes[2, 3] = 11
    weight = Constant(codes, network().constants["w"].scale)
    found = changed(constants=network().constants | {"w": weight})
    assert "tensor w: 10 of 12 elements differ, by 10 at most" in found
    assert "tensor w: nonzeros 11 -> 1" in found
    assert any(line.startswith("bytes in all: ") and "(-" in line for line in found)


def test_scale_bits_and_shape():
    old = network().constants
    halved = Constant(old["w"].data, np.float32(0.25).reshape(()))
    assert changed(constants=old | {"w": halved}) == ["tensor w: scale 0.5 -> 0.25"]
    fewer = Constant(old["w"].data, old["w"].scale, 0, 5)
    assert "tensor w: quantized to 8 bits along axis 0 -> quantized to 5 bits along axis 0" in (
        changed(constants=old | {"w": fewer})
    )
    longer = Constant(np.ones(5, np.float32))
    assert "tensor b: float32 (3,) -> float32 (5,)" in changed(constants=old | {"b": longer})


def test_nodes_inputs_and_outputs():
    relu = Node("relu", "r", ["y"], ["z"])
    found = changed(nodes=[*network().nodes, relu], outputs=["z"])
    assert "graph: outputs ['y'] -> ['z']" in found
    assert "node r: added" in found
    clip = Node("dense", "fc", ["x", "w"], ["y"], {"act": "clip", "act_max": 6.0})
    found = changed(nodes=[clip])
    assert "node fc: inputs ['x', 'w', 'b'] -> ['x', 'w']" in found
    assert "node fc: attribute act 'relu' -> 'clip'" in found
    assert "node fc: attribute act_max 'default' -> 6.0" in found
    assert "input x: float32 (0, 4) -> float32 (1, 4)" in changed(inputs=[Input("x", (1, 4))])


def test_meta():
    found = changed(meta={"recipe": {"bits": 4}, "note": "new"})
    assert found[:2] == ["meta recipe: changed", "meta note: added"]
    assert found[2].startswith("bytes in all: ")


def test_an_unreadable_archive():
    with pytest.raises(ArchiveError, match="not a gluonzip archive"):
        archive.diff(archive.to_bytes(network()), b"no")
