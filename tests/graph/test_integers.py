"""Integer arithmetic, to the bit, against a slow transcription of the head of ops.py."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gluonzip.graph import Constant, Graph, Input, Node, infer_types, interpret, validate

f32, f64 = np.float32, np.float64
EXAMPLES = settings(max_examples=25, deadline=None, derandomize=True)


def codes(rng, *shape: int) -> np.ndarray:
    return rng.integers(-127, 128, shape).astype(np.int8)


def run(op: str, attrs: dict, *operands) -> np.ndarray:
    """The output of one node. An operand is (codes, scale), float32 values, a Constant or None."""
    graph = Graph([], ["y"], [], {})
    names, arrays = [], {}
    for at, operand in enumerate(operands):
        name = "" if operand is None else f"x{at}"
        if isinstance(operand, Constant):
            graph.constants[name] = operand
        elif isinstance(operand, tuple):
            codes, scale = operand
            # The quantize node gives back exactly these codes.
            arrays[name] = codes.astype(f32) * f32(scale)
            graph.nodes.append(Node("quantize", f"{name}q", [name], [f"{name}q"], {"scale": scale}))
            name += "q"
        elif operand is not None:
            arrays[name] = operand
        names.append(name)
    graph.inputs = [Input(name, (0,) * array.ndim) for name, array in arrays.items()]
    graph.nodes.append(Node(op, "node", names, ["y"], attrs))
    validate(graph)
    (y,) = interpret(graph, arrays)
    types = infer_types(graph, {name: array.shape for name, array in arrays.items()})
    assert (types["y"].shape, types["y"].dtype) == (y.shape, y.dtype.name)
    return y


def with_scale(attrs: dict, so: float | None) -> dict:
    return attrs if so is None else {**attrs, "out_scale": so}


def act(y, attrs, so):
    if attrs.get("act") == "relu":
        return np.maximum(y, f32(0))
    if attrs.get("act") == "clip":
        low, high = (f32(f64(attrs[k]) / f64(so)) for k in ("act_min", "act_max"))
        return np.minimum(np.maximum(y, low), high)
    if attrs.get("act") == "leaky_relu":
        return np.where(y < 0, y * f32(attrs["act_slope"]), y)
    return y


def epilogue(acc, sx, sw, so, bias, residual, sr, attrs):
    """acc (..., channels last); everything one float32 step at a time."""
    step = f32(1 if so is None else so)
    m = (f64(f32(sx)) * np.asarray(sw, f32).astype(f64) / f64(step)).astype(f32)
    y = acc.astype(f32) * m
    if bias is not None:
        y = y + (bias / step).astype(f32)
    if residual is not None and sr is not None:
        y = y + residual.astype(f32) * f32(f64(f32(sr)) / f64(step))
    elif residual is not None:
        y = y + residual * (f32(1) / step)
    y = act(y, attrs, step)
    assert y.dtype == f32
    return y if so is None else np.rint(np.clip(y, f32(-127), f32(127))).astype(np.int8)


SCALES = st.sampled_from([0.0123, 0.25, 0.1, 0.731])
ACTS = st.sampled_from([
    {}, {"act": "relu"}, {"act": "clip", "act_min": 0.0, "act_max": 6.0},
    {"act": "leaky_relu", "act_slope": 0.1},
])  # fmt: skip


@EXAMPLES
@given(
    seed=st.integers(0, 99), attrs=ACTS, so=st.sampled_from([None, 0.37, 1.9]), sx=SCALES,
    per_channel=st.booleans(), bias=st.booleans(),
    residual=st.sampled_from([None, "int8", "float"]),
    features=st.sampled_from([3, 40, 3000]),
)  # fmt: skip
def test_dense(seed, attrs, so, sx, per_channel, bias, residual, features):
    rng = np.random.default_rng(seed)
    x, weight = codes(rng, 4, features), codes(rng, 5, features)
    sw = rng.uniform(1e-4, 1e-2, 5 if per_channel else ()).astype(f32)
    b = rng.normal(0, 3, 5).astype(f32) if bias else None
    r = sr = operand = None
    if residual == "int8":
        r, sr = codes(rng, 4, 5), 0.077
        operand = (r, sr)
    elif residual == "float":
        r = operand = rng.normal(0, 3, (4, 5)).astype(f32)
    bias_operand = None if b is None else Constant(b)
    options = with_scale(attrs, so)
    got = run("dense", options, (x, sx), Constant(weight, sw), bias_operand, operand)
    acc = x.astype(np.int64) @ weight.astype(np.int64).T
    np.testing.assert_array_equal(got, epilogue(acc, sx, sw, so, b, r, sr, attrs))


@EXAMPLES
@given(
    seed=st.integers(0, 99), groups=st.sampled_from([1, 2, 4]), stride=st.integers(1, 2),
    dilation=st.integers(1, 2), pad=st.integers(0, 2), kernel=st.integers(1, 3), attrs=ACTS,
    so=st.sampled_from([None, 2.1]),
)  # fmt: skip
def test_conv2d(seed, groups, stride, dilation, pad, kernel, attrs, so):
    rng = np.random.default_rng(seed)
    x, weight = codes(rng, 2, 4, 7, 6), codes(rng, 8, 4 // groups, kernel, kernel)
    sw = rng.uniform(1e-3, 1e-2, 8).astype(f32)
    b = rng.normal(0, 1, 8).astype(f32)
    geometry = {"stride": [stride] * 2, "dilation": [dilation] * 2, "pad": [pad] * 4}
    options = with_scale({**geometry, "groups": groups, **attrs}, so)
    got = run("conv2d", options, (x, 0.1), Constant(weight, sw), Constant(b))
    acc = slow_conv(x, weight, stride, dilation, pad, groups)
    want = epilogue(acc, 0.1, sw, so, b, None, None, attrs)
    np.testing.assert_array_equal(got, np.moveaxis(want, -1, 1))


def slow_conv(x, weight, stride, dilation, pad, groups):
    """(N, OH, OW, O) in int64, tap by tap."""
    x = np.pad(x.astype(np.int64), ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    k, width = weight.shape[2], weight.shape[1]
    size = [(n - dilation * (k - 1) - 1) // stride + 1 for n in x.shape[2:]]
    acc = np.zeros((len(x), *size, len(weight)), np.int64)
    for o in range(len(weight)):
        first = o // (len(weight) // groups) * width
        for i in range(size[0]):
            for j in range(size[1]):
                rows, columns = i * stride, j * stride
                patch = x[:, first : first + width, rows:, columns:]
                patch = patch[:, :, : dilation * k : dilation, : dilation * k : dilation][
                    :, :, :k, :k
                ]
                acc[:, i, j, o] = (patch * weight[o].astype(np.int64)).sum(axis=(1, 2, 3))
    return acc


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("so", [None, 5.0])
def test_conv_transpose2d_equals_its_float_twin_on_exact_numbers(so, groups):
    rng = np.random.default_rng(0)
    x, weight = codes(rng, 2, 4, 5, 5), codes(rng, 4, 3, 3, 3)
    sw = np.asarray([0.5, 0.25, 2.0], f32)  # of the output channels of each group
    attrs = {"stride": [2, 2], "pad": [1, 0, 1, 0], "groups": groups}
    options = with_scale(attrs, so)
    got = run("conv_transpose2d", options, (x, 0.5), Constant(weight, sw, axis=1))
    graph = Graph(
        [Input("x", (0, 4, 5, 5))],
        ["y"],
        [Node("conv_transpose2d", "n", ["x", "w"], ["y"], attrs)],
        {"w": Constant(weight.astype(f32))},
    )
    (acc,) = interpret(graph, x.astype(f32))
    want = epilogue(np.moveaxis(acc, 1, -1), 0.5, np.tile(sw, groups), so, None, None, None, {})
    np.testing.assert_array_equal(got, np.moveaxis(want, -1, 1))


def test_accumulators_past_24_bits_are_exact():
    x = np.full((1, 1041), 127, np.int8)
    weight = np.full((1, 1041), 127, np.int8)
    weight[0, -1] = 126
    got = run("dense", {}, (x, 1.0), Constant(weight, f32(1)))
    assert got[0, 0] == f32(127 * 127 * 1040 + 127 * 126)


@pytest.mark.parametrize("so", [None, 0.021])
def test_mul(so):
    rng = np.random.default_rng(1)
    a, b = codes(rng, 2, 3, 5), codes(rng, 3, 1)
    got = run("mul", with_scale({}, so), (a, 0.1), (b, 0.07))
    m = f32(f64(f32(0.1)) * f64(f32(0.07)) / f64(f32(1 if so is None else so)))
    y = (a.astype(np.int32) * b).astype(f32) * m
    want = y if so is None else np.rint(np.clip(y, f32(-127), f32(127))).astype(np.int8)
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("attrs", [{}, {"act": "relu"}, {"act": "leaky_relu", "act_slope": 0.3}])
@pytest.mark.parametrize("so", [None, 0.21])
def test_add(attrs, so):
    rng = np.random.default_rng(1)
    a, b = codes(rng, 3, 5), codes(rng, 3, 5)
    got = run("add", with_scale(attrs, so), (a, 0.1), (b, 0.07))
    step = f32(1 if so is None else so)
    ma, mb = (f32(f64(f32(s)) / f64(step)) for s in (0.1, 0.07))
    y = act(a.astype(f32) * ma + b.astype(f32) * mb, attrs, step)
    want = y if so is None else np.rint(np.clip(y, f32(-127), f32(127))).astype(np.int8)
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("so", [None, 0.21])
@pytest.mark.parametrize("count_pad", [True, False])
def test_avg_pool(so, count_pad):
    x = codes(np.random.default_rng(2), 1, 2, 5, 5)
    attrs = {"kernel": [3, 3], "stride": [2, 2], "pad": [1, 1, 1, 1], "count_pad": count_pad}
    got = run("avg_pool", with_scale(attrs, so), (x, 0.1))
    padded = np.pad(x.astype(np.int64), ((0, 0), (0, 0), (1, 1), (1, 1)))
    inside = np.pad(np.ones((5, 5), np.int64), 1)
    factor = f32(f64(f32(0.1)) / f64(f32(1 if so is None else so)))
    for i in range(3):
        for j in range(3):
            window = padded[:, :, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3]
            cells = inside[2 * i : 2 * i + 3, 2 * j : 2 * j + 3]
            count = f32(9 if count_pad else cells.sum())
            y = window.sum(axis=(2, 3)).astype(f32) * (factor / count)
            want = y if so is None else np.rint(np.clip(y, -127, 127)).astype(np.int8)
            np.testing.assert_array_equal(got[:, :, i, j], want)


def test_global_avg_pool():
    x = codes(np.random.default_rng(3), 2, 3, 4, 5)
    got = run("global_avg_pool", {"out_scale": 0.03}, (x, 0.1))
    y = x.sum(axis=(2, 3), dtype=np.int64).astype(f32) * (
        f32(f64(f32(0.1)) / f64(f32(0.03))) / f32(20)
    )
    np.testing.assert_array_equal(got[:, :, 0, 0], np.rint(np.clip(y, -127, 127)).astype(np.int8))


def test_quantize_rounds_ties_to_even_and_clips():
    graph = Graph(
        [Input("x", (0,))], ["y"], [Node("quantize", "q", ["x"], ["y"], {"scale": 2.0})], {}
    )
    x = np.array([1, 3, 5, -1, -3, 253, 255, 1e9, -1e9, 0.9], f32)
    (y,) = interpret(graph, x)
    assert y.dtype == np.int8
    assert y.tolist() == [0, 2, 2, 0, -2, 126, 127, 127, -127, 0]


CODE_OPS = {
    "relu": ({}, lambda x: np.maximum(x, 0)),
    "identity": ({}, lambda x: x),
    "flatten": ({}, lambda x: x.reshape(2, -1)),
    "reshape": ({"shape": [0, -3, 0]}, lambda x: x.reshape(2, 12, 4)),
    "transpose": ({"axes": [0, 2, 3, 1]}, lambda x: x.transpose(0, 2, 3, 1)),
    "slice_axis": ({"axis": 1, "begin": 1}, lambda x: x[:, 1:]),
    "pad": (
        {"width": [0, 0, 0, 0, 1, 0, 0, 2]},
        lambda x: np.pad(x, ((0, 0), (0, 0), (1, 0), (0, 2))),
    ),
    "max_pool": ({"kernel": [4, 4]}, lambda x: x.max(axis=(2, 3), keepdims=True)),
    "global_max_pool": ({}, lambda x: x.max(axis=(2, 3), keepdims=True)),
}  # fmt: skip


@pytest.mark.parametrize("op", CODE_OPS)
def test_operators_on_codes_keep_the_scale(op):
    attrs, function = CODE_OPS[op]
    x = codes(np.random.default_rng(4), 2, 3, 4, 4)
    graph = Graph(
        [Input("x", (0, 3, 4, 4))],
        ["y", "back"],
        [
            Node("quantize", "q", ["x"], ["c"], {"scale": 0.5}),
            Node(op, "n", ["c"], ["y"], attrs),
            Node("dequantize", "d", ["y"], ["back"]),
        ],
        {},
    )
    y, back = interpret(graph, x.astype(f32) * f32(0.5))
    assert infer_types(graph)["y"].scale == 0.5
    assert y.dtype == np.int8
    np.testing.assert_array_equal(y, function(x))
    np.testing.assert_array_equal(back, function(x).astype(f32) * f32(0.5))


def test_every_other_operator_dequantizes_first():
    x = codes(np.random.default_rng(5), 4, 5)
    real = x.astype(f32) * f32(0.1)
    np.testing.assert_array_equal(run("square", {}, (x, 0.1)), real * real)
    want = np.rint(np.clip(real * real * (f32(1) / f32(0.7)), -127, 127)).astype(np.int8)
    np.testing.assert_array_equal(run("square", {"out_scale": 0.7}, (x, 0.1)), want)


def test_concat_copies_equal_scales_and_requantizes_others():
    rng = np.random.default_rng(6)
    a, b = codes(rng, 2, 3), codes(rng, 2, 4)
    got = run("concat", {"out_scale": 0.1}, (a, 0.1), (b, 0.3))
    real = b.astype(f32) * f32(0.3)
    other = np.rint(np.clip(real * (f32(1) / f32(0.1)), -127, 127)).astype(np.int8)
    np.testing.assert_array_equal(got, np.concatenate([a, other], axis=1))


def test_weight_only_quantization_uses_real_weights():
    rng = np.random.default_rng(7)
    weight = Constant(codes(rng, 3, 6), np.asarray([0.1, 0.2, 0.3], f32))
    x = rng.normal(0, 1, (2, 6)).astype(f32)
    graph = Graph(
        [Input("x", (0, 6))], ["y"], [Node("dense", "d", ["x", "w"], ["y"])], {"w": weight}
    )
    np.testing.assert_allclose(interpret(graph, x)[0], x @ weight.dense().T, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("bits", [8, 4, 2])
@pytest.mark.parametrize("per_channel", [False, True])
def test_fake_quantize(bits, per_channel):
    limit = {8: 127, 4: 7, 2: 1}[bits]
    rng = np.random.default_rng(8)
    x = rng.normal(0, 1, (3, 50)).astype(f32)
    scale = (np.abs(x).max(axis=1 if per_channel else None) / limit).astype(f32)
    graph = Graph(
        [Input("x", (3, 50))],
        ["y"],
        [Node("fake_quantize", "f", ["x", "s"], ["y"], {"bits": bits, "axis": 0})],
        {"s": Constant(scale)},
    )
    (y,) = interpret(graph, x)
    step = scale.reshape(-1, 1) if per_channel else scale
    steps = np.rint(y / step)
    assert np.abs(steps).max() == limit
    np.testing.assert_allclose(y, steps * step, rtol=1e-6)
    assert (np.abs(y - x) <= step / 2 * (1 + 1e-5)).all()


@pytest.mark.parametrize("so", [None, 0.03])
@pytest.mark.parametrize("keepdims", [False, True])
def test_mean(so, keepdims):
    x = codes(np.random.default_rng(3), 2, 3, 4, 5)
    got = run("mean", with_scale({"axes": [1, -1], "keepdims": keepdims}, so), (x, 0.1))
    factor = f32(f64(f32(0.1)) / f64(f32(1 if so is None else so))) / f32(15)
    y = x.astype(np.int64).sum(axis=(1, 3), keepdims=keepdims).astype(f32) * factor
    want = y if so is None else np.rint(np.clip(y, f32(-127), f32(127))).astype(np.int8)
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("so", [None, 0.03])
def test_adaptive_avg_pool(so):
    x = codes(np.random.default_rng(3), 2, 3, 5, 7)
    got = run("adaptive_avg_pool", with_scale({"output": [2, 3]}, so), (x, 0.1))
    ratio = f32(f64(f32(0.1)) / f64(f32(1 if so is None else so)))
    for i, rows in enumerate([slice(0, 3), slice(2, 5)]):
        for j, columns in enumerate([slice(0, 3), slice(2, 5), slice(4, 7)]):
            cell = x[:, :, rows, columns].astype(np.int64)
            y = cell.sum(axis=(2, 3)).astype(f32) * (ratio / f32(9))
            want = y if so is None else np.rint(np.clip(y, f32(-127), f32(127))).astype(np.int8)
            np.testing.assert_array_equal(got[:, :, i, j], want)


@pytest.mark.parametrize("so", [None, 0.13])
def test_resize_bilinear(so):
    x = codes(np.random.default_rng(3), 1, 2, 3, 4)
    got = run("resize_bilinear", with_scale({"size": [5, 7]}, so), (x, 0.1))
    ratio = f32(f64(f32(0.1)) / f64(f32(1 if so is None else so)))
    values = x[0].astype(f32)
    for i in range(5):
        for j in range(7):
            r, c = f32(i) * f32(2 / 4), f32(j) * f32(3 / 6)
            r0, c0 = int(r), int(c)
            r1, c1 = min(r0 + 1, 2), min(c0 + 1, 3)
            wr, wc = r - f32(r0), c - f32(c0)
            left = values[:, r0, c0] * (f32(1) - wr) + values[:, r1, c0] * wr
            right = values[:, r0, c1] * (f32(1) - wr) + values[:, r1, c1] * wr
            y = (left * (f32(1) - wc) + right * wc) * ratio
            want = y if so is None else np.rint(np.clip(y, f32(-127), f32(127))).astype(np.int8)
            np.testing.assert_array_equal(got[0, :, i, j], want)


@pytest.mark.parametrize(
    ("op", "attrs"),
    [("upsample", {"factor": 2}), ("expand_dims", {"axis": 0}), ("squeeze", {"axes": [1]}),
     ("max", {"axes": [2]}), ("split", {"axis": 2}), ("slice_axis", {"axis": 0, "begin": 1})],
)  # fmt: skip
def test_what_moves_codes_keeps_their_scale(op, attrs):
    x = codes(np.random.default_rng(3), 2, 1, 4, 3)
    outputs = ["y", "z"] if op == "split" else ["y"]
    quantize = Node("quantize", "q", ["x"], ["qx"], {"scale": 0.1})
    nodes = [quantize, Node(op, "node", ["qx"], outputs, attrs)]
    graph = Graph([Input("x", (0, 0, 0, 0))], outputs, nodes, {})
    types = infer_types(graph, {"x": x.shape})
    assert {(types[name].dtype, types[name].scale) for name in outputs} == {("int8", f32(0.1))}
    floats = Graph(graph.inputs, outputs, [Node(op, "node", ["x"], outputs, attrs)], {})
    want = interpret(floats, x.astype(f32))
    for a, b in zip(interpret(graph, x.astype(f32) * f32(0.1)), want, strict=True):
        assert a.dtype == np.int8
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("bits", [2, 8])
def test_fake_quantize_dynamic(bits):
    x = np.random.default_rng(bits).standard_normal((3, 4)).astype("float32")
    node = Node("fake_quantize_dynamic", "f", ["x"], ["y"], {"bits": bits})
    (y,) = interpret(Graph([Input("x", (3, 4))], ["y"], [node], {}), x)
    limit = 2 ** (bits - 1) - 1
    step = np.abs(x).max() / np.float32(limit)
    np.testing.assert_array_equal(y, np.rint(x * (np.float32(1) / step)) * step)
