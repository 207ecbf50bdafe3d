"""Pooling and resampling."""

from __future__ import annotations

from gluonzip.onnx.parse.registry import OnnxNode, reader
from gluonzip.onnx.parse.weighted import same_pads


@reader("MaxPool", "AveragePool")
def pool(n: OnnxNode) -> str:
    if n.rank != 4:
        raise n.decline(f"its input has shape {n.shape()}; only images (N, C, H, W) are read")
    kernel = list(n.attrs["kernel_shape"])
    stride = list(n.attrs.get("strides", [1, 1]))
    if any(d != 1 for d in n.attrs.get("dilations", [1, 1])) or len(n.outputs) > 1:
        raise n.decline("dilations and a second output are not read")
    pad = same_pads(n, kernel, stride, [1, 1])
    counted = bool(n.attrs.get("count_include_pad", 0))
    extra = _overhang(n, kernel, stride, pad) if n.attrs.get("ceil_mode") else [0, 0]
    if any(extra) and n.op == "AveragePool" and counted:
        if any(pad):
            raise n.decline("ceil_mode with padding that counts has no equal in the op table")
        counted = False  # nothing but the overhang, which does not count
    pad = [pad[0], pad[1], pad[2] + extra[0], pad[3] + extra[1]]
    window = {"kernel": kernel, "stride": stride, "pad": pad}
    if n.op == "MaxPool":
        return n.emit("max_pool", n.x, **window)
    return n.emit("avg_pool", n.x, **window, count_pad=counted)


def _overhang(n: OnnxNode, kernel: list[int], stride: list[int], pad: list[int]) -> list[int]:
    """Padding at the end that gives the windows of ceil_mode; none begins past the input."""
    extra = []
    for axis, (k, s) in enumerate(zip(kernel, stride, strict=True)):
        size, begin, end = n.shape()[2 + axis], pad[axis], pad[2 + axis]
        windows = -(-(size + begin + end - k) // s) + 1
        if (windows - 1) * s >= size + begin:
            windows -= 1
        extra.append(max((windows - 1) * s + k - size - begin - end, 0))
    return extra


@reader("GlobalAveragePool")
def global_average(n: OnnxNode) -> str:
    return n.emit("global_avg_pool", n.x)


@reader("GlobalMaxPool")
def global_max(n: OnnxNode) -> str:
    return n.emit("global_max_pool", n.x)


@reader("Resize", "Upsample")
def resize(n: OnnxNode) -> str:
    size = n.shape()
    if len(size) != 4:
        raise n.decline(f"its input has shape {size}; only images (N, C, H, W) are read")
    target = _target(n, size)
    mode = n.attrs.get("mode", "nearest")
    centres = n.attrs.get("coordinate_transformation_mode", "half_pixel")
    if n.op == "Upsample":
        centres = "asymmetric"
    if mode == "linear" and centres in ("align_corners", "half_pixel", "pytorch_half_pixel"):
        corners = centres == "align_corners"
        return n.emit("resize_bilinear", n.x, size=target, align_corners=corners)
    factors = {t / s for t, s in zip(target, size[2:], strict=True)}
    factor = factors.pop()
    floors = n.attrs.get("nearest_mode", "floor" if n.op == "Upsample" else "round_prefer_floor")
    whole = not factors and factor == int(factor)
    exact = (centres, floors) == ("asymmetric", "floor") or centres == "half_pixel"
    if mode != "nearest" or not whole or not exact:
        raise n.decline(f"mode {mode}, {centres}, {floors} to {target} has no row in the op table")
    return n.emit("upsample", n.x, factor=int(factor))


def _target(n: OnnxNode, size: tuple[int, ...]) -> list[int]:
    """Height and width of the output."""
    old = n.op == "Upsample" or n.target.opset < 11
    axes = [axis % 4 for axis in n.attrs.get("axes", range(4))]
    if not old and n.has(3):
        sizes = dict(zip(axes, n.integers(3, "sizes"), strict=True))
        return [sizes.get(axis, size[axis]) for axis in (2, 3)]
    at = 1 if old else 2
    scales = n.required(at, "scales").reshape(-1) if n.has(at) else n.attrs["scales"]
    scales = dict(zip(axes, scales, strict=True))
    if any(scales.get(axis, 1) != 1 for axis in (0, 1)):
        raise n.decline("only height and width may change")
    return [int(size[axis] * float(scales.get(axis, 1))) for axis in (2, 3)]
