"""Operators that move values about: on codes as on values."""

from __future__ import annotations

import numpy as np

from gluonzip.tflite.emit.registry import TO_LAST, View, emitter, stored_axis
from gluonzip.tflite.flat import Tensor


@emitter("concat")
def concat(v: View) -> Tensor:
    axis = stored_axis(v.a.axis, v.rank)
    tensors = [v.tensor(at) for at in range(len(v.node.inputs))]
    if v.out_codes is None:
        tensors = [v.state.real(t) for t in tensors]
    else:
        tensors = [v.state.codes(t, v.out_codes) for t in tensors]
    fields = {"Axis": axis, "FusedActivationFunction": 0}
    return v.op("CONCATENATION", *tensors, codes=v.out_codes, table="Concatenation", **fields)


@emitter("flatten", "reshape", "expand_dims", "squeeze")
def reshape(v: View) -> Tensor:
    """In the graph's order, then channels last again."""
    x = v.tensor() if v.out_codes else v.real()
    return v.channels_last(v.reshaped(v.natural(x), v.type.shape))


@emitter("transpose")
def transpose(v: View) -> Tensor:
    x, axes = v.tensor(), list(v.a.axes)
    if v.rank == 4:  # from stored to stored, at once
        axes = [TO_LAST.index(axes[axis]) for axis in TO_LAST]
    return v.op("TRANSPOSE", x, v.ints(*axes), codes=x.codes)


@emitter("slice_axis")
def slice_axis(v: View) -> Tensor:
    x, axis = v.tensor(), stored_axis(v.a.axis, v.rank)
    begin = range(x.shape[axis])[v.a.begin : v.a.end].start
    return _slice(v, x, axis, begin, v.out_shape)


def _slice(v: View, x: Tensor, axis: int, begin: int, shape) -> Tensor:
    begins = v.ints(*(begin if at == axis else 0 for at in range(len(shape))))
    return v.op("SLICE", x, begins, v.ints(*shape), shape=shape, codes=x.codes)


@emitter("split")
def split(v: View) -> list[Tensor]:
    axis = stored_axis(v.a.axis, v.rank)
    x = v.tensor() if v.out_codes else v.real()
    length = x.shape[axis] // v.a.n_outputs
    shape = [length if at == axis else n for at, n in enumerate(x.shape)]
    parts = [_slice(v, x, axis, i * length, shape) for i in range(v.a.n_outputs)]
    if not v.a.squeeze:
        return parts
    return [v.channels_last(v.reshaped(v.natural(part), v.type.shape)) for part in parts]


@emitter("pad")
def pad(v: View) -> Tensor:
    x, width = v.tensor(), np.array(v.a.width, np.int32).reshape(-1, 2)
    if v.rank == 4:
        width = width[TO_LAST]
    elif v.rank > 4:
        raise v.decline("of more than four axes")
    widths = v.array(np.ascontiguousarray(width), "width")
    if v.a.value == 0:
        return v.op("PAD", x, widths, codes=x.codes, table="Pad")
    return v.op("PADV2", v.real(), widths, v.floats(v.a.value), table="PadV2")
