"""Small graphs, one for each way in which channels depend on each other, and the oracle."""

from dataclasses import replace

import numpy as np

from gluonzip.graph.ir import Constant, Graph, Input, Node


class Net:
    """Builds a graph layer by layer; constants are random."""

    def __init__(self, *shapes, seed=0):
        self.rng = np.random.default_rng(seed)
        self.graph = Graph([], [], [], {})
        for i, shape in enumerate(shapes or [(1, 3, 8, 8)]):
            self.graph.inputs.append(Input(f"data{i}" if i else "data", shape))

    def const(self, name, *shape, positive=False):
        data = self.rng.normal(size=shape).astype(np.float32)
        self.graph.constants[name] = Constant(np.abs(data) + 0.5 if positive else data)
        return name

    def op(self, op, *inputs, name=None, outputs=1, **attrs):
        name = name or self.graph.fresh(op)
        outs = [name + ".out"] if outputs == 1 else [f"{name}.out{i}" for i in range(outputs)]
        self.graph.nodes.append(Node(op, name, list(inputs), outs, attrs))
        return outs[0] if outputs == 1 else outs

    def conv(self, x, ins, outs, name, k=3, groups=1, bias=True, **attrs):
        weight = self.const(f"{name}.weight", outs, ins // groups, k, k)
        extra = [self.const(f"{name}.bias", outs)] if bias else []
        pad = [k // 2] * 4
        return self.op("conv2d", x, weight, *extra, name=name, groups=groups, pad=pad, **attrs)

    def deconv(self, x, ins, outs, name, groups=1):
        weight = self.const(f"{name}.weight", ins, outs // groups, 2, 2)
        bias = self.const(f"{name}.bias", outs)
        op = "conv_transpose2d"
        return self.op(op, x, weight, bias, name=name, groups=groups, stride=[2, 2])

    def dense(self, x, ins, outs, name, **attrs):
        weight = self.const(f"{name}.weight", outs, ins)
        return self.op("dense", x, weight, self.const(f"{name}.bias", outs), name=name, **attrs)

    def bn(self, x, channels, name):
        gamma, var = (self.const(f"{name}.{n}", channels, positive=True) for n in ("gamma", "var"))
        beta, mean = (self.const(f"{name}.{n}", channels) for n in ("beta", "mean"))
        return self.op("batch_norm", x, gamma, beta, mean, var, name=name)

    def done(self, *outputs):
        self.graph.outputs = list(outputs)
        return self.graph


def chain():
    net = Net()
    x = net.op("relu", net.bn(net.conv("data", 3, 16, "a"), 16, "bn"))
    x = net.op("max_pool", net.conv(x, 16, 24, "b"), kernel=[2, 2], stride=[2, 2])
    scale, shift = net.const("scale", 24), net.const("shift", 24)
    x = net.op("scale_shift", x, scale, shift)
    return net.done(net.dense(net.op("flatten", x), 24 * 16, 5, "out"))


def dense_without_flatten_node():
    net = Net()
    x = net.op("prelu", net.conv("data", 3, 16, "a"), net.const("slope", 16))
    x = net.op("prelu", net.dense(x, 16 * 64, 12, "fc"), net.const("one", 1))
    return net.done(net.dense(x, 12, 5, "out"))


def residual():
    net = Net()
    x = net.conv("data", 3, 16, "stem")
    y = net.conv(net.op("relu", net.conv(x, 16, 8, "a")), 8, 16, "b")
    x = net.op("add", x, y)
    weight = net.const("c.weight", 16, 16, 1, 1)
    y = net.op("conv2d", x, weight, "", x, name="c", act="relu")
    return net.done(net.dense(net.op("global_avg_pool", y), 16, 5, "out"))


def concatenated():
    net = Net()
    a = net.conv("data", 3, 8, "a")
    b = net.conv(a, 8, 16, "b")
    x = net.op("concat", a, "data", b, axis=1)
    x = net.bn(x, 27, "bn")
    c = net.conv("data", 3, 27, "c")
    return net.done(net.conv(net.op("add", x, c), 27, 5, "out"))


def depthwise():
    net = Net()
    x = net.conv("data", 3, 16, "a", bias=False)
    x = net.conv(x, 16, 32, "dw", groups=16)
    x = net.op("clip", net.conv(x, 32, 24, "b", k=1), min=0.0, max=6.0)
    return net.done(net.conv(net.conv(x, 24, 24, "dw2", groups=24), 24, 5, "out"))


def many_groups():
    net = Net()
    x = net.conv("data", 3, 32, "a", k=1)
    x = net.conv(x, 32, 64, "grouped", groups=16)
    return net.done(net.conv(x, 64, 5, "out"))


def few_groups():
    net = Net()
    x = net.conv("data", 3, 16, "a", k=1)
    x = net.conv(x, 16, 24, "grouped", groups=2)
    return net.done(net.conv(x, 24, 5, "out"))


def deconvolution():
    net = Net()
    x = net.deconv(net.conv("data", 3, 16, "a"), 16, 24, "up")
    x = net.deconv(x, 24, 24, "up_dw", groups=24)
    x = net.deconv(x, 24, 16, "up_groups", groups=2)
    return net.done(net.conv(x, 16, 5, "out"))


def shuffle():
    net = Net()
    x = net.conv("data", 3, 24, "a", k=1)
    x = net.op("reshape", x, shape=[0, -4, 3, -1, -2])
    x = net.op("transpose", x, axes=[0, 2, 1, 3, 4])
    x = net.op("reshape", x, shape=[0, -3, -2])
    return net.done(net.conv(net.bn(x, 24, "bn"), 24, 5, "out"))


def shuffle_with_lengths():
    net = Net()
    x = net.conv("data", 3, 24, "a", k=1)
    x = net.op("reshape", x, shape=[-1, 3, 8, 8, 8])
    x = net.op("transpose", x, axes=[0, 2, 1, 3, 4])
    x = net.op("reshape", x, shape=[0, 24, 8, 8])
    return net.done(net.conv(net.conv(x, 24, 24, "dw", groups=24), 24, 5, "out"))


def squeeze_excite():
    net = Net()
    x = net.conv("data", 3, 16, "a")
    y = net.op("global_avg_pool", x)
    y = net.op("relu", net.dense(y, 16, 8, "fc1"))
    y = net.op("sigmoid", net.dense(y, 8, 16, "fc2"))
    y = net.op("expand_dims", net.op("expand_dims", y, axis=2), axis=3)
    return net.done(net.conv(net.op("mul", y, x), 16, 5, "out"))


def squeeze_excite_conv():
    net = Net()
    x = net.conv("data", 3, 16, "a")
    y = net.op("adaptive_avg_pool", x, output=[1, 1])
    y = net.conv(net.op("relu", net.conv(y, 16, 8, "fc1", k=1)), 8, 16, "fc2", k=1)
    return net.done(net.conv(net.op("mul", x, net.op("hard_sigmoid", y)), 16, 5, "out"))


def shared_weight():
    net = Net()
    x = net.conv("data", 3, 16, "a")
    weight = net.const("shared", 16, 16, 3, 3)
    y = net.op("conv2d", x, weight, name="first", pad=[1] * 4)
    z = net.op("conv2d", net.op("relu", y), weight, name="second", pad=[1] * 4)
    return net.done(net.conv(z, 16, 5, "out"))


def split_halves():
    net = Net()
    x = net.conv("data", 3, 32, "a")
    left, right = net.op("split", x, outputs=2, axis=1)
    right = net.conv(right, 16, 8, "b")
    left = net.op("slice_axis", left, axis=1, begin=2, end=-2)
    return net.done(net.conv(net.op("concat", left, right, axis=1), 20, 5, "out"))


def split_attention():
    """ResNeSt: two radix groups, a softmax between them."""
    net = Net()
    x = net.conv(net.conv("data", 3, 16, "a"), 16, 32, "radix", groups=2)
    one, two = net.op("split", x, outputs=2, axis=1)
    gap = net.op("global_avg_pool", net.op("add", one, two))
    y = net.conv(net.op("relu", net.conv(gap, 16, 8, "fc1", k=1)), 8, 32, "fc2", k=1)
    y = net.op("reshape", y, shape=[0, 1, 2, -1])
    y = net.op("softmax", net.op("transpose", y, axes=[0, 2, 1, 3]), axis=1)
    a, b = net.op("split", net.op("reshape", y, shape=[0, -1, 1, 1]), outputs=2, axis=1)
    x = net.op("add", net.op("mul", one, a), net.op("mul", two, b))
    return net.done(net.conv(x, 16, 5, "out"))


def quantized():
    net = Net()
    weight = net.const("a.weight", 16, 3, 3, 3)
    net.graph.constants["steps"] = Constant(np.full(16, 0.02, np.float32))
    weight = net.op("fake_quantize", weight, "steps", bits=8, axis=0)
    mask = net.const("mask", 24, 16, 3, 3)
    x = net.op("conv2d", "data", weight, name="a")
    masked = net.op("mul", net.const("b.weight", 24, 16, 3, 3), mask)
    x = net.op("conv2d", x, masked, name="b")
    codes = net.rng.integers(-127, 128, (16, 24, 3, 3)).astype(np.int8)
    scale = np.linspace(0.01, 0.02, 16, dtype=np.float32)
    net.graph.constants["c.weight"] = Constant(codes, scale, axis=0)
    x = net.op("conv2d", x, "c.weight", name="c")
    return net.done(net.conv(x, 16, 5, "out", k=1))


def padded_shortcut():
    net = Net()
    x = net.conv("data", 3, 8, "a")
    y = net.conv(x, 8, 16, "b")
    x = net.op("pad", x, width=[0, 0, 4, 4, 0, 0, 0, 0])
    return net.done(net.conv(net.op("add", x, y), 16, 5, "out"))


def constant_table():
    net = Net()
    x = net.op("add", net.conv("data", 3, 16, "a"), net.const("position", 1, 16, 8, 8))
    x = net.op("mul", net.const("gain", 16, 1, 1), x)
    x = net.op("mean", x, axes=[2, 3])
    return net.done(net.dense(x, 16, 5, "out"))


def sequence():
    net = Net((1, 6))
    x = net.op("embedding", "data", net.const("table", 10, 16), name="embedding")
    x = net.dense(x, 16, 24, "fc", flatten=False)
    return net.done(net.dense(net.op("gelu", x), 24, 5, "out", flatten=False))


TOPOLOGIES = [
    chain,
    dense_without_flatten_node,
    residual,
    concatenated,
    depthwise,
    many_groups,
    few_groups,
    deconvolution,
    shuffle,
    shuffle_with_lengths,
    squeeze_excite,
    squeeze_excite_conv,
    shared_weight,
    split_halves,
    split_attention,
    quantized,
    padded_shortcut,
    constant_table,
    sequence,
]


READS_ON = {"conv2d": 1, "dense": 1, "conv_transpose2d": 0}
"""The weight's axis that counts the channels a layer reads."""


def unread(selection):
    """The original graph, its layers blind to the removed channels: the oracle."""
    found = selection.found
    graph = found.graph.copy()
    producers = graph.producers()
    for node in graph.nodes:
        if node.op not in READS_ON:
            continue
        name = node.inputs[1]
        while name in producers:
            name = producers[name].inputs[0]
        axis = READS_ON[node.op]
        classes = found.axes[name].get(axis)
        if classes is None:
            continue
        constant = graph.constants[name]
        data = np.moveaxis(constant.data.copy(), axis, 0)
        data[np.isin(classes, selection.removed)] = 0
        graph.constants[name] = replace(constant, data=np.moveaxis(data, 0, axis))
    return graph
