"""Normalizations and softmax."""

from __future__ import annotations

import numpy as np

from gluonzip.onnx.parse.registry import OnnxNode, reader


@reader("BatchNormalization")
def batch_norm(n: OnnxNode) -> str:
    if n.attrs.get("training_mode"):
        raise n.decline("it is in training mode")
    parameters = [n.tensor(at) for at in range(1, 5)]
    eps = float(np.float32(n.attrs.get("epsilon", 1e-5)))
    return n.emit("batch_norm", n.x, *parameters, eps=eps, axis=1)


@reader("LayerNormalization")
def layer_norm(n: OnnxNode) -> str:
    if n.axis(-1) != n.rank - 1:
        raise n.decline("only a normalization over the last axis is read")
    channels = n.shape()[-1]
    shift = n.tensor(2) if n.has(2) else n.new("beta", np.zeros(channels, np.float32))
    eps = float(np.float32(n.attrs.get("epsilon", 1e-5)))
    return n.emit("layer_norm", n.x, n.tensor(1), shift, eps=eps, axis=-1)


@reader("Softmax", "LogSoftmax")
def softmax(n: OnnxNode) -> str:
    axis = n.axis(1 if n.target.opset < 13 else -1)
    if n.target.opset < 13 and any(size != 1 for size in n.shape()[axis + 1 :]):
        raise n.decline(f"opset {n.target.opset} normalizes over axes {axis} and up at once")
    return n.emit("softmax" if n.op == "Softmax" else "log_softmax", n.x, axis=axis)
