"""Weights go from the archive into their packed form: no dense copy of a layer is ever there."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from gluonzip import _core, archive
from gluonzip.errors import ArchiveError
from gluonzip.graph import interpret
from gluonzip.graph.ir import Constant, Graph, Input, Node
from gluonzip.runtime import Engine, isas

LOAD = """
import sys
import gluonzip.runtime

def peak():  # not ru_maxrss, which a process has from its parent
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))

before = peak()
engine = gluonzip.runtime.Engine.load(sys.argv[1], threads=1)
print(peak() - before, engine.memory()["weights"])
"""


def wide_dense(path, sparsity: float, dtype: str, rows: int = 64, block: int = 4) -> int:
    """An archive of one dense layer; returns the bytes of its weights."""
    outputs = inputs = 4096
    random = np.random.default_rng(0)
    codes = random.integers(-127, 128, (outputs, inputs)).astype(np.int8)
    keep = (random.random((outputs, inputs // block)) >= sparsity).repeat(block, axis=1)
    codes *= keep
    nodes = [Node("dense", "fc", ["x", "w"], ["y"])]
    if dtype == "int8":
        nodes.insert(0, Node("quantize", "q", ["x"], ["xq"], {"scale": 0.1}))
        nodes[1].inputs[0] = "xq"
        weight = Constant(codes, np.float32(0.01))
    else:
        noise = random.random(codes.shape, np.float32)  # does not compress
        weight = Constant(codes * noise)
    graph = Graph([Input("x", (rows, inputs))], ["y"], nodes, {"w": weight})
    archive.write(path, graph)
    return weight.data.nbytes


def load(path) -> tuple[float, float]:
    """KB by which loading lets the peak of a fresh process grow, and KB of packed weights."""
    out = subprocess.run([sys.executable, "-c", LOAD, path], stdout=-1, check=True, text=True)
    grown, packed = out.stdout.split()
    return float(grown), int(packed) / 1024


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_the_peak_of_loading_falls_with_sparsity(tmp_path, dtype):
    """Loading takes the file, the packed weights and a little: below a dense copy when sparse."""
    peaks = {}
    for sparsity in (0.0, 0.75, 0.9):
        path = tmp_path / f"{sparsity}.glz"
        dense = wide_dense(path, sparsity, dtype) / 1024
        grown, packed = load(path)
        file = path.stat().st_size / 1024
        slack = 4096 + 0.5 * packed  # the engine's own, and words while they are sorted
        assert grown < max(file, packed) + min(file, packed) + slack, (sparsity, grown, packed)
        if sparsity:
            assert grown < dense, (sparsity, grown)
        peaks[sparsity] = grown
    assert peaks[0.9] < 0.7 * peaks[0.75] < 0.5 * peaks[0.0], peaks


@pytest.mark.skipif(not _core.has_bitmap(_core.best_isa()), reason="no bitmaps here")
def test_unstructured_zeros_of_a_product_of_one_row_save_memory(tmp_path):
    path = tmp_path / "unstructured.glz"
    dense = wide_dense(path, 0.85, "int8", rows=1, block=1) / 1024
    grown, packed = load(path)
    assert packed < 0.3 * dense
    assert grown < path.stat().st_size / 1024 + packed + 4096 < 0.8 * dense


def forms(random, shape) -> dict[str, Constant]:
    """The same kind of weight in every section that archives have."""
    codes = random.integers(-7, 8, shape).astype(np.int8)
    sparse = codes * (random.random(shape) < 0.1).astype(np.int8)
    half = (codes / 8).astype(np.float16)
    return {
        "codes": Constant(codes, np.float32(0.1)),
        "sparse codes": Constant(sparse, np.float32(0.1)),
        "codes, a scale a channel": Constant(
            codes, random.random(shape[0], np.float32) + 0.1, 0, 4
        ),
        "floats": Constant(random.standard_normal(shape).astype(np.float32)),
        "sparse floats": Constant((sparse * random.random(shape)).astype(np.float32)),
        "half floats": Constant(half.astype(np.float32)),
        "one value": Constant(np.full(shape, 0.5, np.float32)),
        "zeros": Constant(np.zeros(shape, np.float32)),
    }


@pytest.mark.parametrize("isa", isas())
@pytest.mark.parametrize("policy", ["never", "always"])
def test_every_section_packs_as_its_values_say(tmp_path, monkeypatch, isa, policy):
    """Convolutions and dense layers behind images, odd sizes, dense and sparse kernels."""
    monkeypatch.setenv("GLUONZIP_SPARSE", policy)
    random = np.random.default_rng(1)
    x = random.standard_normal((2, 5, 6, 7)).astype(np.float32)
    inputs, path = [Input("x", (0, 5, 6, 7))], tmp_path / "net.glz"
    for name, weight in forms(random, (21, 5, 3, 3)).items():
        node = Node("conv2d", "c", ["x", "w"], ["y"], {"pad": [1, 1, 1, 1]})
        check(path, Graph(inputs, ["y"], [node], {"w": weight}), x, isa, name)
    one = Constant(np.eye(5, dtype=np.float32).reshape(5, 5, 1, 1))
    for name, weight in forms(random, (70, 5 * 6 * 7)).items():
        nodes = [
            Node("conv2d", "c", ["x", "one"], ["z"]),
            Node("dense", "fc", ["z", "w"], ["y"]),
        ]
        check(path, Graph(inputs, ["y"], nodes, {"w": weight, "one": one}), x, isa, name)


def check(path, graph: Graph, x: np.ndarray, isa: str, name: str) -> None:
    archive.write(path, graph)
    engine = Engine.load(path, isa=isa, threads=1)
    expected = interpret(graph, x)[0]
    np.testing.assert_allclose(engine(x), expected, rtol=2e-5, atol=2e-4, err_msg=name)


def damaged(shape) -> bytes:
    """A dense layer whose codes are out of range: only decoding can tell."""
    weight = Constant(np.full((8, 16), 3, np.int8), np.float32(0.1), 0, 3)
    node = Node("dense", "fc", ["x", "w"], ["y"])
    graph = Graph([Input("x", shape)], ["y"], [node], {"w": weight})
    weight.data[5, 5] = -4
    return archive.to_bytes(graph)


@pytest.mark.parametrize("shape", [(1, 16), (0, 0)])
def test_what_decoding_finds_is_told_when_loading(tmp_path, monkeypatch, shape):
    """Also when the shapes, and so the packing, are not known before the first call."""
    monkeypatch.setattr("gluonzip.archive.writer.validate", lambda graph: None)
    path = tmp_path / "damaged.glz"
    path.write_bytes(damaged(shape))
    with pytest.raises(ArchiveError, match=r"damaged.glz: tensor 'w': a code is outside \[-3, 3\]"):
        Engine.load(path)
