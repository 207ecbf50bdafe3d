"""Convolutions, dense layers, products and embeddings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gluonzip.graph import Constant
from gluonzip.onnx.builder import SCALE_SHIFT
from gluonzip.onnx.parse.registry import OnnxNode, reader


def same_pads(n: OnnxNode, kernel: list[int], stride: list[int], dilation: list[int]) -> list[int]:
    """[top, left, bottom, right] of ``pads`` or ``auto_pad``."""
    auto = n.attrs.get("auto_pad", "NOTSET")
    if auto in ("NOTSET", ""):
        return list(n.attrs.get("pads", [0] * 2 * len(kernel)))
    if auto == "VALID":
        return [0] * 2 * len(kernel)
    begins, ends = [], []
    for size, k, s, d in zip(n.shape()[2:], kernel, stride, dilation, strict=True):
        total = max((-(-size // s) - 1) * s + d * (k - 1) + 1 - size, 0)
        less = total // 2
        begins.append(less if auto == "SAME_UPPER" else total - less)
        ends.append(total - begins[-1])
    return begins + ends


def _weighted(n: OnnxNode, index: int) -> str:
    """The weight's tensor: a constant of the graph, or computed."""
    weight = n.weight(index)
    name = n.inputs[index]
    return n.tensor(index) if weight is None else n.target.shared((name,), name, weight)


def _check_images(n: OnnxNode) -> None:
    if n.rank != 4:
        raise n.decline(f"its input has shape {n.shape()}; only images (N, C, H, W) are read")


@reader("Conv")
def conv(n: OnnxNode) -> str:
    if n.rank == 3:
        return _conv1d(n)
    _check_images(n)
    if n.doc == SCALE_SHIFT:
        scale, shift = n.required(1, "scale").reshape(-1), n.required(2, "shift")
        return n.emit("scale_shift", n.x, n.new("scale", scale), n.new("shift", shift), axis=1)
    bias = [n.tensor(2)] if n.has(2) else []
    return n.emit("conv2d", n.x, _weighted(n, 1), *bias, **_window(n))


def _window(n: OnnxNode) -> dict:
    kernel = list(n.shape(1)[2:])
    stride = list(n.attrs.get("strides", [1] * len(kernel)))
    dilation = list(n.attrs.get("dilations", [1] * len(kernel)))
    return {
        "stride": stride,
        "pad": same_pads(n, kernel, stride, dilation),
        "dilation": dilation,
        "groups": int(n.attrs.get("group", 1)),
    }


def _conv1d(n: OnnxNode) -> str:
    """As images of height 1."""
    weight = n.weight(1)
    if weight is None:
        raise n.decline("its weight is computed; only constants are read")
    axis = weight.axis if weight.axis < 2 else weight.axis + 1
    tall = replace(weight, data=np.expand_dims(weight.data, 2), axis=axis)
    window = _window(n)
    window["pad"] = [0, window["pad"][0], 0, window["pad"][1]]
    window["stride"], window["dilation"] = [1, *window["stride"]], [1, *window["dilation"]]
    x = n.emit("expand_dims", n.x, suffix="rows", axis=2)
    bias = [n.tensor(2)] if n.has(2) else []
    y = n.emit("conv2d", x, n.target.new_constant(n.inputs[1], tall), *bias, **window)
    return n.emit("squeeze", y, suffix="output", axes=[2])


@reader("ConvTranspose")
def conv_transpose(n: OnnxNode) -> str:
    _check_images(n)
    if "output_shape" in n.attrs or n.attrs.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        raise n.decline("output_shape and automatic padding are not read")
    bias = [n.tensor(2)] if n.has(2) else []
    extra = list(n.attrs.get("output_padding", [0, 0]))
    return n.emit("conv_transpose2d", n.x, _weighted(n, 1), *bias, output_pad=extra, **_window(n))


@reader("ConvInteger")
def conv_integer(n: OnnxNode) -> str:
    """As this package writes it: codes in, then a cast and a product with the scales."""
    step = n.target.steps.get(n.inputs[0])
    codes = n.constant(1)
    if step is None or codes is None or codes.dtype != np.int8 or n.has(3):
        raise n.decline("only a quantized input and int8 constant weights without zero point")
    weight = Constant(codes, np.ones(len(codes), np.float32), 0)
    window = _window(n)
    y = n.emit("conv2d", n.x, n.new("weight", weight), **window)
    n.target.steps[n.outputs[0]] = step
    return y


@reader("Gemm")
def gemm(n: OnnxNode) -> str:
    alpha, beta = float(n.attrs.get("alpha", 1)), float(n.attrs.get("beta", 1))
    weight = n.weight(1)
    if weight is None or n.attrs.get("transA") or weight.data.ndim != 2:
        raise n.decline("only x W + b with a constant W is read")
    if not n.attrs.get("transB"):
        weight = replace(weight, data=np.ascontiguousarray(weight.data.T), axis=1 - weight.axis)
    if alpha != 1:
        scaled = {"scale": weight.scale * np.float32(alpha)} if weight.quantized else {}
        weight = replace(weight, **(scaled or {"data": weight.data * np.float32(alpha)}))
    key = (n.inputs[1], bool(n.attrs.get("transB")), alpha)
    inputs = [n.x, n.target.shared(key, n.inputs[1], weight)]
    if n.has(2):
        bias = n.required(2, "bias").astype(np.float32) * np.float32(beta)
        full = np.broadcast_to(bias, np.broadcast_shapes(bias.shape, (len(weight.data),)))
        if full.size != len(weight.data):
            raise n.decline(f"its bias has shape {bias.shape}; only (O,) is read")
        inputs.append(n.target.new_constant(n.inputs[2], full.reshape(-1).copy()))
    return n.emit("dense", *inputs)


@reader("MatMul")
def matmul(n: OnnxNode) -> str:
    weight = n.weight(1)
    if weight is None or weight.data.ndim != 2 or n.rank < 2 or n.constant(0) is not None:
        return n.emit("matmul", n.tensor(0), n.tensor(1))
    weight = replace(weight, data=np.ascontiguousarray(weight.data.T), axis=1 - weight.axis)
    shared = n.target.shared((n.inputs[1], False, 1.0), n.inputs[1], weight)
    return n.emit("dense", n.x, shared, flatten=False)


@reader("Gather")
def gather(n: OnnxNode) -> str:
    table = n.weight(0)
    if table is not None and table.data.ndim == 2 and n.attrs.get("axis", 0) == 0:
        shared = n.target.shared((n.inputs[0],), n.inputs[0], table)
        return n.emit("embedding", n.tensor(1), shared)
    at = n.constant(1)
    if at is None or at.size != 1:
        raise n.decline("only embeddings and a single constant index are read")
    axis, index = n.axis(0), int(at.reshape(-1)[0])
    end = index + 1 if index != -1 else 2**31 - 1
    y = n.emit("slice_axis", n.x, suffix="slice", axis=axis, begin=index, end=end)
    return y if at.ndim else n.emit("squeeze", y, axes=[axis])
