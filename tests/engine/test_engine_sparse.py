"""Sparse layers inside networks: the same codes as dense ones, whatever layout lies between."""

from __future__ import annotations

import numpy as np
import pytest

from gluonzip.graph import Constant, Graph, Input, Node, interpret
from gluonzip.runtime import Engine, isas


class Network:
    """A small residual network with zeros in its weights, in int8 or float32."""

    def __init__(self, integer: bool, seed: int, out: int = 32) -> None:
        self.random = np.random.default_rng(seed)
        self.integer, self.nodes, self.constants = integer, [], {}
        x = "x"
        if integer:
            self.nodes.append(Node("quantize", "q", ["x"], ["codes"], {"scale": 0.02}))
            x = "codes"
        first = self.conv(x, 16, out, 1)
        branch = self.conv(self.conv(first, out, 20, 3, pad=1), 20, out, 1, added=first)
        down = self.conv(branch, out, 36, 1, stride=2)
        side = self.conv(self.conv(branch, out, 24, 3, stride=2, pad=1), 24, 36, 1, added=down)
        self.nodes.append(Node("max_pool", "pool", [side], ["pooled"], {
            "kernel": [2, 2], "stride": [2, 2]}))  # fmt: skip
        last = self.conv("pooled", 36, 16, 1)
        outputs = [last, branch]
        if integer:
            for i, name in enumerate(outputs):
                self.nodes.append(Node("dequantize", f"d{i}", [name], [f"out{i}"], {}))
            outputs = ["out0", "out1"]
        self.graph = Graph([Input("x", (0, 16, 11, 13))], outputs, self.nodes, self.constants)

    def conv(self, x, channels, out, kernel, stride=1, pad=0, added=None) -> str:
        name = f"conv{len(self.nodes)}"
        shape = (out, channels, kernel, kernel)
        keep = self.random.random(shape) < 0.3
        attributes = {"stride": [stride] * 2, "pad": [pad] * 4, "act": "relu"}
        if self.integer:
            codes = self.random.integers(-127, 128, shape).astype(np.int8) * keep
            self.constants[f"{name}_w"] = Constant(codes.astype(np.int8), scale=np.float32(0.004))
            attributes["out_scale"] = 0.02
        else:
            weights = self.random.normal(size=shape) * keep / np.sqrt(channels * kernel**2)
            self.constants[f"{name}_w"] = Constant(weights.astype(np.float32))
        bias = self.random.normal(size=out).astype(np.float32)
        self.constants[f"{name}_b"] = Constant(bias)
        inputs = [x, f"{name}_w", f"{name}_b"] + ([added] if added else [])
        self.nodes.append(Node("conv2d", name, inputs, [name], attributes))
        return name


@pytest.fixture(params=["reference", "avx2", "avxvnni", "avx512bw", "avx512vnni"])
def isa(request):
    if request.param not in isas():
        pytest.skip(f"this machine has no {request.param}: {', '.join(isas())}")
    return request.param


@pytest.mark.parametrize("integer", [True, False])
@pytest.mark.parametrize("policy", ["always", "auto"])
@pytest.mark.parametrize("out", [32, 30])
def test_networks_of_sparse_layers(isa, integer, policy, out, monkeypatch):
    graph = Network(integer, seed=out, out=out).graph
    for batch in (1, 3):
        x = np.random.default_rng(batch).normal(size=(batch, 16, 11, 13)).astype(np.float32)
        expected = interpret(graph, [x])
        for threads in (1, 2):
            monkeypatch.setenv("GLUONZIP_SPARSE", policy)
            engine = Engine.from_graph(graph, threads=threads, isa=isa)
            for got, wanted in zip(engine(x), expected, strict=True):
                if integer:
                    np.testing.assert_array_equal(got, wanted)
                else:
                    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-4)
    if policy == "always" and isa != "reference":
        kernels = [row["kernel"] for row in engine.profile(x, repeat=1, limits=False)]
        assert sum("sparse" in kernel for kernel in kernels) == 7
