"""Converters of layers with weights, and of normalizations."""

from __future__ import annotations

from typing import Any

import numpy as np

from gluonzip.gluon.convert import frames
from gluonzip.gluon.convert.registry import MxNode, converter, require


def _channels_first(node: MxNode) -> int:
    """Number of spatial axes, 1 or 2; channels-last ones stay opaque."""
    axes = len(node.attrs.integers("kernel"))
    require(axes in (1, 2), f"{axes} spatial axes")
    require(node.attrs.text("layout", "None") in ("None", "NCHW", "NCW"), "channels last")
    return axes


def _window(node: MxNode, axes: int) -> dict[str, Any]:
    """stride, pad, dilation, groups; a 1-D window is a 2-D one of height 1."""

    def pair(key: str, default: int) -> list[int]:
        values = node.attrs.integers(key) or [default] * axes
        return [default] * (2 - axes) + values

    top, left = pair("pad", 0)
    return {
        "stride": pair("stride", 1),
        "pad": [top, left, top, left],
        "dilation": pair("dilate", 1),
        "groups": node.attrs.integer("num_group", 1),
    }


def _convolve(node: MxNode, op: str, axes: int, **attrs: Any) -> str:
    if axes == 2:
        return node.emit(op, *node.inputs, **attrs)
    x = node.emit("expand_dims", node.x, suffix="rows", axis=2)
    weight = _with_height_one(node, node.inputs[1])
    y = node.emit(op, x, weight, *node.inputs[2:], **attrs)
    return node.emit("squeeze", y, suffix="output", axes=[2])


def _with_height_one(node: MxNode, weight: str) -> str:
    """A (O, I, K) weight as (O, I, 1, K); its fake quantizer comes after, so that it folds."""
    maker = node.emitter.producer(weight)
    quantizer = maker if maker is not None and maker.op == "fake_quantize" else None
    source = quantizer.inputs[0] if quantizer else weight
    expanded = node.emit("expand_dims", source, suffix="weight", axis=2)
    if quantizer is None:
        return expanded
    scale = quantizer.inputs[1]
    return node.emit("fake_quantize", expanded, scale, suffix="weight.quantized", **quantizer.attrs)


@converter("Convolution", "Convolution_v1")
def convolution(node: MxNode) -> str:
    if len(node.attrs.integers("kernel")) == 3:
        return frames.convolution(node)
    axes = _channels_first(node)
    return _convolve(node, "conv2d", axes, **_window(node, axes))


@converter("Deconvolution")
def deconvolution(node: MxNode) -> str:
    axes = _channels_first(node)
    require(not any(node.attrs.integers("target_shape")), "target_shape")
    extra = [0] * (2 - axes) + (node.attrs.integers("adj") or [0] * axes)
    window = _window(node, axes)
    return _convolve(node, "conv_transpose2d", axes, output_pad=extra, **window)


@converter("FullyConnected")
def fully_connected(node: MxNode) -> str:
    return node.emit("dense", *node.inputs, flatten=node.attrs.flag("flatten", True))


@converter("Embedding")
def embedding(node: MxNode) -> str:
    return node.emit("embedding", *node.inputs)


def _gamma(node: MxNode, default_fixed: bool) -> str:
    """The gamma tensor; ``fix_gamma`` makes MXNet count it as 1 whatever it holds."""
    gamma = node.inputs[1]
    if not node.attrs.flag("fix_gamma", default_fixed):
        return gamma
    value = node.emitter.value(gamma)
    require(value is not None, "a computed gamma")
    return node.emitter.constant(gamma, np.ones_like(value))


@converter("BatchNorm", "BatchNorm_v1", "_contrib_SyncBatchNorm", "_contrib_BatchNormWithReLU")
def batch_norm(node: MxNode) -> str:
    relu = node.operator == "_contrib_BatchNormWithReLU"
    x, _, beta, mean, var = node.inputs
    y = node.emit(
        "batch_norm",
        x,
        _gamma(node, default_fixed=True),
        beta,
        mean,
        var,
        eps=node.attrs.number("eps", 1e-3),
        axis=node.axis("axis", 1),
    )
    return node.emit("relu", y, suffix="relu") if relu else y


@converter("LayerNorm")
def layer_norm(node: MxNode) -> str:
    return node.emit(
        "layer_norm", *node.inputs, eps=node.attrs.number("eps", 1e-5), axis=node.axis("axis", -1)
    )


@converter("L2Normalization")
def l2_normalization(node: MxNode) -> str:
    return node.emit(
        "l2_normalize",
        node.x,
        eps=node.attrs.number("eps", 1e-10),
        mode=node.attrs.text("mode", "instance"),
    )
