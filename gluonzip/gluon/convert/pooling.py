"""Converters of pooling and resampling."""

from __future__ import annotations

from typing import Any

from gluonzip.gluon.convert import frames
from gluonzip.gluon.convert.registry import MxNode, converter, require


@converter("Pooling", "Pooling_v1")
def pooling(node: MxNode) -> str:
    if node.rank == 5:
        return frames.pooling(node)
    attrs = node.attrs
    kind = attrs.text("pool_type", "max")
    require(kind in ("max", "avg"), f"{kind} pooling")
    require(node.rank in (3, 4), f"pooling over {node.rank - 2} axes")
    require(attrs.text("layout", "None") in ("None", "NCHW", "NCW"), "channels last")
    if attrs.flag("global_pool"):
        return _pool(node, f"global_{kind}_pool", {})
    convention = attrs.text("pooling_convention", "valid")
    require(convention in ("valid", "full"), f"pooling convention {convention}")
    axes = node.rank - 2
    top, left = _pair(attrs.integers("pad") or [0] * axes, 0)
    window = {
        "kernel": _pair(attrs.integers("kernel"), 1),
        "stride": _pair(attrs.integers("stride") or [1] * axes, 1),
        "pad": [top, left, top, left],
        "ceil_mode": convention == "full",
    }
    if kind == "avg":
        window["count_pad"] = attrs.flag("count_include_pad", True)
    return _pool(node, f"{kind}_pool", window)


def _pair(values: list[int], default: int) -> list[int]:
    """A 1-D window is a 2-D one of height 1."""
    return [default] * (2 - len(values)) + values


def _pool(node: MxNode, op: str, window: dict[str, Any]) -> str:
    if node.rank == 4:
        return node.emit(op, node.x, **window)
    x = node.emit("expand_dims", node.x, suffix="rows", axis=2)
    return node.emit("squeeze", node.emit(op, x, **window), suffix="output", axes=[2])


@converter("_contrib_AdaptiveAvgPooling2D")
def adaptive_avg_pooling(node: MxNode) -> str:
    size = node.attrs.integers("output_size") or [1]
    return node.emit("adaptive_avg_pool", node.x, output=size * 2 if len(size) == 1 else size)


@converter("UpSampling")
def up_sampling(node: MxNode) -> str:
    nearest = node.attrs.text("sample_type") == "nearest" and len(node.inputs) == 1
    require(nearest, "other than one nearest-neighbour input")
    return node.emit("upsample", node.x, factor=node.attrs.integer("scale", 1))


@converter("_contrib_BilinearResize2D")
def bilinear_resize(node: MxNode) -> str:
    # Whatever the mode, the size follows from the traced shapes.
    require(node.output_shape is not None, "a size known only when it runs")
    return node.emit(
        "resize_bilinear",
        node.x,
        size=list(node.output_shape[2:]),
        align_corners=node.attrs.flag("align_corners", True),
    )
