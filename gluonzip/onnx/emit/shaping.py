"""Operators that move values about."""

from __future__ import annotations

from gluonzip.onnx.emit.registry import View, emitter


@emitter("concat")
def concat(v: View) -> str:
    return v.emit("Concat", *v.inputs, axis=v.a.axis)


@emitter("flatten")
def flatten(v: View) -> str:
    return v.emit("Flatten", v.x, axis=1)


@emitter("reshape")
def reshape(v: View) -> str:
    return v.emit("Reshape", v.x, v.integers(*_target(v)))


def _target(v: View) -> list[int]:
    """ONNX's shape: lengths, 0 for an axis copied from the same place, at most one -1."""
    after = v.out_lengths
    target = [-1 if n is None else n for n in after]
    if after and after[0] is None and v.same_first_axis():
        target[0] = 0
    if target.count(-1) > 1:
        raise v.decline(f"more than one free length in {after}; trace with fixed lengths")
    return target


@emitter("transpose")
def transpose(v: View) -> str:
    return v.emit("Transpose", v.x, perm=list(v.a.axes))


@emitter("expand_dims")
def expand_dims(v: View) -> str:
    return v.emit("Unsqueeze", v.x, v.integers(v.a.axis % (v.rank + 1)))


@emitter("squeeze")
def squeeze(v: View) -> str:
    axes = [axis % v.rank for axis in v.a.axes]
    axes = axes or [axis for axis, n in enumerate(v.lengths()) if n == 1]
    return v.emit("Squeeze", v.x, v.integers(*axes)) if axes else v.emit("Identity", v.x)


@emitter("slice_axis")
def slice_axis(v: View) -> str:
    a = v.a
    return v.emit("Slice", v.x, v.integers(a.begin), v.integers(a.end), v.integers(a.axis))


@emitter("split")
def split(v: View) -> list[str]:
    count = v.a.n_outputs
    if count == 1:
        parts = [v.x]
    else:
        parts = v.emit_many("Split", count, v.x, axis=v.a.axis, num_outputs=count)
    if v.a.squeeze:
        parts = [v.emit("Squeeze", part, v.integers(v.a.axis)) for part in parts]
    return parts


@emitter("pad")
def pad(v: View) -> str:
    widths = v.integers(*v.a.width[::2], *v.a.width[1::2])
    return v.emit("Pad", v.x, widths, v.floats(v.a.value), mode="constant")
