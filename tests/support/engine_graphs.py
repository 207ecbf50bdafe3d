"""Small graphs and a comparison with the interpreter, shared by the engine's tests."""

from __future__ import annotations

import numpy as np

from gluonzip.graph import Constant, Graph, Input, Node, infer_types, interpret
from gluonzip.runtime import Engine, isas

BEST = isas()[-1]


def weight(rng, *shape, quantized=False, axis=0, per_channel=True) -> Constant:
    """A weight of sensible size; quantized: random codes and scales."""
    fan_in = max(int(np.prod(shape)) // max(shape[axis], 1), 1)
    if not quantized:
        return Constant((rng.standard_normal(shape) / np.sqrt(fan_in)).astype("float32"))
    codes = rng.integers(-127, 128, shape).astype("int8")
    scale = rng.uniform(0.5, 1.5, shape[axis] if per_channel else ()) / (60 * np.sqrt(fan_in))
    return Constant(codes, scale=np.asarray(scale, "float32"), axis=axis)


def floats(rng, *shape) -> Constant:
    return Constant(rng.standard_normal(shape).astype("float32"))


def image(rng, *shape) -> np.ndarray:
    return rng.standard_normal(shape).astype("float32")


def one_node(op, shapes, constants=None, attrs=None, x_scales=(), outputs=("y",)) -> Graph:
    """A graph of one node. ``shapes``: of its run-time inputs, x0, x1, ...; those with an entry in
    ``x_scales`` are quantized first (None: not). ``constants`` follow as inputs; None: absent."""
    nodes, names = [], []
    for i in range(len(shapes)):
        scale = x_scales[i] if i < len(x_scales) else None
        names.append(f"x{i}")
        if scale is not None:
            nodes.append(Node("quantize", f"quantize{i}", [names[-1]], [f"q{i}"], {"scale": scale}))
            names[-1] = f"q{i}"
    table = {}
    for name, constant in (constants or {}).items():
        names.append(name if constant is not None else "")
        if constant is not None:
            table[name] = constant
    nodes.append(Node(op, "node", names, list(outputs), attrs or {}))
    inputs = [Input(f"x{i}", shape) for i, shape in enumerate(shapes)]
    return Graph(inputs, list(outputs), nodes, table)


def check(graph: Graph, *arrays, rtol=1e-5, threads=1, isa=BEST, exact=None):
    """The engine's outputs against the interpreter's: codes exactly, float32 to ``rtol`` of the
    largest magnitude. Returns the engine's outputs."""
    wanted = interpret(graph, list(arrays))
    got = Engine.from_graph(graph, threads=threads, isa=isa)(*arrays)
    got = got if isinstance(got, tuple) else (got,)
    types = infer_types(graph, {i.name: a.shape for i, a in zip(graph.inputs, arrays, strict=True)})
    for name, a, b in zip(graph.outputs, got, wanted, strict=True):
        assert a.dtype == b.dtype == np.dtype(types[name].dtype), name
        assert a.shape == b.shape == types[name].shape, name
        if exact or (exact is None and a.dtype != np.float32):
            np.testing.assert_array_equal(a, b, err_msg=name)
        else:
            np.testing.assert_allclose(a, b, rtol=0, atol=rtol * max(np.abs(b).max(), 1e-3))
    return got


def lenet(quantized: bool, seed: int = 0) -> Graph:
    """LeNet-5 (20-50-500-10) with random weights."""
    rng = np.random.default_rng(seed)
    constants = {
        "w1": weight(rng, 20, 1, 5, 5, quantized=quantized), "b1": floats(rng, 20),
        "w2": weight(rng, 50, 20, 5, 5, quantized=quantized), "b2": floats(rng, 50),
        "w3": weight(rng, 500, 800, quantized=quantized), "b3": floats(rng, 500),
        "w4": weight(rng, 10, 500, quantized=quantized), "b4": floats(rng, 10),
    }  # fmt: skip

    def tail(scale):
        return {"act": "relu", "out_scale": scale} if quantized else {"act": "relu"}

    pool = {"kernel": [2, 2], "stride": [2, 2]}
    first = [Node("quantize", "quantize", ["data"], ["q"], {"scale": 0.03})] if quantized else []
    nodes = first + [
        Node("conv2d", "conv1", ["q" if quantized else "data", "w1", "b1"], ["c1"], tail(0.02)),
        Node("max_pool", "pool1", ["c1"], ["p1"], pool),
        Node("conv2d", "conv2", ["p1", "w2", "b2"], ["c2"], tail(0.02)),
        Node("max_pool", "pool2", ["c2"], ["p2"], pool),
        Node("flatten", "flatten", ["p2"], ["f"]),
        Node("dense", "fc1", ["f", "w3", "b3"], ["d1"], tail(0.03)),
        Node("dense", "fc2", ["d1", "w4", "b4"], ["d2"]),
    ]
    return Graph([Input("data", (0, 1, 28, 28))], ["d2"], nodes, constants, name="lenet")
