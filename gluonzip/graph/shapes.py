"""Shape and cost rules of the op table.

A shape rule is ``rule(a, *shapes) -> shape`` (or a list of shapes for several outputs): ``a`` holds
the attributes, defaults filled in, and ``a.n_outputs``; an absent optional input has shape None. A
rule raises ShapeError with what does not fit; ``infer_types`` adds the node's name.
A cost rule is ``rule(a, shapes, output_shape) -> multiply-accumulates``.
"""

from __future__ import annotations

from math import prod
from types import SimpleNamespace

from gluonzip.errors import ShapeError, UnsupportedError
from gluonzip.graph.scales import fits

Shape = tuple[int, ...]
Attrs = SimpleNamespace


def need(condition: bool, message: str) -> None:
    """Raise ShapeError unless ``condition``."""
    if not condition:
        raise ShapeError(message)


def axis_of(axis: int, shape: Shape) -> int:
    """``axis`` counted from the front; ShapeError when the tensor has no such axis."""
    need(-len(shape) <= axis < len(shape), f"axis {axis} does not exist in shape {shape}")
    return axis % len(shape)


def axes_of(axes: list[int], shape: Shape) -> tuple[int, ...]:
    """Axes counted from the front; an empty list means all of them."""
    return tuple(sorted({axis_of(axis, shape) for axis in axes})) or tuple(range(len(shape)))


# ---------------------------------------------------------------- the same or broadcast
def same(a: Attrs, x: Shape, *parameters: Shape) -> Shape:
    return x


def per_channel(a: Attrs, x: Shape, *parameters: Shape) -> Shape:
    channels = (x[axis_of(a.axis, x)],)
    for shape in parameters:
        need(shape == channels, f"parameter of shape {shape} must have shape {channels}")
    return x


def prelu(a: Attrs, x: Shape, slope: Shape) -> Shape:
    channels = (x[axis_of(1, x)],)
    need(slope in (channels, (1,)), f"slope of shape {slope} must have shape {channels} or (1,)")
    return x


def fake_quantize(a: Attrs, x: Shape, scale: Shape) -> Shape:
    axis = axis_of(a.axis, x) if x else 0
    channels = x[axis : axis + 1]
    need(
        fits(scale, x, axis),
        f"scale of shape {scale} must have shape (), {channels} or {(*channels, 'groups')}, with "
        f"groups that divide the others of {x}",
    )
    return x


def broadcast(a: Attrs, x: Shape, y: Shape) -> Shape:
    rank = max(len(x), len(y))
    pairs = list(zip((1,) * (rank - len(x)) + x, (1,) * (rank - len(y)) + y, strict=True))
    need(all(m == n or 1 in (m, n) for m, n in pairs), f"shapes {x} and {y} do not broadcast")
    return tuple(n if m == 1 else m for m, n in pairs)


# ---------------------------------------------------------------- weighted
def _check_rank4(x: Shape) -> None:
    need(len(x) == 4, f"input of shape {x} must have four axes (N, C, H, W)")


def _check_residual(out: Shape, residual: Shape | None) -> Shape:
    need(residual in (None, out), f"residual of shape {residual} must have the output's, {out}")
    return out


def _check_bias(bias: Shape | None, channels: int) -> None:
    need(bias in (None, (channels,)), f"bias of shape {bias} must have shape ({channels},)")


def conv2d(
    a: Attrs, x: Shape, weight: Shape, bias: Shape | None = None, residual: Shape | None = None
) -> Shape:
    _check_rank4(x)
    need(len(weight) == 4, f"weight of shape {weight} must have four axes (O, I/groups, KH, KW)")
    need(
        a.groups > 0 and weight[0] % a.groups == 0,
        f"{a.groups} groups do not divide {weight[0]} outputs",
    )
    need(
        x[1] == weight[1] * a.groups,
        f"input has {x[1]} channels, weight {weight} in {a.groups} groups needs "
        f"{weight[1] * a.groups}",
    )
    _check_bias(bias, weight[0])
    top, left, bottom, right = a.pad
    size = []
    for n, k, s, d, pad in zip(
        x[2:], weight[2:], a.stride, a.dilation, (top + bottom, left + right), strict=True
    ):
        reach = d * (k - 1) + 1
        need(
            n + pad >= reach,
            f"kernel {weight[2:]} is larger than the padded input {x[2:]} + {a.pad}",
        )
        size.append((n + pad - reach) // s + 1)
    return _check_residual((x[0], weight[0], *size), residual)


def conv_transpose2d(
    a: Attrs, x: Shape, weight: Shape, bias: Shape | None = None, residual: Shape | None = None
) -> Shape:
    _check_rank4(x)
    need(len(weight) == 4, f"weight of shape {weight} must have four axes (C, O/groups, KH, KW)")
    need(x[1] == weight[0], f"input has {x[1]} channels, weight {weight} needs {weight[0]}")
    need(a.groups > 0 and x[1] % a.groups == 0, f"{a.groups} groups do not divide {x[1]} channels")
    channels = weight[1] * a.groups
    _check_bias(bias, channels)
    top, left, bottom, right = a.pad
    size = [
        (n - 1) * s + d * (k - 1) + 1 + extra - pad
        for n, k, s, d, extra, pad in zip(
            x[2:],
            weight[2:],
            a.stride,
            a.dilation,
            a.output_pad,
            (top + bottom, left + right),
            strict=True,
        )
    ]
    need(min(size) > 0, f"pad {a.pad} leaves nothing of the output")
    return _check_residual((x[0], channels, *size), residual)


def dense(
    a: Attrs, x: Shape, weight: Shape, bias: Shape | None = None, residual: Shape | None = None
) -> Shape:
    need(len(weight) == 2, f"weight of shape {weight} must have two axes (O, I)")
    need(len(x) >= 1, "input must have at least one axis")
    features = prod(x[1:]) if a.flatten else x[-1]
    need(
        features == weight[1],
        f"input {x} has {features} features, weight {weight} needs {weight[1]}",
    )
    _check_bias(bias, weight[0])
    return _check_residual((*(x[:1] if a.flatten else x[:-1]), weight[0]), residual)


def embedding(a: Attrs, x: Shape, weight: Shape) -> Shape:
    need(len(weight) == 2, f"weight of shape {weight} must have two axes (V, D)")
    return (*x, weight[1])


def matmul(a: Attrs, x: Shape, y: Shape) -> Shape:
    need(len(x) >= 2 and len(y) >= 2, f"{x} and {y} must have at least two axes")
    m, k = x[-2:][::-1] if a.transpose_a else x[-2:]
    k2, n = y[-2:][::-1] if a.transpose_b else y[-2:]
    need(k == k2, f"shapes {x} and {y} do not multiply: {k} columns, {k2} rows")
    return (*broadcast(a, x[:-2], y[:-2]), m, n)


def conv2d_macs(a: Attrs, shapes: list[Shape], out: Shape) -> int:
    return prod(out) * prod(shapes[1][1:])


def conv_transpose2d_macs(a: Attrs, shapes: list[Shape], out: Shape) -> int:
    return prod(shapes[0]) * prod(shapes[1][1:])


def matmul_macs(a: Attrs, shapes: list[Shape], out: Shape) -> int:
    return prod(out) * (shapes[0][-2] if a.transpose_a else shapes[0][-1])


# ---------------------------------------------------------------- pooling
def pooled_length(length: int, kernel: int, stride: int, pad: int, ceil_mode: bool) -> int:
    """Windows along one axis; ``pad`` counts both ends. As in MXNet, none is dropped for
    beginning in the padding."""
    need(length + pad >= kernel, f"kernel {kernel} is longer than the padded input {length + pad}")
    span = length + pad - kernel
    return (-(-span // stride) if ceil_mode else span // stride) + 1


def pool(a: Attrs, x: Shape) -> Shape:
    _check_rank4(x)
    (kh, kw), (sh, sw), (top, left, bottom, right) = a.kernel, a.stride, a.pad
    return (
        *x[:2],
        pooled_length(x[2], kh, sh, top + bottom, a.ceil_mode),
        pooled_length(x[3], kw, sw, left + right, a.ceil_mode),
    )


def global_pool(a: Attrs, x: Shape) -> Shape:
    _check_rank4(x)
    return (*x[:2], 1, 1)


def adaptive_pool(a: Attrs, x: Shape) -> Shape:
    _check_rank4(x)
    return (*x[:2], *a.output)


def upsample(a: Attrs, x: Shape) -> Shape:
    _check_rank4(x)
    return (*x[:2], x[2] * a.factor, x[3] * a.factor)


def resize(a: Attrs, x: Shape) -> Shape:
    _check_rank4(x)
    return (*x[:2], *a.size)


# ---------------------------------------------------------------- shape
def concat(a: Attrs, *shapes: Shape) -> Shape:
    first = shapes[0]
    axis = axis_of(a.axis, first)
    for shape in shapes[1:]:
        rest = shape[:axis] + shape[axis + 1 :]
        need(
            len(shape) == len(first) and rest == first[:axis] + first[axis + 1 :],
            f"shapes {', '.join(map(str, shapes))} differ outside axis {axis}",
        )
    return (*first[:axis], sum(shape[axis] for shape in shapes), *first[axis + 1 :])


def flatten(a: Attrs, x: Shape) -> Shape:
    need(len(x) >= 1, "input must have at least one axis")
    return (x[0], prod(x[1:]))


def reshape(a: Attrs, x: Shape) -> Shape:
    """MXNet's reshape codes, read from the left (``reverse=False``)."""
    out: list[int] = []
    at, i = 0, 0  # next input axis, next code
    message = f"shape {a.shape} does not fit an input of shape {x}"

    def take() -> int:
        nonlocal at
        need(at < len(x), message)
        at += 1
        return x[at - 1]

    while i < len(a.shape):
        code = a.shape[i]
        if code > 0:
            out.append(code)
            at += 1
        elif code == 0:
            out.append(take())
        elif code == -1:
            out.append(-1)
            at += 1
        elif code == -2:
            out.extend(x[at:])
            at = len(x)
        elif code == -3:
            out.append(take() * take())
        elif code == -4:
            need(i + 2 < len(a.shape), message)
            whole, first, second = take(), *a.shape[i + 1 : i + 3]
            if first == -1:
                first = whole // max(second, 1)
            if second == -1:
                second = whole // max(first, 1)
            need(first * second == whole, message)
            out += [first, second]
            i += 2
        else:
            raise ShapeError(f"shape {a.shape} holds {code}; codes go from -4 to 0")
        i += 1
    need(out.count(-1) <= 1, f"shape {a.shape} infers more than one axis")
    if -1 in out:
        known = prod(n for n in out if n != -1)
        need(known > 0 and prod(x) % known == 0, message)
        out[out.index(-1)] = prod(x) // known
    need(prod(out) == prod(x), message)
    return tuple(out)


def transpose(a: Attrs, x: Shape) -> Shape:
    need(sorted(a.axes) == list(range(len(x))), f"axes {a.axes} do not permute shape {x}")
    return tuple(x[axis] for axis in a.axes)


def expand_dims(a: Attrs, x: Shape) -> Shape:
    axis = axis_of(a.axis, (*x, 1))
    return (*x[:axis], 1, *x[axis:])


def squeeze(a: Attrs, x: Shape) -> Shape:
    if not a.axes:
        return tuple(n for n in x if n != 1)
    axes = axes_of(a.axes, x)
    need(all(x[axis] == 1 for axis in axes), f"axes {a.axes} of shape {x} are not all of length 1")
    return tuple(n for axis, n in enumerate(x) if axis not in axes)


def slice_axis(a: Attrs, x: Shape) -> Shape:
    axis = axis_of(a.axis, x)
    length = len(range(x[axis])[a.begin : a.end])
    need(length > 0, f"[{a.begin}:{a.end}] of axis {axis} of shape {x} is empty")
    return (*x[:axis], length, *x[axis + 1 :])


def split(a: Attrs, x: Shape) -> list[Shape]:
    axis = axis_of(a.axis, x)
    need(x[axis] % a.n_outputs == 0, f"axis {axis} of shape {x} has no {a.n_outputs} equal parts")
    length = x[axis] // a.n_outputs
    need(not a.squeeze or length == 1, f"parts of length {length} cannot be squeezed")
    part = (*x[:axis], *(() if a.squeeze else (length,)), *x[axis + 1 :])
    return [part] * a.n_outputs


def pad(a: Attrs, x: Shape) -> Shape:
    need(len(a.width) == 2 * len(x), f"width {a.width} needs two numbers for each axis of {x}")
    return tuple(
        n + before + after for n, before, after in zip(x, a.width[::2], a.width[1::2], strict=True)
    )


def reduce(a: Attrs, x: Shape) -> Shape:
    axes = axes_of(a.axes, x)
    if a.keepdims:
        return tuple(1 if axis in axes else n for axis, n in enumerate(x))
    return tuple(n for axis, n in enumerate(x) if axis not in axes)


def extremes(a: Attrs, x: Shape) -> Shape:
    if not x:
        raise ShapeError("the input has no axes")
    return (x[0], 2)


def on_axis(a: Attrs, x: Shape) -> Shape:
    axis_of(a.axis, x)
    return x


def opaque(a: Attrs, *shapes: Shape) -> Shape:
    raise UnsupportedError(
        f"operator {a.operator!r} is not in the op table: it can be kept in a graph, not run"
    )
