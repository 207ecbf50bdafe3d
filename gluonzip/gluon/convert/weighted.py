"""Converters of layers with weights, and of normalizations."""

from __future__ import annotations

import numpy as np

from gluonzip.gluon.convert.registry import MxNode, converter, require


def _pair(node: MxNode, key: str, default: int) -> list[int]:
    return node.attrs.integers(key) or [default, default]


def _two_dimensional(node: MxNode) -> None:
    """Only (N,C,H,W) has a row; 1-D, 3-D and channels-last convolutions stay opaque."""
    require(len(node.attrs.integers("kernel")) == 2)
    require(node.attrs.text("layout", "None") in ("None", "NCHW"))


@converter("Convolution")
def convolution(node: MxNode) -> str:
    _two_dimensional(node)
    top, left = _pair(node, "pad", 0)
    return node.emit(
        "conv2d",
        *node.inputs,
        stride=_pair(node, "stride", 1),
        pad=[top, left, top, left],
        dilation=_pair(node, "dilate", 1),
        groups=node.attrs.integer("num_group", 1),
    )


@converter("Deconvolution")
def deconvolution(node: MxNode) -> str:
    _two_dimensional(node)
    require(not any(node.attrs.integers("target_shape")))
    top, left = _pair(node, "pad", 0)
    return node.emit(
        "conv_transpose2d",
        *node.inputs,
        stride=_pair(node, "stride", 1),
        pad=[top, left, top, left],
        dilation=_pair(node, "dilate", 1),
        output_pad=_pair(node, "adj", 0),
        groups=node.attrs.integer("num_group", 1),
    )


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
    require(value is not None)
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
