"""Converters of pooling and resampling."""

from __future__ import annotations

from gluonzip.gluon.convert.registry import MxNode, converter, require


@converter("Pooling", "Pooling_v1")
def pooling(node: MxNode) -> str:
    attrs = node.attrs
    kind = attrs.text("pool_type", "max")
    require(kind in ("max", "avg"))
    require(node.rank == 4 and attrs.text("layout", "None") in ("None", "NCHW"))
    if attrs.flag("global_pool"):
        return node.emit(f"global_{kind}_pool", node.x)
    convention = attrs.text("pooling_convention", "valid")
    require(convention in ("valid", "full"))
    top, left = attrs.integers("pad") or [0, 0]
    window = {
        "kernel": attrs.integers("kernel"),
        "stride": attrs.integers("stride") or [1, 1],
        "pad": [top, left, top, left],
        "ceil_mode": convention == "full",
    }
    if kind == "avg":
        window["count_pad"] = attrs.flag("count_include_pad", True)
    return node.emit(f"{kind}_pool", node.x, **window)


@converter("_contrib_AdaptiveAvgPooling2D")
def adaptive_avg_pooling(node: MxNode) -> str:
    size = node.attrs.integers("output_size") or [1]
    return node.emit("adaptive_avg_pool", node.x, output=size * 2 if len(size) == 1 else size)


@converter("UpSampling")
def up_sampling(node: MxNode) -> str:
    require(node.attrs.text("sample_type") == "nearest" and len(node.inputs) == 1)
    return node.emit("upsample", node.x, factor=node.attrs.integer("scale", 1))


@converter("_contrib_BilinearResize2D")
def bilinear_resize(node: MxNode) -> str:
    # Whatever the mode, the size follows from the traced shapes.
    require(node.output_shape is not None)
    return node.emit(
        "resize_bilinear",
        node.x,
        size=list(node.output_shape[2:]),
        align_corners=node.attrs.flag("align_corners", True),
    )
