"""Small networks with every shape that the passes must know."""

from __future__ import annotations

import numpy as np
import pytest

from gluonzip.graph import Constant, Graph, Input, Node, validate


class Builder:
    """A graph, layer by layer; every method returns the name of its output."""

    def __init__(self, *shape: int, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.graph = Graph([Input("data", (0, *shape))], [], [], {}, "test")

    def node(self, op: str, inputs: list[str], outputs: int = 0, **attrs):
        name = self.graph.fresh(op)
        outs = [f"{name}_{i}" for i in range(outputs)] or [name]
        self.graph.nodes.append(Node(op, name, inputs, outs, attrs))
        return outs if outputs else name

    def constant(self, data, name: str = "constant") -> str:
        name = self.graph.fresh(name)
        self.graph.constants[name] = Constant(np.asarray(data, np.float32))
        return name

    def normal(self, *shape: int, scale: float = 1.0) -> str:
        return self.constant(self.rng.normal(0, scale, shape))

    def conv(self, x: str, ins: int, outs: int, k: int = 3, bias: bool = False, **attrs) -> str:
        attrs.setdefault("pad", [k // 2] * 4)
        width = ins // attrs.get("groups", 1)
        weight = self.normal(outs, width, k, k, scale=(2 / (width * k * k)) ** 0.5)
        inputs = [x, weight, self.normal(outs, scale=0.1)] if bias else [x, weight]
        return self.node("conv2d", inputs, **attrs)

    def dense(self, x: str, ins: int, outs: int, bias: bool = True) -> str:
        weight = self.normal(outs, ins, scale=ins**-0.5)
        return self.node("dense", [x, weight, self.normal(outs)] if bias else [x, weight])

    def batch_norm(self, x: str, channels: int, axis: int = 1) -> str:
        positive = self.constant(self.rng.uniform(0.5, 2, channels))
        parameters = [self.normal(channels), self.normal(channels), self.normal(channels)]
        return self.node("batch_norm", [x, *parameters, positive], axis=axis)

    def relu(self, x: str) -> str:
        return self.node("relu", [x])

    def pool(self, x: str, kind: str = "max", k: int = 2, s: int = 2, **attrs) -> str:
        return self.node(f"{kind}_pool", [x], kernel=[k, k], stride=[s, s], **attrs)

    def done(self, *outputs: str) -> Graph:
        self.graph.outputs = list(outputs)
        validate(self.graph)
        return self.graph


def lenet() -> Graph:
    b = Builder(1, 12, 12)
    x = b.pool(b.relu(b.conv("data", 1, 6, 3, bias=True)))
    x = b.relu(b.pool(b.conv(x, 6, 8, 3, bias=True)))
    x = b.node("flatten", [x])
    x = b.node("identity", [b.relu(b.dense(x, 72, 20))])
    return b.done(b.dense(x, 20, 5))


def residual() -> Graph:
    """ResNet v1: a block with a shortcut, one with a projection, global pooling."""
    b = Builder(3, 8, 8, seed=1)
    x = b.relu(b.batch_norm(b.conv("data", 3, 8), 8))
    y = b.relu(b.batch_norm(b.conv(x, 8, 8), 8))
    y = b.batch_norm(b.conv(y, 8, 8), 8)
    x = b.relu(b.node("add", [y, x]))
    y = b.relu(b.batch_norm(b.conv(x, 8, 12, stride=[2, 2]), 12))
    y = b.batch_norm(b.conv(y, 12, 12), 12)
    shortcut = b.batch_norm(b.conv(x, 8, 12, 1, stride=[2, 2]), 12)
    x = b.relu(b.node("add", [y, shortcut]))
    x = b.node("reshape", [b.node("global_avg_pool", [x])], shape=[0, -1])
    return b.done(b.dense(x, 12, 5))


def preactivation() -> Graph:
    """ResNet v2: batch norm of the data, and in front of convolutions."""
    b = Builder(3, 8, 8, seed=2)
    x = b.conv(b.batch_norm("data", 3), 3, 8)
    for _ in range(2):
        y = b.conv(b.relu(b.batch_norm(x, 8)), 8, 8)
        y = b.conv(b.relu(b.batch_norm(y, 8)), 8, 8)
        x = b.node("add", [x, y])
    x = b.relu(b.batch_norm(x, 8))
    return b.done(b.dense(b.node("flatten", [b.node("global_avg_pool", [x])]), 8, 5))


def inception() -> Graph:
    """Branches of several kinds into one concat, which a convolution and a pool read."""
    b = Builder(3, 8, 8, seed=3)
    x = b.relu(b.conv("data", 3, 8, bias=True))
    one = b.relu(b.conv(x, 8, 4, 1, bias=True))
    two = b.relu(b.conv(b.relu(b.conv(x, 8, 4, 1)), 4, 6))
    three = b.relu(b.conv(b.pool(x, "avg", 3, 1, pad=[1, 1, 1, 1]), 8, 2, 1))
    four = b.pool(x, "max", 3, 1, pad=[1, 1, 1, 1])
    x = b.node("concat", [one, two, three, four])
    x = b.relu(b.conv(x, 20, 8))
    return b.done(b.dense(b.pool(x, "avg"), 128, 5))


def dense_blocks() -> Graph:
    """DenseNet: concats of concats, batch norm behind them."""
    b = Builder(3, 8, 8, seed=4)
    x = b.conv("data", 3, 8)
    for channels in (8, 12):
        y = b.conv(b.relu(b.batch_norm(x, channels)), channels, 4)
        x = b.node("concat", [x, y])
    x = b.pool(b.conv(b.relu(b.batch_norm(x, 16)), 16, 8, 1), "avg")
    x = b.relu(b.batch_norm(x, 8))
    return b.done(b.dense(x, 128, 5))


def mobile() -> Graph:
    """MobileNet v2: depthwise convolutions, relu6, a linear bottleneck; and a hard swish."""
    b = Builder(3, 8, 8, seed=5)

    def relu6(x):
        return b.node("clip", [x], min=0.0, max=6.0)

    x = relu6(b.batch_norm(b.conv("data", 3, 8), 8))
    y = relu6(b.batch_norm(b.conv(x, 8, 16, 1), 16))
    y = relu6(b.batch_norm(b.conv(y, 16, 16, groups=16), 16))
    x = b.node("add", [x, b.batch_norm(b.conv(y, 16, 8, 1), 8)])
    x = b.node("hard_swish", [b.batch_norm(b.conv(x, 8, 12, 1), 12)])
    gate = b.node("sigmoid", [b.conv(b.node("global_avg_pool", [x]), 12, 12, 1, bias=True)])
    x = b.node("mul", [x, gate])
    x = b.node("leaky_relu", [b.batch_norm(b.conv(x, 12, 8, 1), 8)], slope=0.1)
    return b.done(b.dense(x, 512, 5))


def several_outputs() -> Graph:
    """Outputs in the middle, one read further on, one behind softmax; a transposed convolution."""
    b = Builder(3, 6, 6, seed=6)
    x = b.relu(b.conv("data", 3, 8, bias=True))
    up = b.node(
        "conv_transpose2d", [x, b.normal(8, 4, 2, 2, scale=0.3), b.normal(4)], stride=[2, 2]
    )
    up = b.relu(b.batch_norm(up, 4))
    halves = b.node("split", [x], outputs=2, axis=1)
    y = b.conv(b.node("add", halves), 4, 4)
    flat = b.dense(b.pool(y), 36, 5)
    return b.done(x, b.conv(up, 4, 2), b.node("softmax", [flat]), b.pool(x))


NETWORKS = [
    lenet, residual, preactivation, inception, dense_blocks, mobile, several_outputs,
]  # fmt: skip


@pytest.fixture(params=NETWORKS, ids=lambda f: f.__name__)
def network(request) -> Graph:
    """One small network after the other."""
    return request.param()


@pytest.fixture
def networks():
    """The same by name: networks["residual"]() is a new graph."""
    return {build.__name__: build for build in NETWORKS}


@pytest.fixture
def builder():
    """The class that builds graphs: builder(*shape_without_batch)."""
    return Builder


@pytest.fixture
def sample():
    """sample(graph, batch=2, seed=0): random input for a graph with one input."""

    def make(graph: Graph, batch: int = 2, seed: int = 0) -> np.ndarray:
        rng = np.random.default_rng(seed)
        return rng.normal(0, 1, (batch, *graph.inputs[0].shape[1:])).astype(np.float32)

    return make
