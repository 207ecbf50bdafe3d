"""Converters of operators that move values without changing them."""

from __future__ import annotations

import numpy as np

from gluonzip.gluon.convert.registry import MxNode, converter, require

TO_THE_END = 2**31 - 1


@converter("Flatten")
def flatten(node: MxNode) -> str:
    return node.emit("flatten", node.x)


@converter("Reshape")
def reshape(node: MxNode) -> str:
    shape = node.attrs.integers("shape")
    require(bool(shape), "target_shape, which has no codes")
    # Codes read from the right differ from those read from the left only if there are codes.
    from_the_left = not node.attrs.flag("reverse")
    require(from_the_left or all(n > 0 or n == -1 for n in shape), "codes read from the right")
    return node.emit("reshape", node.x, shape=shape)


@converter("reshape_like")
def reshape_like(node: MxNode) -> str:
    # The reference's sizes are those of the traced shapes; the batch axis stays free.
    require(node.output_shape is not None, "a shape known only when it runs")
    return node.emit("reshape", node.x, shape=[-1, *node.output_shape[1:]])


@converter("transpose")
def transpose(node: MxNode) -> str:
    axes = node.attrs.integers("axes") or list(range(node.rank))[::-1]
    return node.emit("transpose", node.x, axes=axes)


@converter("SwapAxis")
def swap_axis(node: MxNode) -> str:
    axes = list(range(node.rank))
    a, b = node.axis("dim1", 0), node.axis("dim2", 0)
    axes[a], axes[b] = axes[b], axes[a]
    return node.emit("transpose", node.x, axes=axes)


@converter("expand_dims")
def expand_dims(node: MxNode) -> str:
    return node.emit("expand_dims", node.x, axis=node.axis("axis", 0))


@converter("squeeze")
def squeeze(node: MxNode) -> str:
    axes = node.attrs.integers("axis")
    if not axes and node.shape[0] != 1:  # the batch axis stays, when it is 1 as well
        axes = [axis for axis, length in enumerate(node.shape) if length == 1]
    return node.emit("squeeze", node.x, axes=axes)


@converter("Concat")
def concat(node: MxNode) -> str:
    return node.emit("concat", *node.inputs, axis=node.axis("dim", 1))


@converter("stack")
def stack(node: MxNode) -> str:
    axis = node.axis("axis", 0)
    parts = [
        node.emit("expand_dims", x, suffix=f"part{i}", axis=axis) for i, x in enumerate(node.inputs)
    ]
    return node.emit("concat", *parts, axis=axis)


def _slice(node: MxNode, axis: int, begin: int, end: int | None, suffix: str, x: str) -> str:
    end = TO_THE_END if end is None else end
    return node.emit("slice_axis", x, suffix=suffix, axis=axis, begin=begin, end=end)


@converter("slice_axis")
def slice_axis(node: MxNode) -> str:
    end = node.attrs.value("end")
    begin = node.attrs.integer("begin")
    return _slice(node, node.axis("axis", 0), begin, end, "", node.x)


@converter("slice")
def slice_(node: MxNode) -> str:
    begins = _optional(node, "begin")
    ends = _optional(node, "end")
    require(all(step in (None, 1) for step in _optional(node, "step")), "steps other than 1")
    cuts = [
        (axis, begin or 0, end)
        for axis, (begin, end) in enumerate(zip(begins, ends, strict=True))
        if begin or end is not None
    ]
    return _cut(node, cuts)


def _optional(node: MxNode, key: str) -> list[int | None]:
    value = node.attrs.value(key, ())
    return list(value) if isinstance(value, (tuple, list)) else [value]


def _cut(node: MxNode, cuts: list[tuple[int, int, int | None]]) -> str:
    """Slices along several axes, the last of which takes the node's name."""
    if not cuts:
        return node.emit("identity", node.x)
    x = node.x
    for axis, begin, end in cuts:
        last = axis == cuts[-1][0]
        x = _slice(node, axis, begin, end, "" if last else f"axis{axis}", x)
    return x


@converter("slice_like")
def slice_like(node: MxNode) -> str:
    # The reference's sizes are those of the traced shapes; the batch axis stays whole.
    like = node.shape_of(1)
    axes = [a % node.rank for a in node.attrs.integers("axes")] or list(range(node.rank))
    require(0 not in axes or like[0] == node.shape[0], "it cuts the batch axis")
    return _cut(node, [(a, 0, like[a]) for a in axes if a != 0 and like[a] != node.shape[a]])


@converter("SliceChannel")
def slice_channel(node: MxNode) -> list[str]:
    return node.emit_many(
        "split",
        node.attrs.integer("num_outputs", 1),
        node.x,
        axis=node.axis("axis", 1),
        squeeze=node.attrs.flag("squeeze_axis"),
    )


@converter("tile")
def tile(node: MxNode) -> str:
    reps = node.attrs.integers("reps")
    require(len(reps) <= node.rank, "more repetitions than axes")
    axes = [(node.rank - len(reps) + at, count) for at, count in enumerate(reps) if count != 1]
    require(all(count > 0 for _, count in axes), "no repetitions at all")
    x = node.x
    for axis, count in axes:
        suffix = "" if axis == axes[-1][0] else f"axis{axis}"
        x = node.emit("concat", *[x] * count, suffix=suffix, axis=axis)
    return x if axes else node.emit("identity", x)


@converter("repeat")
def repeat(node: MxNode) -> str:
    require("axis" in node.attrs.raw and node.attrs.value("axis") is not None, "no axis")
    axis, count = node.axis("axis", 0) % node.rank, node.attrs.integer("repeats", 1)
    if (image := _repeated_columns(node, count)) and axis == 2:
        return node.emit("upsample", image, factor=count)
    copies = node.emit("expand_dims", node.x, suffix="copies", axis=axis + 1)
    joined = node.emit("concat", *[copies] * count, suffix="joined", axis=axis + 1)
    return node.emit("reshape", joined, shape=[*[0] * axis, -3, -2])


def _repeated_columns(node: MxNode, count: int) -> str | None:
    """The image whose columns the node's input repeats ``count`` times: what repeats the rows as
    well is upsampling."""
    chain = []
    tensor = node.x
    for op in ("reshape", "concat", "expand_dims"):
        maker = node.emitter.producer(tensor)
        if maker is None or maker.op != op:
            return None
        chain.append(maker)
        tensor = maker.inputs[0]
    columns = chain[1].attrs["axis"] == 4 and chain[2].attrs["axis"] == 4
    same = chain[1].inputs == [chain[2].output] * count
    return tensor if columns and same and node.rank == 4 else None


@converter("broadcast_like")
def broadcast_like(node: MxNode) -> str:
    # The reference's sizes are those of the traced shapes; the batch axis stays free.
    like = node.shape_of(1)
    partial = any(key in node.attrs.raw for key in ("lhs_axes", "rhs_axes"))
    require(not partial and node.shape[0] == like[0], "some axes only, or along the batch")
    ones = node.emitter.constant(f"{node.name}.ones", np.ones((1, *like[1:]), np.float32))
    return node.emit("mul", node.x, ones)


@converter("_arange")
def arange(node: MxNode) -> str:
    stop = node.attrs.value("stop")
    plain = stop is not None and node.attrs.integer("repeat", 1) == 1
    require(plain, "an open end or repeated values")
    values = np.arange(node.attrs.number("start"), float(stop), node.attrs.number("step", 1.0))
    return node.emitter.constant(node.name, values.astype(np.float32))


@converter("_zeros", "_ones")
def filled(node: MxNode) -> str:
    shape = node.attrs.integers("shape")
    require(all(n > 0 for n in shape), "a shape known only when it runs")
    value = np.full(shape, float(node.operator == "_ones"), np.float32)
    return node.emitter.constant(node.name, value)


@converter("Pad")
def pad(node: MxNode) -> str:
    require(node.attrs.text("mode") == "constant", "padding by edges or reflection")
    return node.emit(
        "pad",
        node.x,
        width=node.attrs.integers("pad_width"),
        value=node.attrs.number("constant_value", 0.0),
    )
