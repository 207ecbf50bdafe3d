"""Element-wise operators."""

from __future__ import annotations

import numpy as np

from gluonzip.onnx.emit.elementwise import BINARY, SAME, SCALAR, SCALAR_FIRST
from gluonzip.onnx.package import onnx
from gluonzip.onnx.parse.registry import READERS, OnnxNode, reader
from gluonzip.spec import code_range

T = onnx.TensorProto
_FLOATS = (T.FLOAT, T.FLOAT16, T.DOUBLE, T.BFLOAT16)
for _op, _onnx in {**SAME, "relu": "Relu"}.items():
    if _onnx not in ("Identity", "Gelu"):
        READERS[_onnx] = lambda n, op=_op: n.emit(op, n.x)
_TENSORS = {**{name: op for op, name in BINARY.items()}, "Add": "add"}
_WITH_SCALAR = {
    **{name: op for op, name in SCALAR.items()},
    "Sub": "add_scalar",
    "Div": "mul_scalar",
}
_SCALAR_FIRST = {name: op for op, name in SCALAR_FIRST.items()}
_COMMUTE = ("Add", "Mul", "Max", "Min")


@reader("Identity", "Dropout")
def identity(n: OnnxNode) -> str:
    return n.emit("identity", n.x)


@reader("Cast")
def cast(n: OnnxNode) -> str:
    if n.inputs[0] in n.target.steps:  # accumulators become numbers
        n.target.steps[n.outputs[0]] = n.target.steps[n.inputs[0]]
    elif n.attrs["to"] not in (*_FLOATS, T.INT64, T.INT32):
        raise n.decline(f"it casts to {T.DataType.Name(n.attrs['to'])}")
    elif n.attrs["to"] not in _FLOATS:
        return n.emit("floor", n.x)  # of indices, which are not negative
    return n.x


@reader("Gelu")
def gelu(n: OnnxNode) -> str:
    if n.attrs.get("approximate", "none") != "none":
        raise n.decline("its approximation by tanh has no row in the op table")
    return n.emit("gelu", n.x)


def _scalar(n: OnnxNode, index: int) -> float | None:
    """A constant of one element that does not raise the rank of the other input."""
    value = n.constant(index)
    other = n.constant(1 - index)
    if value is None or other is not None or value.size != 1:
        return None
    return float(value.reshape(())) if value.ndim <= len(n.shape(1 - index)) else None


@reader("Add", "Sub", "Mul", "Div", "Max", "Min", "Pow")
def arithmetic(n: OnnxNode) -> str:
    if n.op in ("Max", "Min") and len(n.inputs) != 2:
        return _many(n)
    second, first = _scalar(n, 1), _scalar(n, 0)
    if n.op == "Mul" and (done := _scaled(n)) is not None:
        return done
    if first is not None and n.op in _COMMUTE:
        return n.emit(_WITH_SCALAR[n.op], n.tensor(1), value=first)
    if first is not None and n.op in _SCALAR_FIRST:
        return n.emit(_SCALAR_FIRST[n.op], n.tensor(1), value=first)
    if second is not None:
        if n.op == "Div" and second:
            return n.emit("div", n.x, n.new("divisor", np.full(1, second, np.float32)))
        return n.emit(_WITH_SCALAR[n.op], n.x, value=-second if n.op == "Sub" else second)
    if n.op == "Pow":
        raise n.decline("only a constant exponent is read")
    if n.op == "Add" and (done := _bias(n)) is not None:
        return done
    return n.emit(_TENSORS[n.op], n.tensor(0), n.tensor(1))


def _many(n: OnnxNode) -> str:
    y = n.x
    for index in range(1, len(n.inputs)):
        y = n.emit(_TENSORS[n.op], y, n.tensor(index), suffix=f"step{index}")
    return y


def _bias(n: OnnxNode) -> str | None:
    """A constant added to each output channel of the layer before becomes its bias."""
    for at in (0, 1):
        value, node = n.constant(1 - at), None
        if value is not None and n.constant(at) is None and n.target.read_once(n.inputs[at]):
            node = n.target.producer(n.tensor(at))
        if node is None or node.op not in ("conv2d", "dense") or len(node.inputs) > 2:
            continue
        channels = n.shape(at)[1 if node.op == "conv2d" else -1]
        shape = (channels, 1, 1) if node.op == "conv2d" else (channels,)
        if value.size == channels and value.shape[-len(shape) :] == shape:
            node.inputs.append(n.new("bias", value.reshape(-1).astype(np.float32)))
            return n.tensor(at)
    return None


def _scaled(n: OnnxNode) -> str | None:
    """The product that follows rounding or an integer sum: into the weight's scale."""
    for at in (0, 1):
        step, unit = n.target.steps.get(n.inputs[at]), n.constant(1 - at)
        if isinstance(step, str) and step == n.tensor(1 - at):  # of dynamic codes
            return n.tensor(at)
        if step is None or unit is None or isinstance(step, str):
            continue
        node = n.target.producer(n.tensor(at))
        if node is not None and node.op == "conv2d":
            weight = n.target.graph.constants[node.inputs[1]]
            scale = (unit.reshape(-1) / np.float32(step)).astype(np.float32)
            weight = type(weight)(weight.data, scale, 0, weight.bits)
            n.target.graph.constants[node.inputs[1]] = weight
        return n.tensor(at)
    return None


@reader("Reciprocal")
def reciprocal(n: OnnxNode) -> str:
    return n.emit("rdiv_scalar", n.x, value=1.0)


@reader("Round")
def rounded(n: OnnxNode) -> str:
    """Inside a fake quantizer: round(clip(x / step, low, high)), then times step."""
    clip = n.target.producer(n.x)
    product = clip and clip.op == "clip" and n.target.producer(clip.inputs[0])
    if not product or product.op not in ("mul", "mul_scalar"):
        raise n.decline("rounding is read only inside a fake quantizer")
    low, high = clip.attrs["min"], clip.attrs["max"]
    unsigned = low == 0
    bits = int(np.log2(high + 1)) + (not unsigned) if high > 0 else 0
    if not 2 <= bits <= 8 or (low, high) != code_range(bits, unsigned):
        raise n.decline(f"codes from {low} to {high} are not those of 2 to 8 bits")
    if product.op == "mul" and product.inputs[1] not in n.target.graph.constants:
        return _dynamic(n, product.inputs, bits)
    if product.op == "mul_scalar":
        inverse, axis = np.float32(product.attrs["value"]), 0
    else:
        inverse = n.target.graph.constants[product.inputs[1]].data
        sizes = [1] * (len(n.shape()) - inverse.ndim) + list(inverse.shape)
        axis, inverse = int(np.argmax(sizes)), inverse.reshape(-1)
    scale = (np.float32(1) / np.asarray(inverse, np.float32)).astype(np.float32)
    x, step = product.inputs[0], n.new("scale", np.asarray(scale))
    n.target.steps[n.outputs[0]] = scale
    sign = {"unsigned": True} if unsigned else {}
    return n.emit("fake_quantize", x, step, bits=bits, axis=axis, **sign)


def _dynamic(n: OnnxNode, product: list[str], bits: int) -> str:
    """A fake quantizer whose step is the largest magnitude of its input over the limit."""
    x, tensor, found = product[0], product[1], []
    for op in ("rdiv_scalar", "max_scalar", "div", "max", "abs"):
        node = n.target.producer(tensor)
        if node is None or node.op != op:
            raise n.decline("its step is computed, and not from the peak of its input")
        tensor = node.inputs[0]
        found.append(tensor)
    if tensor != x:
        raise n.decline("its step is computed from another tensor")
    n.target.steps[n.outputs[0]] = found[0]
    return n.emit("fake_quantize_dynamic", x, bits=bits)


@reader("LeakyRelu")
def leaky_relu(n: OnnxNode) -> str:
    return n.emit("leaky_relu", n.x, slope=float(np.float32(n.attrs.get("alpha", 0.01))))


@reader("Elu")
def elu(n: OnnxNode) -> str:
    return n.emit("elu", n.x, slope=float(np.float32(n.attrs.get("alpha", 1.0))))


@reader("PRelu")
def prelu(n: OnnxNode) -> str:
    slope, channels = n.required(1, "slope").astype(np.float32), n.shape()[1]
    spread = [1] * (n.rank - slope.ndim) + list(slope.shape)
    if slope.size not in (1, channels) or (slope.size > 1 and spread[1] != channels):
        raise n.decline(f"its slope has shape {slope.shape}; only one a channel is read")
    return n.emit("prelu", n.x, n.new("slope", slope.reshape(-1)))


@reader("HardSigmoid")
def hard_sigmoid(n: OnnxNode) -> str:
    alpha, beta = n.attrs.get("alpha", 0.2), n.attrs.get("beta", 0.5)
    return n.emit("hard_sigmoid", n.x, alpha=float(np.float32(alpha)), beta=float(np.float32(beta)))


@reader("Clip")
def clip(n: OnnxNode) -> str:
    ends = []
    for index, key in ((1, "min"), (2, "max")):
        value = float(n.required(index, key).reshape(())) if n.has(index) else n.attrs.get(key)
        infinite = value is None or abs(value) >= 3.4e38
        ends.append(None if infinite else float(value))
    low, high = ends
    if low is None and high is None:
        return n.emit("identity", n.x)
    if high is None:
        return n.emit("relu", n.x) if low == 0 else n.emit("max_scalar", n.x, value=low)
    if low is None:
        return n.emit("min_scalar", n.x, value=high)
    return n.emit("clip", n.x, min=low, max=high)
