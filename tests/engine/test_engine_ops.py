"""Every operator of the table in the engine against the interpreter: float32 and int8."""

from __future__ import annotations

import numpy as np
import pytest
from engine_graphs import check, floats, image, one_node, weight

from gluonzip.errors import GraphError, ShapeError, UnsupportedError
from gluonzip.graph import OPS, Constant, Graph, Input, Node, infer_types
from gluonzip.runtime import Engine, isas


@pytest.fixture
def rng():
    return np.random.default_rng(11)


both = pytest.mark.parametrize("quantized", [False, True])
ISAS = isas()


def scales(quantized, *values):
    return values if quantized else ()


# ---------------------------------------------------------------- convolution
CONVS = {
    "1x1": ((2, 16, 5, 5), (24, 16, 1, 1), {}),
    "1x1 strided": ((1, 8, 7, 6), (8, 8, 1, 1), {"stride": [2, 2]}),
    "3x3": ((2, 8, 9, 7), (16, 8, 3, 3), {"pad": [1, 1, 1, 1]}),
    "odd channels": ((1, 5, 8, 8), (7, 5, 3, 3), {"pad": [1, 1, 1, 1]}),
    "one channel": ((2, 1, 12, 12), (6, 1, 5, 5), {}),
    "first layer": ((1, 3, 23, 19), (20, 3, 7, 7), {"stride": [2, 2], "pad": [3, 3, 3, 3]}),
    "uneven pad": ((1, 4, 6, 6), (4, 4, 3, 2), {"pad": [0, 1, 2, 0], "stride": [2, 1]}),
    "dilated": ((1, 8, 12, 11), (8, 8, 3, 3), {"dilation": [2, 3], "pad": [2, 3, 2, 3]}),
    "dilated, one channel": ((1, 1, 12, 11), (4, 1, 3, 3), {"dilation": [2, 2]}),
    "groups": ((2, 16, 6, 6), (24, 4, 3, 3), {"groups": 4, "pad": [1, 1, 1, 1]}),
    "groups of 3": ((1, 12, 6, 6), (12, 3, 3, 3), {"groups": 4, "pad": [1, 1, 1, 1]}),
    "5 groups of 2 to 3": ((1, 10, 6, 6), (15, 2, 3, 3), {"groups": 5}),
    "6 groups of 1 to 2": ((1, 6, 6, 6), (12, 1, 3, 3), {"groups": 6}),
    "32 groups of 4": ((1, 128, 5, 6), (128, 4, 3, 3), {"groups": 32, "pad": [1, 1, 1, 1]}),
    "12 groups of 8 to 4": ((1, 96, 5, 4), (48, 8, 3, 3), {"groups": 12, "stride": [2, 2]}),
    "20 groups of 3 to 5": ((1, 60, 5, 4), (100, 3, 1, 1), {"groups": 20}),
    "8 groups of 2": ((1, 16, 5, 6), (16, 2, 3, 3), {"groups": 8, "pad": [1, 1, 1, 1]}),
    "3 groups of 2": ((1, 6, 5, 6), (6, 2, 3, 3), {"groups": 3, "pad": [1, 1, 1, 1]}),
    "9 groups of 8": ((2, 72, 7, 6), (72, 8, 3, 3), {"groups": 9, "stride": [2, 2]}),
    "3 groups of 32": (
        (1, 96, 5, 4), (96, 32, 3, 3), {"groups": 3, "dilation": [2, 2], "pad": [2] * 4}),
    "4 groups of 16": ((1, 64, 5, 4), (64, 16, 3, 3), {"groups": 4, "pad": [1, 1, 1, 1]}),
    "depthwise": ((2, 16, 9, 9), (16, 1, 3, 3), {"groups": 16, "pad": [1, 1, 1, 1]}),
    "depthwise, odd, strided": (
        (1, 13, 9, 8), (13, 1, 3, 3), {"groups": 13, "stride": [2, 2], "pad": [1, 1, 1, 1]}),
    "tall": ((1, 8, 9, 9), (8, 8, 7, 1), {"pad": [3, 0, 3, 0]}),
}  # fmt: skip


@both
@pytest.mark.parametrize("case", CONVS)
def test_conv2d(rng, case, quantized):
    shape, w, attrs = CONVS[case]
    constants = {"w": weight(rng, *w, quantized=quantized), "b": floats(rng, w[0])}
    tail = {"out_scale": 0.04} if quantized else {}
    graph = one_node("conv2d", [shape], constants, {**attrs, **tail}, scales(quantized, 0.02))
    for threads in (1, 2):
        check(graph, image(rng, *shape), threads=threads)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(
    "case", ["3x3", "odd channels", "groups of 3", "32 groups of 4", "depthwise, odd, strided"]
)
def test_conv2d_int8_on_every_isa(rng, case, isa):
    shape, w, attrs = CONVS[case]
    constants = {"w": weight(rng, *w, quantized=True), "b": floats(rng, w[0])}
    attrs = {**attrs, "act": "leaky_relu", "act_slope": 0.1, "out_scale": 0.03}
    graph = one_node("conv2d", [shape], constants, attrs, (0.02,))
    check(graph, image(rng, *shape), isa=isa, threads=2)


ACTS = {
    "none": {},
    "relu": {"act": "relu"},
    "relu6": {"act": "clip", "act_min": 0.0, "act_max": 6.0},
    "clip": {"act": "clip", "act_min": -0.37, "act_max": 0.81},
    "leaky": {"act": "leaky_relu", "act_slope": 0.3},
}


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("out_scale", [None, 0.021])
@pytest.mark.parametrize("residual", [None, "float32", "int8"])
def test_conv2d_epilogue(rng, act, out_scale, residual):
    shape, w = (2, 8, 6, 6), (12, 8, 3, 3)
    shapes = [shape] if residual is None else [shape, (2, 12, 4, 4)]
    x_scales = (0.02, 0.017 if residual == "int8" else None)
    constants = {"w": weight(rng, *w, quantized=True), "b": floats(rng, 12)}
    graph = one_node("conv2d", shapes, constants, {**ACTS[act], "out_scale": out_scale}, x_scales)
    if out_scale is None:
        del graph.nodes[-1].attrs["out_scale"]
    if residual:  # x, weight, bias, residual
        x, r, w, b = graph.nodes[-1].inputs
        graph.nodes[-1].inputs = [x, w, b, r]
    check(graph, *(image(rng, *s) for s in shapes), exact=True)


@both
def test_conv2d_without_bias_and_with_one_scale(rng, quantized):
    w = weight(rng, 8, 4, 3, 3, quantized=quantized, per_channel=False)
    graph = one_node("conv2d", [(1, 4, 5, 5)], {"w": w}, {}, scales(quantized, 0.02))
    check(graph, image(rng, 1, 4, 5, 5), exact=quantized)


def test_conv2d_on_float_input_takes_a_quantized_weight_for_its_values(rng):
    w = weight(rng, 8, 4, 3, 3, quantized=True)
    check(one_node("conv2d", [(1, 4, 5, 5)], {"w": w}), image(rng, 1, 4, 5, 5))


def test_conv2d_on_int8_input_with_a_float_weight(rng):
    graph = one_node("conv2d", [(1, 4, 5, 5)], {"w": weight(rng, 8, 4, 3, 3)}, {}, (0.02,))
    check(graph, image(rng, 1, 4, 5, 5))


def test_conv2d_float_to_int8_is_within_one_step(rng):
    graph = one_node("conv2d", [(1, 4, 5, 5)], {"w": weight(rng, 8, 4, 3, 3)}, {"out_scale": 0.02})
    check(graph, image(rng, 1, 4, 5, 5), exact=False, rtol=1.5 / 127)


TRANSPOSED = {
    "2x": ((2, 8, 5, 4), (8, 6, 4, 4), {"stride": [2, 2], "pad": [1, 1, 1, 1]}),
    "output pad": (
        (1, 4, 5, 5), (4, 3, 3, 3), {"stride": [2, 2], "pad": [1, 1, 1, 1], "output_pad": [1, 1]}),
    "groups": ((1, 8, 5, 5), (8, 3, 3, 3), {"groups": 2, "stride": [3, 2]}),
    "dilated, deep pad": ((1, 4, 7, 7), (4, 4, 2, 2), {"dilation": [2, 1], "pad": [3, 2, 3, 2]}),
    "depthwise": ((1, 8, 5, 5), (8, 1, 4, 4), {"groups": 8, "stride": [2, 2], "pad": [1, 1, 1, 1]}),
    "stride 1": ((2, 5, 6, 5), (5, 7, 3, 3), {"pad": [1, 0, 1, 2]}),
    "stride above the kernel": ((1, 6, 4, 3), (6, 5, 2, 1), {"stride": [3, 4]}),
    "uneven strides and pads": (
        (2, 8, 4, 5), (8, 9, 5, 4), {"stride": [3, 2], "pad": [2, 0, 1, 3], "output_pad": [2, 1]}),
    "deep pad": ((1, 4, 7, 7), (4, 4, 2, 2), {"stride": [2, 2], "pad": [5, 4] * 2}),
    "8x, one column": ((1, 12, 3, 1), (12, 3, 16, 16), {"stride": [8, 8], "pad": [4, 4, 4, 4]}),
    "more phases than are worth it": ((1, 3, 2, 2), (3, 2, 18, 18), {"stride": [9, 9]}),
    "fewer outputs than phases": ((1, 4, 1, 1), (4, 3, 2, 2), {"stride": [4, 4]}),
}  # fmt: skip


@both
@pytest.mark.parametrize("case", TRANSPOSED)
def test_conv_transpose2d(rng, case, quantized):
    shape, w, attrs = TRANSPOSED[case]
    constants = {
        "w": weight(rng, *w, quantized=quantized, axis=1),
        "b": floats(rng, w[1] * attrs.get("groups", 1)),
    }
    tail = {"out_scale": 0.05} if quantized else {}
    graph = one_node(
        "conv_transpose2d", [shape], constants, {**attrs, **tail}, scales(quantized, 0.02)
    )
    check(graph, image(rng, *shape), threads=2)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("residual", [False, True])
def test_conv_transpose2d_int8_on_every_isa(rng, isa, residual):
    shape, w, attrs = TRANSPOSED["uneven strides and pads"]
    attrs = {**attrs, "act": "leaky_relu", "act_slope": 0.1, "out_scale": 0.03}
    constants = {"w": weight(rng, *w, quantized=True, axis=1), "b": floats(rng, w[1])}
    graph = one_node("conv_transpose2d", [shape], constants, attrs, (0.02,))
    arrays = [image(rng, *shape)]
    if residual:
        out = infer_types(graph, {"x0": shape})["y"].shape
        graph = one_node("conv_transpose2d", [shape, out], constants, attrs, (0.02, 0.04))
        x, r, weights, bias = graph.nodes[-1].inputs
        graph.nodes[-1].inputs = [x, weights, bias, r]
        arrays.append(image(rng, *out))
    check(graph, *arrays, isa=isa, threads=2)


@both
def test_conv_transpose2d_writes_into_a_concat(rng, quantized):
    tail = {"out_scale": 0.03} if quantized else {}
    nodes = [Node("quantize", "q", ["x"], ["qx"], {"scale": 0.02})] if quantized else []
    source = "qx" if quantized else "x"
    up = {"stride": [2, 2], "pad": [1, 1, 1, 1], **tail}
    nodes += [
        Node("conv_transpose2d", "a", [source, "w0"], ["ya"], dict(up)),
        Node("conv_transpose2d", "b", [source, "w1"], ["yb"], dict(up)),
        Node("concat", "cat", ["ya", "yb"], ["y"], dict(tail)),
    ]
    constants = {
        "w0": weight(rng, 6, 8, 4, 4, quantized=quantized, axis=1),
        "w1": weight(rng, 6, 5, 4, 4, quantized=quantized, axis=1),
    }
    graph = Graph([Input("x", (0, 6, 5, 4))], ["y"], nodes, constants)
    check(graph, image(rng, 2, 6, 5, 4), threads=2)


# ---------------------------------------------------------------- dense
DENSE = {
    "rows": ((5, 16), (8, 16), {}),
    "one odd row": ((1, 37), (11, 37), {}),
    "image": ((2, 8, 3, 3), (10, 72), {}),
    "image of odd channels": ((3, 6, 4, 4), (10, 96), {}),
    "rank 3 flattened": ((2, 3, 5), (7, 15), {}),
    "rank 3": ((2, 3, 8), (7, 8), {"flatten": False}),
    "rank 3, odd": ((2, 3, 7), (5, 7), {"flatten": False}),
    "rank 4": ((2, 3, 4, 6), (5, 6), {"flatten": False}),
    "rank 1": ((6,), (5, 6), {"flatten": False}),
}


@both
@pytest.mark.parametrize("case", DENSE)
def test_dense(rng, case, quantized):
    shape, w, attrs = DENSE[case]
    constants = {"w": weight(rng, *w, quantized=quantized), "b": floats(rng, w[0])}
    for out_scale in (None, 0.05) if quantized else (None,):
        tail = {} if out_scale is None else {"out_scale": out_scale}
        graph = one_node("dense", [shape], constants, {**attrs, **tail}, scales(quantized, 0.02))
        check(graph, image(rng, *shape), threads=2, exact=quantized)


@both
@pytest.mark.parametrize(
    ("shape", "flatten"), [((4, 8), True), ((2, 3, 8), False), ((1, 2, 3, 8), False)]
)
def test_dense_with_a_residual(rng, shape, flatten, quantized):
    out = (*shape[:-1], 6)
    graph = one_node(
        "dense", [shape, out], {"w": weight(rng, 6, 8, quantized=quantized), "b": floats(rng, 6)},
        {"flatten": flatten, "act": "relu"}, scales(quantized, 0.02, 0.03),
    )  # fmt: skip
    x, r, w, b = graph.nodes[-1].inputs
    graph.nodes[-1].inputs = [x, w, b, r]
    check(graph, image(rng, *shape), image(rng, *out))


@both
@pytest.mark.parametrize("between", ["flatten", "reshape", "relu"])
def test_flatten_before_dense_is_free(rng, between, quantized):
    """C = 6 has pad lanes, and relu stands between flatten and dense."""
    nodes = [Node("quantize", "q", ["x"], ["qx"], {"scale": 0.02})] if quantized else []
    source = "qx" if quantized else "x"
    if between == "reshape":
        nodes.append(Node("reshape", "r", [source], ["f"], {"shape": [0, -1]}))
    else:
        nodes.append(Node("flatten", "f", [source], ["f"]))
    if between == "relu":
        nodes.append(Node("relu", "relu", ["f"], ["g"]))
    nodes.append(Node("dense", "fc", ["g" if between == "relu" else "f", "w"], ["y"]))
    graph = Graph(
        [Input("x", (0, 6, 3, 4))], ["y"], nodes, {"w": weight(rng, 5, 72, quantized=quantized)}
    )
    x = image(rng, 2, 6, 3, 4)
    check(graph, x)
    rows = {row["name"] for row in Engine.from_graph(graph, threads=1).profile(x, repeat=1)}
    assert not {"f", "r"} & rows


# ---------------------------------------------------------------- pools
POOLS = {
    "2x2": {"kernel": [2, 2], "stride": [2, 2]},
    "3x3": {"kernel": [3, 3], "stride": [2, 2], "pad": [1, 1, 1, 1]},
    "ceil": {"kernel": [3, 3], "stride": [2, 2], "ceil_mode": True},
    "ceil, pad": {"kernel": [3, 3], "stride": [2, 3], "pad": [1, 0, 1, 1], "ceil_mode": True},
    "uneven": {"kernel": [2, 3], "stride": [1, 2], "pad": [0, 1, 1, 0]},
}


@both
@pytest.mark.parametrize("op", ["max_pool", "avg_pool", "avg_pool_inside"])
@pytest.mark.parametrize("case", POOLS)
@pytest.mark.parametrize("channels", [5, 64])
def test_pool(rng, case, op, channels, quantized):
    attrs = dict(POOLS[case])
    if op == "avg_pool_inside":
        op, attrs["count_pad"] = "avg_pool", False
    for out_scale in (None, 0.013) if op == "avg_pool" else (None,):
        tail = {} if out_scale is None else {"out_scale": out_scale}
        graph = one_node(op, [(2, channels, 9, 8)], {}, {**attrs, **tail}, scales(quantized, 0.02))
        # Averages of floats may round to either side of a tie.
        exact = None if quantized or out_scale is None else False
        check(
            graph,
            image(rng, 2, channels, 9, 8),
            threads=2,
            exact=exact,
            rtol=1e-5 if exact is None else 1.5 / 127,
        )


@both
@pytest.mark.parametrize("op", ["global_max_pool", "global_avg_pool"])
def test_global_pool(rng, op, quantized):
    tail = {"out_scale": 0.01} if quantized and op == "global_avg_pool" else {}
    for channels in (6, 200):
        graph = one_node(op, [(2, channels, 5, 7)], {}, tail, scales(quantized, 0.02))
        check(graph, image(rng, 2, channels, 5, 7), threads=2)


# ---------------------------------------------------------------- element-wise
PARAMETERS = {
    "clip": {"min": -0.5, "max": 1.1}, "add_scalar": {"value": 0.7}, "mul_scalar": {"value": -1.3},
    "rsub_scalar": {"value": 0.7}, "rdiv_scalar": {"value": 0.7}, "pow_scalar": {"value": 2.0},
    "max_scalar": {"value": 0.1}, "min_scalar": {"value": 0.1},
}  # fmt: skip
POSITIVE = {"log", "sqrt", "rsqrt", "rdiv_scalar"}
UNARY = [
    name
    for name, spec in OPS.items()
    if spec.inputs == ("x",) and "out_scale" in spec.attrs and spec.shape is OPS["relu"].shape
]


def test_the_list_of_unary_operators_is_not_empty():
    assert {"relu", "tanh", "hard_swish", "clip", "elu"} <= set(UNARY)


@pytest.mark.parametrize("op", UNARY)
def test_unary_float(rng, op):
    graph = one_node(op, [(2, 6, 3, 3)], {}, PARAMETERS.get(op, {}))
    x = image(rng, 2, 6, 3, 3)
    check(graph, np.abs(x) + 0.1 if op in POSITIVE else x, rtol=2e-6)


@pytest.mark.parametrize("op", UNARY)
@pytest.mark.parametrize("shape", [(2, 6, 3, 3), (3, 16), (2, 3, 5)])
def test_unary_int8_goes_through_an_exact_table(rng, op, shape):
    if op in POSITIVE:
        pytest.skip("not defined at code 0")
    graph = one_node(op, [shape], {}, {**PARAMETERS.get(op, {}), "out_scale": 0.03}, (0.02,))
    check(graph, image(rng, *shape), threads=2)


def test_relu_on_codes_keeps_the_scale(rng):
    check(one_node("relu", [(2, 6, 3, 3)], {}, {}, (0.02,)), image(rng, 2, 6, 3, 3))


def test_unary_int8_to_float(rng):
    check(one_node("sigmoid", [(2, 6, 3, 3)], {}, {}, (0.02,)), image(rng, 2, 6, 3, 3), rtol=1e-6)


BROADCASTS = {
    "equal": ((2, 6, 3, 3), (2, 6, 3, 3)),
    "equal rank 3": ((2, 6, 3), (2, 6, 3)),
    "equal rows": ((4, 8), (4, 8)),
    "per channel": ((2, 6, 3, 3), (2, 6, 1, 1)),
    "per channel first": ((2, 8, 1, 1), (2, 8, 4, 3)),
    "constant-like": ((2, 6, 3, 3), (1, 6, 1, 1)),
    "ranks": ((2, 6, 3, 3), (3, 1)),
    "scalar": ((5, 7), (1,)),
}


@pytest.mark.parametrize("op", ["add", "sub", "mul", "div", "maximum", "minimum"])
@pytest.mark.parametrize("case", BROADCASTS)
def test_binary_float(rng, op, case):
    shapes = list(BROADCASTS[case])
    b = image(rng, *shapes[1])
    check(one_node(op, shapes), image(rng, *shapes[0]), np.abs(b) + 0.5, rtol=1e-6)


@pytest.mark.parametrize("op", ["add", "sub", "mul", "maximum", "minimum"])
@pytest.mark.parametrize("case", BROADCASTS)
@pytest.mark.parametrize("x_scales", [(0.02, 0.03), (0.02, None), (None, 0.03)])
def test_binary_int8(rng, op, case, x_scales):
    shapes = list(BROADCASTS[case])
    graph = one_node(op, shapes, {}, {"out_scale": 0.037}, x_scales)
    check(graph, *(image(rng, *s) for s in shapes), threads=2)


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("tail", [{}, {"out_scale": 0.037}])
@pytest.mark.parametrize("x_scales", [(0.02, 0.03), ()])
def test_add_activation(rng, act, tail, x_scales):
    shape = (2, 6, 3, 3)
    graph = one_node("add", [shape, shape], {}, {**ACTS[act], **tail}, x_scales)
    check(graph, image(rng, *shape), image(rng, *shape))


@pytest.mark.parametrize("op", ["add", "mul"])
@pytest.mark.parametrize("out_scale", [None, 0.011])
@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(
    "shapes",
    [((2, 70, 5, 3), (2, 70, 1, 1)), ((1, 9, 5, 3), (1, 1, 5, 3)), ((2, 300), (1,)),
     ((2, 1, 4), (3, 1)), ((1, 6, 1, 1), (2, 6, 3, 3)), ((1, 1), (1, 1))],
)  # fmt: skip
def test_int8_operands_that_broadcast_give_the_interpreters_codes(rng, op, out_scale, isa, shapes):
    attrs = {} if out_scale is None else {"out_scale": out_scale}
    if op == "add":
        attrs |= ACTS["leaky"]
    graph = one_node(op, shapes, {}, attrs, (0.02, 0.013))
    check(graph, *(image(rng, *s) for s in shapes), isa=isa, threads=2, exact=True)


@pytest.mark.parametrize("shape", [(6, 1, 1), (1, 6, 1, 1), (2, 6, 3, 3)])
def test_a_constant_operand(rng, shape):
    graph = one_node("mul", [(2, 6, 3, 3)], {"c": floats(rng, *shape)})
    check(graph, image(rng, 2, 6, 3, 3), rtol=1e-6)


# ---------------------------------------------------------------- normalization
@pytest.mark.parametrize(
    ("shape", "axis"), [((2, 6, 3, 3), 1), ((3, 6), 1), ((2, 3, 6), -1), ((2, 5, 3, 6), 3)]
)
def test_batch_norm(rng, shape, axis):
    n = shape[axis]
    constants = {k: floats(rng, n) for k in ("gamma", "beta", "mean")}
    constants["var"] = Constant(rng.uniform(0.1, 2, n).astype("float32"))
    check(
        one_node("batch_norm", [shape], constants, {"axis": axis, "eps": 1e-3}), image(rng, *shape)
    )


@both
@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize(("shape", "axis"), [((2, 6, 3, 3), 1), ((3, 8), 1), ((2, 3, 6), 2)])
def test_scale_shift(rng, act, shape, axis, quantized):
    constants = {"scale": floats(rng, shape[axis]), "shift": floats(rng, shape[axis])}
    for tail in ({}, {"out_scale": 0.03}):
        attrs = {"axis": axis, **ACTS[act], **tail}
        graph = one_node("scale_shift", [shape], constants, attrs, scales(quantized, 0.02))
        check(graph, image(rng, *shape), threads=2)


@pytest.mark.parametrize("axis", [-1, 1])
def test_layer_norm(rng, axis):
    shape = (2, 5, 8)
    constants = {"gamma": floats(rng, shape[axis]), "beta": floats(rng, shape[axis])}
    check(one_node("layer_norm", [shape], constants, {"axis": axis}), image(rng, *shape))


@pytest.mark.parametrize("mode", ["instance", "channel", "spatial"])
def test_l2_normalize(rng, mode):
    check(one_node("l2_normalize", [(2, 6, 3, 4)], {}, {"mode": mode}), image(rng, 2, 6, 3, 4))


@pytest.mark.parametrize("channels", [6, 1])
def test_prelu(rng, channels):
    graph = one_node("prelu", [(2, 6, 3, 3)], {"slope": floats(rng, channels)}, {}, (0.02,))
    check(graph, image(rng, 2, 6, 3, 3), rtol=1e-6)


@pytest.mark.parametrize("op", ["softmax", "log_softmax"])
@pytest.mark.parametrize("axis", [-1, 1, 0])
def test_softmax(rng, op, axis):
    attrs = {"axis": axis, "temperature": 2.0}
    check(one_node(op, [(3, 5, 7)], {}, attrs), 4 * image(rng, 3, 5, 7))


# ---------------------------------------------------------------- shape
@both
@pytest.mark.parametrize("channels", [(4, 8, 3), (3, 4, 5), (8,), (2, 1), (16, 16)])
def test_concat_of_channels(rng, channels, quantized):
    shapes = [(2, c, 3, 3) for c in channels]
    tail = {"out_scale": 0.02} if quantized else {}
    graph = one_node(
        "concat", shapes, {}, tail, scales(quantized, *([0.02, 0.03] * 3)[: len(shapes)])
    )
    check(graph, *(image(rng, *s) for s in shapes), threads=2)


@both
@pytest.mark.parametrize(
    ("shapes", "axis"),
    [
        ([(2, 6), (2, 3)], 1),
        ([(2, 6), (1, 6)], 0),
        ([(2, 3, 4, 5), (2, 3, 4, 2)], 3),
        ([(2, 3, 4), (2, 2, 4)], -2),
    ],
)
def test_concat_along_other_axes(rng, shapes, axis, quantized):
    attrs = {"axis": axis, **({"out_scale": 0.02} if quantized else {})}
    graph = one_node("concat", shapes, {}, attrs, scales(quantized, 0.02, 0.05))
    check(graph, *(image(rng, *s) for s in shapes))


SHAPES = {
    "flatten": ("flatten", (2, 6, 3, 4), {}),
    "flatten aligned": ("flatten", (2, 8, 1, 1), {}),
    "flatten rank 3": ("flatten", (2, 3, 4), {}),
    "reshape to rank 3": ("reshape", (2, 6, 3, 4), {"shape": [0, 0, -1]}),
    "reshape codes": ("reshape", (2, 6, 3, 4), {"shape": [-4, 1, 2, -3, -2]}),
    "reshape to image": ("reshape", (2, 24), {"shape": [0, 6, 2, 2]}),
    "identity": ("identity", (2, 6, 3, 4), {}),
    "expand_dims": ("expand_dims", (2, 6), {"axis": 1}),
    "expand_dims last": ("expand_dims", (2, 6, 3), {"axis": -1}),
    "squeeze": ("squeeze", (2, 1, 3, 1), {}),
    "squeeze axes": ("squeeze", (2, 6, 1, 1), {"axes": [2, 3]}),
    "transpose": ("transpose", (2, 6, 3, 4), {"axes": [0, 2, 3, 1]}),
    "transpose rank 3": ("transpose", (2, 3, 4), {"axes": [2, 0, 1]}),
    "slice": ("slice_axis", (2, 6, 3, 4), {"axis": 1, "begin": 1, "end": 5}),
    "slice from the end": ("slice_axis", (2, 6, 3), {"axis": -1, "begin": -2}),
    "slice aligned": ("slice_axis", (2, 16, 3, 4), {"axis": 1, "begin": 4, "end": 11}),
    "slice rows": ("slice_axis", (2, 6, 5, 4), {"axis": 2, "begin": 1, "end": 4}),
    "slice columns": ("slice_axis", (2, 6, 5, 7), {"axis": 3, "begin": -3}),
    "slice images": ("slice_axis", (3, 6, 5, 4), {"axis": 0, "begin": 1}),
    "slice rank 2": ("slice_axis", (3, 9), {"axis": 1, "begin": 4}),
    "pad": ("pad", (2, 3, 4, 4), {"width": [0, 0, 0, 0, 1, 2, 3, 0]}),
    "pad columns": ("pad", (2, 8, 4, 4), {"width": [0, 0, 0, 0, 0, 0, 1, 1]}),
    "pad channels": ("pad", (2, 3, 4, 4), {"width": [0, 1, 2, 0, 1, 0, 0, 0]}),
    "pad rank 3": ("pad", (2, 3, 4), {"width": [0, 0, 1, 0, 0, 2]}),
    "transpose two blocks": ("transpose", (2, 2, 3, 4, 5), {"axes": [0, 2, 1, 3, 4]}),
    "upsample": ("upsample", (2, 6, 3, 4), {"factor": 3}),
    "upsample one": ("upsample", (1, 64, 1, 1), {"factor": 2}),
    "max of pixels": ("max", (2, 6, 3, 4), {"axes": [2, 3]}),
    "max of channels": ("max", (2, 6, 3, 4), {"axes": [1], "keepdims": True}),
    "max": ("max", (2, 6, 3), {}),
}


@both
@pytest.mark.parametrize("case", SHAPES)
def test_moving_elements(rng, case, quantized):
    op, shape, attrs = SHAPES[case]
    for threads in (1, 2):
        graph = one_node(op, [shape], {}, attrs, scales(quantized, 0.02))
        check(graph, image(rng, *shape), exact=True, threads=threads)


@both
@pytest.mark.parametrize("channels", [8, 12, 6])
def test_slices_between_layers(rng, channels, quantized):
    """Slices are views of their source: nobody may write into it, whatever lies beside them."""
    half = channels // 2
    tail = {"out_scale": 0.03} if quantized else {}
    nodes = [Node("quantize", "q", ["x"], ["qx"], {"scale": 0.02})] if quantized else []
    nodes += [
        Node("conv2d", "c0", ["qx" if quantized else "x", "w0"], ["a"], dict(tail)),
        Node("split", "s", ["a"], ["left", "right"], {"axis": 1}),
        Node("slice_axis", "t", ["a"], ["some"], {"axis": 1, "begin": 1, "end": 1 + half}),
        Node("conv2d", "c1", ["left", "w1"], ["b"], {"pad": [1, 1, 1, 1], **tail}),
        Node("conv2d", "c2", ["right", "w2"], ["c"], dict(tail)),
        Node("conv2d", "c3", ["some", "w2"], ["d"], dict(tail)),
        Node("concat", "cat", ["right", "b", "left", "some", "c", "d"], ["y"], dict(tail)),
        Node("add", "sum", ["left", "right"], ["z"], dict(tail)),
    ]
    constants = {
        "w0": weight(rng, channels, 3, 1, 1, quantized=quantized),
        "w1": weight(rng, half, half, 3, 3, quantized=quantized),
        "w2": weight(rng, half, half, 1, 1, quantized=quantized),
    }
    graph = Graph([Input("x", (0, 3, 5, 4))], ["y", "z", "left"], nodes, constants)
    for threads in (1, 2):
        check(graph, image(rng, 2, 3, 5, 4), threads=threads)


AVERAGED = {
    "mean of pixels": ("mean", {"axes": [2, 3]}),
    "mean of pixels, kept": ("mean", {"axes": [-1, 2], "keepdims": True}),
    "mean of channels": ("mean", {"axes": [1], "keepdims": True}),
    "mean": ("mean", {}),
    "adaptive": ("adaptive_avg_pool", {"output": [3, 2]}),
    "adaptive, larger": ("adaptive_avg_pool", {"output": [9, 5]}),
    "bilinear": ("resize_bilinear", {"size": [9, 11]}),
    "bilinear, half pixels": ("resize_bilinear", {"size": [9, 3], "align_corners": False}),
    "bilinear to one": ("resize_bilinear", {"size": [1, 4]}),
}


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("channels", [5, 70])
@pytest.mark.parametrize("out_scale", [None, 0.013])
@pytest.mark.parametrize("case", AVERAGED)
def test_weighted_means_of_codes_are_exact(rng, case, out_scale, channels, isa):
    op, attrs = AVERAGED[case]
    attrs = attrs if out_scale is None else {**attrs, "out_scale": out_scale}
    graph = one_node(op, [(2, channels, 7, 6)], {}, attrs, (0.02,))
    check(graph, image(rng, 2, channels, 7, 6), threads=2, isa=isa, exact=True)


@pytest.mark.parametrize("case", AVERAGED)
def test_weighted_means_of_floats(rng, case):
    op, attrs = AVERAGED[case]
    x = image(rng, 2, 5, 7, 6)
    check(one_node(op, [x.shape], {}, attrs), x, threads=2)
    check(one_node(op, [x.shape], {}, {**attrs, "out_scale": 0.02}), x, exact=False, rtol=1.5 / 127)


def test_pad_with_a_value(rng):
    graph = one_node("pad", [(2, 3)], {}, {"width": [1, 0, 0, 2], "value": -1.5})
    check(graph, image(rng, 2, 3), exact=True)


@both
@pytest.mark.parametrize("rank", [2, 3, 4])
@pytest.mark.parametrize(("axis", "squeeze"), [(1, False), (1, True), (0, True), (-1, False)])
def test_split(rng, axis, squeeze, rank, quantized):
    shape = [4] * rank
    shape[axis] = 2 if squeeze else 4
    attrs = {"axis": axis, "squeeze": squeeze}
    graph = one_node(
        "split", [tuple(shape)], {}, attrs, scales(quantized, 0.02), outputs=("y", "z")
    )
    check(graph, image(rng, *shape), exact=True)


@pytest.mark.parametrize("op", ["mean", "sum", "max"])
@pytest.mark.parametrize(
    ("axes", "keepdims"), [([], False), ([2, 3], True), ([1], False), ([-1, 0], False)]
)
def test_reduce(rng, op, axes, keepdims):
    attrs = {"axes": axes, "keepdims": keepdims}
    check(one_node(op, [(2, 6, 3, 4)], {}, attrs), image(rng, 2, 6, 3, 4))


@pytest.mark.parametrize("shape", [(5,), (3, 17), (2, 6, 9), (3, 37, 5, 7), (2, 3, 4, 5, 2)])
def test_peak(rng, shape):
    check(one_node("peak", [shape], {}, {}), image(rng, *shape), exact=True)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_peak_tells_of_values_that_are_not_finite(value):
    x = np.ones((2, 3, 4, 5), np.float32)
    x[1, 2, 3, 4] = value
    peaks = Engine.from_graph(one_node("peak", [x.shape], {}, {}))(x)
    assert peaks[0].tolist() == [0, 1]
    assert not np.isfinite(peaks[1]).all()


@pytest.mark.parametrize(
    ("a", "b", "ta", "tb"),
    [
        ((3, 4), (4, 5), False, False),
        ((2, 4, 3), (2, 4, 5), True, False),
        ((2, 3, 4), (1, 5, 4), False, True),
        ((4, 3), (2, 2, 4, 5), True, False),
        ((3, 37, 70), (3, 65, 70), False, True),
        ((2, 70, 37), (2, 70, 131), True, False),
        ((1, 9), (9, 1), False, False),
    ],
)
def test_matmul(rng, a, b, ta, tb):
    graph = one_node("matmul", [a, b], {}, {"transpose_a": ta, "transpose_b": tb})
    check(graph, image(rng, *a), image(rng, *b))


@both
def test_embedding(rng, quantized):
    graph = one_node("embedding", [(3, 4)], {"w": weight(rng, 10, 6, quantized=quantized)})
    check(graph, rng.uniform(-2, 12, (3, 4)).astype("float32"), exact=True)


def test_upsample(rng):
    check(one_node("upsample", [(2, 3, 4, 5)], {}, {"factor": 3}), image(rng, 2, 3, 4, 5))


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize("size", [[7, 3], [1, 9]])
def test_resize_bilinear(rng, size, align_corners):
    attrs = {"size": size, "align_corners": align_corners}
    check(one_node("resize_bilinear", [(2, 3, 4, 5)], {}, attrs), image(rng, 2, 3, 4, 5))


def test_adaptive_avg_pool(rng):
    check(
        one_node("adaptive_avg_pool", [(2, 3, 7, 5)], {}, {"output": [3, 2]}),
        image(rng, 2, 3, 7, 5),
    )


# ---------------------------------------------------------------- quantization
@pytest.mark.parametrize("shape", [(2, 6, 3, 3), (2, 3, 33, 31), (3, 8), (3, 7), (2, 3, 5), (6,)])
def test_quantize_and_back(rng, shape):
    x = image(rng, *shape) * 2
    x.flat[:4] = 0.01, 0.03, -0.05, 100  # ties of scale 0.02, and out of range
    check(one_node("quantize", [shape], {}, {"scale": 0.02}), x)
    check(one_node("dequantize", [shape], {}, {}, (0.02,)), x, exact=True)
    check(one_node("quantize", [shape], {}, {"scale": 0.03}, (0.02,)), x)


@pytest.mark.parametrize("scale", [np.float32(0.02), np.float32([0.01, 0.02, 0.03])])
def test_fake_quantize(rng, scale):
    attrs = {"bits": 4, "axis": 1}
    graph = one_node("fake_quantize", [(2, 3, 4)], {"s": Constant(np.asarray(scale))}, attrs)
    check(graph, image(rng, 2, 3, 4) / 10, exact=True)


# ---------------------------------------------------------------- coverage and errors
@pytest.mark.parametrize("op", [name for name in OPS if name != "opaque"])
def test_every_operator_of_the_table_is_there(op):
    """A made-up node may be refused for its inputs, but never as unknown."""
    some = {"float": 1.0, "int": 1, "ints": [1, 1]}
    attrs = {name: some[OPS[op].type_of(name)] for name in OPS[op].required}
    node = Node(op, "n", ["x"] * len(OPS[op].inputs), ["y"], attrs)
    try:
        Engine.from_graph(Graph([Input("x", (1, 1))], ["y"], [node], {}))
        refusal = ""
    except (GraphError, ShapeError, UnsupportedError) as error:
        refusal = str(error)
    assert "has no operator" not in refusal


IMAGE = (1, 3, 8, 8)


@pytest.mark.parametrize(
    ("op", "shapes", "constants", "attrs", "message"),
    [
        ("conv2d", [IMAGE], {"w": (4, 5, 3, 3)}, {}, "has 3 channels, the weight needs 5"),
        ("conv2d", [(1, 3, 8)], {"w": (4, 3, 3, 3)}, {}, r"\(1, 3, 8\) must have four axes"),
        ("conv2d", [IMAGE], {"w": (4, 3, 3, 3), "b": (5,)}, {}, r"\(5,\) must have shape \(4,\)"),
        ("dense", [(1, 7)], {"w": (4, 8)}, {}, "has 7 features, the weight needs 8"),
        ("add", [(2, 3), (2, 4)], {}, {}, r"\(2, 3\) and \(2, 4\) do not broadcast"),
        ("concat", [(2, 3), (3, 3)], {}, {}, "differ outside axis 1"),
        ("reshape", [(2, 3)], {}, {"shape": [4, -1]}, r"\(4, -1\) does not fit"),
        ("transpose", [(2, 3)], {}, {"axes": [0, 0]}, "do not permute"),
        ("max_pool", [(1, 3, 2, 2)], {}, {"kernel": [3, 3]}, "kernel of 3"),
        ("softmax", [(2, 3)], {}, {"axis": 2}, "axis 2"),
    ],
)
def test_shapes_that_do_not_fit_name_the_node(op, shapes, constants, attrs, message):
    constants = {k: Constant(np.zeros(s, "float32")) for k, s in constants.items()}
    with pytest.raises(ShapeError, match=f"{op} 'node'.*{message}"):
        Engine.from_graph(one_node(op, shapes, constants, attrs))


def test_a_computed_weight_is_refused_by_name():
    with pytest.raises(UnsupportedError, match=r"conv2d 'node'.*constant weight.*'x1' is computed"):
        Engine.from_graph(one_node("conv2d", [(1, 3, 8, 8), (4, 3, 3, 3)]))
