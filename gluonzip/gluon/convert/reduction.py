"""Converters of reductions, softmax and matrix products."""

from __future__ import annotations

from gluonzip.gluon.convert.registry import MxNode, converter, require


@converter("softmax", "log_softmax")
def softmax(node: MxNode) -> str:
    require(len(node.inputs) == 1, "a length for each row")
    return node.emit(
        node.operator,
        node.x,
        axis=node.axis("axis", -1),
        temperature=node.attrs.number("temperature", 1.0),
    )


@converter("SoftmaxActivation")
def softmax_activation(node: MxNode) -> str:
    channel = node.attrs.text("mode", "instance") == "channel"
    require(channel or node.rank == 2, "mode instance on more than two axes")
    return node.emit("softmax", node.x, axis=1 if channel else -1)


@converter("SoftmaxOutput", "Softmax")
def softmax_output(node: MxNode) -> str:
    # The label input matters to the gradient only.
    multi = node.attrs.flag("multi_output")
    flat = multi or node.attrs.flag("preserve_shape") or node.rank == 2
    require(flat, "more than two axes without multi_output or preserve_shape")
    return node.emit("softmax", node.x, axis=1 if multi else -1)


@converter("mean", "sum", "sum_axis", "max", "max_axis")
def reduce(node: MxNode) -> str:
    return node.emit(
        node.operator.removesuffix("_axis"),
        node.x,
        axes=node.axes(),
        keepdims=node.attrs.flag("keepdims"),
    )


@converter("batch_dot", "_linalg_gemm2")
def batch_dot(node: MxNode) -> str:
    require(node.attrs.number("alpha", 1.0) == 1, "alpha other than 1")
    return node.emit(
        "matmul",
        *node.inputs,
        transpose_a=node.attrs.flag("transpose_a"),
        transpose_b=node.attrs.flag("transpose_b"),
    )


@converter("dot")
def dot(node: MxNode) -> str:
    require(node.rank == 2 and len(node.shape_of(1)) == 2, "other than two matrices")
    return batch_dot(node)
