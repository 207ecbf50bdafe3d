"""Clips as frames: what works on (N, C, T, H, W) becomes images of (N T, C, H, W).

A 3-D convolution is a 2-D one over the channels of the frames that it sees, joined:
``sum_k W[:, :, k] * x[t s + k]`` is one product over (k, channel), so integers are exact. Each
clip's tensor has its frames beside it (:attr:`Emitter.frames`); whoever does not read frames reads
the clip, and whichever is not read is gone from the graph.
"""

from __future__ import annotations

import copy
from typing import Any

from gluonzip.gluon.convert.registry import CONVERTERS, MxNode, require

FRAME_BY_FRAME = frozenset(
    ("BatchNorm", "_contrib_SyncBatchNorm", "Activation", "LeakyReLU", "relu", "sigmoid", "tanh")
    + ("Dropout", "clip", "elemwise_add", "elemwise_sub", "elemwise_mul", "broadcast_add")
    + ("broadcast_sub", "broadcast_mul", "_plus", "_mul", "_mul_scalar", "_plus_scalar")
    + ("_div_scalar", "Concat", "identity", "_copy", "BlockGrad", "Cast", "amp_cast")
)
"""Operators that do the same to each frame, if they act along no axis but the channels'."""

CLIP_TO_FRAMES = [0, 2, 1, 3, 4]
"""(N, C, T, H, W) to (N, T, C, H, W), and back."""


def convert(node: MxNode) -> Any:
    """The node's outputs, by way of frames where that fits, else by its own converter."""
    if _frame_by_frame(node):
        inner = copy.copy(node)
        inner.inputs = [_frames(node, at) for at in range(len(node.inputs))]
        inner.input_shapes = [_frame_shape(shape) for shape in node.input_shapes]
        inner.output_shape = _frame_shape(node.output_shape)
        return _clip(node, CONVERTERS[node.operator](inner), node.output_shape[2])
    return CONVERTERS[node.operator](node)


def _frame_by_frame(node: MxNode) -> bool:
    shape = node.output_shape
    if node.operator not in FRAME_BY_FRAME or shape is None or len(shape) != 5 or node.outputs > 1:
        return False
    clips = [s for s in node.input_shapes if s is not None and len(s) == 5]
    others = [s for s in node.input_shapes if s is None or len(s) not in (1, 5)]
    alike = all((s[0], *s[2:]) == (shape[0], *shape[2:]) for s in clips)
    if others or not alike or not node.input_shapes or len(node.input_shapes[0] or ()) != 5:
        return False
    if node.operator == "Concat":
        return node.axis("dim", 1) == 1
    return "BatchNorm" not in node.operator or node.axis("axis", 1) == 1


def _frame_shape(shape: tuple[int, ...] | None) -> tuple[int, ...] | None:
    if shape is None or len(shape) != 5:
        return shape
    n, c, t, h, w = shape
    return (n * t, c, h, w)


def _frames(node: MxNode, index: int) -> str:
    """Input ``index`` as frames (what is no clip stays)."""
    x, shape = node.inputs[index], node.input_shapes[index]
    if shape is None or len(shape) != 5:
        return x
    known = node.emitter.frames
    if x not in known:
        turned = node.emit("transpose", x, suffix=f"turned{index}", axes=CLIP_TO_FRAMES)
        known[x] = node.emit("reshape", turned, suffix=f"frames{index}", shape=[-3, -2])
    return known[x]


def _clip(node: MxNode, frames: str, length: int) -> str:
    """The clip of ``frames``, which are noted beside it."""
    parts = node.emit("reshape", frames, suffix="parts", shape=[-4, -1, length, -2])
    clip = node.emit("transpose", parts, suffix="clip", axes=CLIP_TO_FRAMES)
    node.emitter.frames[clip] = frames
    return clip


# ---------------------------------------------------------------- convolution
def convolution(node: MxNode) -> str:
    """A 3-D Convolution."""
    kernel, stride, pad = _triples(node)
    groups = node.attrs.integer("num_group", 1)
    dilation = node.attrs.integers("dilate") or [1, 1, 1]
    require(dilation[0] == 1 or kernel[0] == 1, "dilation along time")
    require(groups == 1 or kernel[0] == 1, "groups, over several frames")
    require(node.output_shape is not None, "a shape known only when it runs")
    length = node.output_shape[2]
    x = _joined(node, kernel[0], stride[0], pad[0], length)
    y = node.emit(
        "conv2d",
        x,
        _flat_weight(node, node.inputs[1], kernel[0]),
        *node.inputs[2:],
        stride=stride[1:],
        pad=[*pad[1:], *pad[1:]],
        dilation=dilation[1:],
        groups=groups,
    )
    return _clip(node, y, length)


def _triples(node: MxNode) -> tuple[list[int], list[int], list[int]]:
    attrs = node.attrs
    require(attrs.text("layout", "None") in ("None", "NCDHW"), "channels last")
    kernel, stride = attrs.integers("kernel"), attrs.integers("stride") or [1, 1, 1]
    return kernel, stride, attrs.integers("pad") or [0, 0, 0]


def _joined(node: MxNode, taps: int, stride: int, pad: int, length: int) -> str:
    """Frames (N length, taps C, H, W): of each output, the frames that it sees, joined along the
    channels."""
    _, c, t, h, w = node.shape
    frames = _frames(node, 0)
    if taps == stride == 1 and not pad:
        return frames
    x = node.emit("reshape", frames, suffix="clips", shape=[-4, -1, t, -2])
    blocks = -(-taps // stride)
    total = (length + blocks - 1) * stride
    if total < t + pad:
        x = _cut(node, x, "used", 1, 0, total - pad)
        t = total - pad
    if pad or total > t + pad:
        width = [0, 0, pad, total - t - pad, 0, 0, 0, 0, 0, 0]
        x = node.emit("pad", x, suffix="padded", width=width, value=0.0)
    if stride > 1:
        shape = [0, total // stride, stride * c, h, w]
        x = node.emit("reshape", x, suffix="blocks", shape=shape)
    seen = []
    for block in range(blocks):
        part = _cut(node, x, f"from{block}", 1, block, block + length) if blocks > 1 else x
        channels = min(stride, taps - block * stride) * c
        if channels < stride * c:
            part = _cut(node, part, f"part{block}", 2, 0, channels)
        seen.append(part)
    x = node.emit("concat", *seen, suffix="joined", axis=2) if len(seen) > 1 else seen[0]
    return node.emit("reshape", x, suffix="seen", shape=[-3, -2])


def _cut(node: MxNode, x: str, suffix: str, axis: int, begin: int, end: int) -> str:
    return node.emit("slice_axis", x, suffix=suffix, axis=axis, begin=begin, end=end)


def _flat_weight(node: MxNode, weight: str, taps: int) -> str:
    """(O, C, T, KH, KW) as (O, T C, KH, KW); its fake quantizer comes after, so that it folds."""
    maker = node.emitter.producer(weight)
    quantizer = maker if maker is not None and maker.op == "fake_quantize" else None
    source = quantizer.inputs[0] if quantizer else weight
    if taps > 1:
        source = node.emit("transpose", source, suffix="weight.turned", axes=CLIP_TO_FRAMES)
        flat = node.emit("reshape", source, suffix="weight", shape=[0, -3, -2])
    else:
        flat = node.emit("squeeze", source, suffix="weight", axes=[2])
    if quantizer is None:
        return flat
    scale = quantizer.inputs[1]
    return node.emit("fake_quantize", flat, scale, suffix="weight.quantized", **quantizer.attrs)


# ---------------------------------------------------------------- pooling
def pooling(node: MxNode) -> str:
    """A 3-D Pooling: of each frame, then along time."""
    attrs = node.attrs
    kind = attrs.text("pool_type", "max")
    require(kind in ("max", "avg"), f"{kind} pooling")
    require(node.output_shape is not None, "a shape known only when it runs")
    if attrs.flag("global_pool"):
        return _global(node, kind)
    convention = attrs.text("pooling_convention", "valid")
    require(convention in ("valid", "full"), f"pooling convention {convention}")
    kernel, stride, pad = _triples(node)
    window: dict[str, Any] = {"ceil_mode": convention == "full"}
    if kind == "avg":
        whole = attrs.flag("count_include_pad", True) and convention == "valid"
        require(whole or not any(pad), "an average that leaves padding out")
        window["count_pad"] = True
    y = _frames(node, 0)
    if (kernel[1:], stride[1:], pad[1:]) != ([1, 1], [1, 1], [0, 0]):
        y = _pool(node, kind, y, "each", kernel[1:], stride[1:], pad[1:], window)
    length, (h, w) = node.shape[2], node.output_shape[3:]
    clip = _clip(node, y, length)
    if (kernel[0], stride[0], pad[0]) == (1, 1, 0):
        return clip
    columns = node.emit("reshape", clip, suffix="columns", shape=[0, 0, 0, -3])
    y = _pool(node, kind, columns, "", [kernel[0], 1], [stride[0], 1], [pad[0], 0], window)
    return node.emit("reshape", y, suffix="images", shape=[0, 0, 0, -4, h, w])


def _pool(
    node: MxNode,
    kind: str,
    x: str,
    suffix: str,
    kernel: list[int],
    stride: list[int],
    pad: list[int],
    window: dict[str, Any],
) -> str:
    attrs = {"kernel": kernel, "stride": stride, "pad": [*pad, *pad], **window}
    return node.emit(f"{kind}_pool", x, suffix=suffix, **attrs)


def _global(node: MxNode, kind: str) -> str:
    y = node.emit(f"global_{kind}_pool", _frames(node, 0), suffix="each")
    y = node.emit("reshape", y, suffix="frames", shape=[-4, -1, node.shape[2], 0, 0, 0])
    op = "mean" if kind == "avg" else "max"
    y = node.emit(op, y, axes=[1], keepdims=False)
    return node.emit("expand_dims", y, suffix="output", axis=2)
