"""Operators that move values about."""

from __future__ import annotations

from math import prod

import numpy as np

from gluonzip.onnx.parse.registry import OnnxNode, reader

TO_THE_END = 2**31 - 1


@reader("Concat")
def concat(n: OnnxNode) -> str:
    return n.emit("concat", *[n.tensor(at) for at in range(len(n.inputs))], axis=n.axis(1))


@reader("Flatten")
def flatten(n: OnnxNode) -> str:
    axis = n.attrs.get("axis", 1)
    if axis in (1, 1 - n.rank):
        return n.emit("flatten", n.x)
    return reshaped(n, [prod(n.shape()[:axis]), prod(n.shape()[axis:])])


@reader("Reshape")
def reshape(n: OnnxNode) -> str:
    target, before = n.integers(1, "shape"), n.shape()
    if n.attrs.get("allowzero") and 0 in target:
        raise n.decline("a length of zero")
    if any(code == 0 and at >= len(before) for at, code in enumerate(target)):
        raise n.decline(f"shape {target} copies an axis that {before} does not have")
    lengths = [before[at] if code == 0 else code for at, code in enumerate(target)]
    if -1 in lengths:
        known = prod(length for length in lengths if length != -1)
        lengths[lengths.index(-1)] = prod(before) // max(known, 1)
    return reshaped(n, lengths)


def reshaped(n: OnnxNode, lengths: list[int]) -> str:
    """To these lengths; what the free batch makes of them stays free."""
    before, batch = n.shape(), n.target.batch
    if len(lengths) == 2 and before and lengths[0] == before[0]:
        return n.emit("flatten", n.x)
    free = before[:1] == (batch,)
    target = [0 if free and at == 0 and size == batch else size for at, size in enumerate(lengths)]
    if free:
        target = [-1 if size and size % batch == 0 else size for size in target]
    if target.count(-1) > 1:
        raise n.decline(f"more than one length in {lengths} follows the batch")
    return n.emit("reshape", n.x, shape=target)


@reader("Transpose")
def transpose(n: OnnxNode) -> str:
    return n.emit("transpose", n.x, axes=list(n.attrs.get("perm", range(n.rank)[::-1])))


@reader("Unsqueeze")
def unsqueeze(n: OnnxNode) -> str:
    axes, y = n.integers(1, "axes", []), n.x
    rank = n.rank + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        y = n.emit("expand_dims", y, axis=axis)
    return y


@reader("Squeeze")
def squeeze(n: OnnxNode) -> str:
    axes = n.integers(1, "axes") or [axis for axis, size in enumerate(n.shape()) if size == 1]
    return n.emit("squeeze", n.x, axes=[axis % n.rank for axis in axes])


@reader("Slice")
def slices(n: OnnxNode) -> str:
    starts, ends = n.integers(1, "starts"), n.integers(2, "ends")
    axes = n.integers(3, "axes") or list(range(len(starts)))
    if any(step != 1 for step in n.integers(4, "steps", []) or []):
        raise n.decline("steps other than 1 are not read")
    y = n.x
    for axis, begin, end in zip(axes, starts, ends, strict=True):
        end = TO_THE_END if end >= TO_THE_END else end
        y = n.emit("slice_axis", y, axis=axis % n.rank, begin=max(begin, -TO_THE_END), end=end)
    return y


@reader("Split")
def split(n: OnnxNode) -> list[str]:
    axis, count = n.axis(0), len(n.outputs)
    length = n.shape()[axis]
    sizes = n.integers(1, "split")
    sizes = sizes or [-(-length // count)] * count
    if len(set(sizes)) == 1 and sum(sizes) == length:
        return n.emit_many("split", count, n.x, axis=axis)
    ends = np.minimum(np.cumsum(sizes), length).tolist()
    begins = [0, *ends[:-1]]
    return [
        n.emit("slice_axis", n.x, suffix=str(at), axis=axis, begin=begin, end=end)
        for at, (begin, end) in enumerate(zip(begins, ends, strict=True))
    ]


@reader("Pad")
def pad(n: OnnxNode) -> str:
    if n.attrs.get("mode", "constant") != "constant":
        raise n.decline(f"mode {n.attrs['mode']} is not read")
    pads = n.integers(1, "pads")
    value = n.required(2, "value") if n.has(2) else n.attrs.get("value", 0.0)
    axes = n.integers(3, "axes") or list(range(n.rank))
    width = [0] * 2 * n.rank
    for at, axis in enumerate(axes):
        width[2 * (axis % n.rank) : 2 * (axis % n.rank) + 2] = pads[at], pads[at + len(axes)]
    if min(width) < 0:
        raise n.decline(f"negative padding {pads} is not read")
    return n.emit("pad", n.x, width=width, value=float(np.reshape(value, ())))


@reader("Expand")
def expand(n: OnnxNode) -> str:
    target = np.broadcast_shapes(tuple(n.integers(1, "shape")), n.shape())
    if target != n.shape():
        raise n.decline(f"{n.shape()} to {target}; only one that changes nothing is read")
    return n.emit("identity", n.x)
