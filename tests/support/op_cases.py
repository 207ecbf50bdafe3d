"""One node of each operator of the table, in the ways that exporters may get wrong."""

import numpy as np

from gluonzip.graph import Constant, Graph, Input, Node

IMAGE = (0, 6, 9, 8)
WINDOW = {"kernel": [3, 2], "stride": [2, 2], "pad": [1, 0, 1, 1]}
ELEMENTWISE = ("relu", "sigmoid", "tanh", "softplus", "softsign", "gelu", "exp", "abs", "negative",
               "square", "floor", "ceil", "erf", "selu", "hard_swish", "identity", "elu",
               "leaky_relu", "hard_sigmoid")  # fmt: skip
POSITIVE = {"log", "sqrt", "rsqrt"}
SCALAR = ("add_scalar", "mul_scalar", "rsub_scalar", "rdiv_scalar", "max_scalar", "min_scalar")


def case(op, *shapes, constants=(), outputs=1, **attrs):
    return op, shapes, tuple(constants), outputs, attrs


CASES = [
    case("conv2d", IMAGE, constants=[(8, 6, 3, 2), (8,)], pad=[1, 0, 2, 1], stride=[2, 1]),
    case("conv2d", IMAGE, constants=[(4, 6, 3, 3)], dilation=[2, 1], act="relu"),
    case("conv2d", IMAGE, constants=[(12, 2, 1, 1), (12,)], groups=3, act="clip", act_max=0.5),
    case("conv2d", IMAGE, constants=[(6, 1, 3, 3), (6,)], groups=6, act="leaky_relu",
         act_slope=0.1),
    case("conv_transpose2d", IMAGE, constants=[(6, 4, 3, 3), (4,)], stride=[2, 2], pad=[1] * 4),
    case("conv_transpose2d", IMAGE, constants=[(6, 2, 2, 3)], stride=[2, 3], groups=2,
         output_pad=[1, 2], pad=[0, 1, 1, 0]),
    case("dense", IMAGE, constants=[(5, 432), (5,)], act="relu"),
    case("dense", (0, 7), constants=[(5, 7)]),
    case("dense", (0, 3, 7), constants=[(5, 7), (5,)], flatten=False),
    case("embedding", (0, 4), constants=[(9, 5)]),
    case("batch_norm", IMAGE, constants=[(6,)] * 4, eps=1e-3),
    case("batch_norm", IMAGE, constants=[(8,)] * 4, axis=3),
    case("scale_shift", IMAGE, constants=[(6,)] * 2, act="relu"),
    case("scale_shift", (0, 3, 5), constants=[(5,)] * 2, axis=-1),
    case("layer_norm", (0, 3, 5), constants=[(5,)] * 2),
    case("layer_norm", IMAGE, constants=[(6,)] * 2, axis=1, eps=1e-3),
    *[case("l2_normalize", IMAGE, mode=mode) for mode in ("instance", "channel", "spatial")],
    *[case(op, (0, 3, 5)) for op in (*ELEMENTWISE, *POSITIVE)],
    *[case(op, (0, 3, 5), value=0.7) for op in SCALAR],
    case("pow_scalar", (0, 5), value=2.0),
    case("swish", (0, 3, 5), beta=1.5),
    case("swish", (0, 3, 5)),
    case("clip", (0, 3, 5), min=-0.5, max=0.25),
    case("prelu", IMAGE, constants=[(6,)]),
    case("prelu", (0, 5), constants=[(1,)]),
    case("add", IMAGE, (0, 6, 1, 1), act="relu"),
    case("add", IMAGE, constants=[(6, 1, 1)]),
    *[case(op, IMAGE, IMAGE) for op in ("sub", "mul", "maximum", "minimum")],
    case("div", (0, 5), constants=[(1, 5)]),
    case("max_pool", IMAGE, **WINDOW),
    case("max_pool", IMAGE, **WINDOW, ceil_mode=True),
    case("max_pool", IMAGE, kernel=[2, 2], stride=[3, 3], ceil_mode=True),
    case("avg_pool", IMAGE, **WINDOW),
    case("avg_pool", IMAGE, **WINDOW, count_pad=False),
    case("avg_pool", IMAGE, **WINDOW, ceil_mode=True),
    case("avg_pool", IMAGE, kernel=[3, 3], stride=[2, 2], pad=[1] * 4, ceil_mode=True,
         count_pad=False),
    case("avg_pool", IMAGE, kernel=[9, 8]),
    case("global_max_pool", IMAGE),
    case("global_avg_pool", IMAGE),
    case("adaptive_avg_pool", IMAGE, output=[4, 3]),
    case("adaptive_avg_pool", IMAGE, output=[3, 4]),
    case("upsample", IMAGE, factor=3),
    case("resize_bilinear", IMAGE, size=[17, 13]),
    case("resize_bilinear", IMAGE, size=[17, 4], align_corners=False),
    case("resize_bilinear", IMAGE, size=[1, 5]),
    case("concat", IMAGE, (0, 2, 9, 8), IMAGE),
    case("concat", (0, 3, 5), (0, 3, 2), axis=-1),
    case("flatten", IMAGE),
    case("reshape", IMAGE, shape=[0, -4, 2, -1, -2]),
    case("reshape", IMAGE, shape=[0, -3, -2]),
    case("reshape", IMAGE, shape=[-1, 9, 8]),
    case("transpose", IMAGE, axes=[0, 2, 3, 1]),
    case("expand_dims", (0, 3, 5), axis=-2),
    case("squeeze", (0, 1, 5, 1)),
    case("squeeze", (0, 1, 5, 1), axes=[-1]),
    case("slice_axis", IMAGE, axis=2, begin=1, end=-2),
    case("slice_axis", IMAGE, axis=-1, begin=3),
    case("split", IMAGE, outputs=3),
    case("split", (0, 2, 5), outputs=2, squeeze=True),
    case("pad", IMAGE, width=[0, 0, 1, 2, 0, 1, 3, 0], value=0.5),
    case("softmax", (0, 3, 5), temperature=2.0),
    case("log_softmax", IMAGE, axis=1),
    case("mean", IMAGE, axes=[2, -1], keepdims=True),
    case("sum", IMAGE, axes=[1]),
    case("max", (0, 3, 5), axes=[-1]),
    case("matmul", (0, 4, 3), (0, 4, 5), transpose_a=True),
    case("matmul", (0, 4, 3), (0, 5, 3), transpose_b=True),
    case("fake_quantize", IMAGE, constants=[()], bits=4),
    case("fake_quantize_dynamic", IMAGE, bits=4),
    case("fake_quantize", (0, 3, 5), constants=[(5,)], axis=2),
    case("quantize", IMAGE, scale=0.04),
    case("dequantize", IMAGE),
]  # fmt: skip
IDS = [f"{i}-{c[0]}" for i, c in enumerate(CASES)]


def build(case, seed=0):
    """(graph, inputs) of a case. Quantized activations are read back by a ``dequantize``."""
    op, shapes, constants, outputs, attrs = case
    rng = np.random.default_rng(seed)
    graph = Graph([Input(f"x{i}", s) for i, s in enumerate(shapes)], [], [], {}, name="case")
    arrays = {}
    for i in graph.inputs:
        shape = [n or 2 for n in i.shape]
        values = rng.normal(size=shape)
        if op in POSITIVE or op in ("rdiv_scalar",):
            values = np.abs(values) + 0.1
        if op == "embedding":
            values = rng.integers(0, 9, shape)
        arrays[i.name] = values.astype(np.float32)
    names = []
    for at, shape in enumerate(constants):
        data = rng.normal(size=shape)
        if (op, at) in (("batch_norm", 3), ("fake_quantize", 0)) or op == "div":
            data = np.abs(data) * 0.1 + 0.05
        names.append(f"c{at}")
        graph.constants[names[-1]] = Constant(np.asarray(data, np.float32))
    outs = ["y"] if outputs == 1 else [f"y{i}" for i in range(outputs)]
    inputs = [i.name for i in graph.inputs]
    if op == "dequantize":
        graph.nodes.append(Node("quantize", "q", inputs, ["codes"], {"scale": 0.04}))
        inputs = ["codes"]
    graph.nodes.append(Node(op, "node", inputs + names, outs, dict(attrs)))
    graph.outputs = outs
    if op == "quantize":
        graph.nodes.append(Node("dequantize", "real", outs, ["real"]))
        graph.outputs = ["real"]
    return graph, arrays
