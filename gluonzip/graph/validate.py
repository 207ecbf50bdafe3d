"""Is a graph well formed? Every problem is listed at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np

from gluonzip.errors import GraphError
from gluonzip.graph.ir import Constant, Graph, Node
from gluonzip.graph.ops import ACTIVATIONS, OPS, OpSpec
from gluonzip.graph.scales import fits
from gluonzip.spec import code_limit


def validate(graph: Graph) -> None:
    """Raise GraphError that lists every problem of ``graph``; return None when there is none.

    Checked: names (unique, defined before use), operators, attributes and their types, numbers of
    inputs and outputs, constants (finite; int8 codes and scales within their rules). Shapes are
    the business of :func:`gluonzip.graph.infer_types`.
    """
    problems = list(_problems(graph))
    if problems:
        lines = "\n".join(f"  - {problem}" for problem in problems)
        raise GraphError(f"graph {graph.name!r} has {len(problems)} problem(s):\n{lines}")


def _problems(graph: Graph) -> Iterator[str]:
    yield from _name_problems(graph)
    for name, constant in graph.constants.items():
        yield from (f"constant {name!r} {problem}" for problem in _constant_problems(constant))
    for node in graph.nodes:
        yield from (f"node {node.name!r}: {problem}" for problem in _node_problems(graph, node))


def _name_problems(graph: Graph) -> Iterator[str]:
    tensors = [i.name for i in graph.inputs] + list(graph.constants)
    tensors += [name for node in graph.nodes for name in node.outputs]
    for kind, names in (("tensor", tensors), ("node", [node.name for node in graph.nodes])):
        for name, count in Counter(names).items():
            if count > 1:
                yield f"{kind} name {name!r} is used {count} times"
            if not isinstance(name, str) or not name:
                yield f"{kind} name {name!r} is not a non-empty string"
    defined = set(tensors[: len(graph.inputs) + len(graph.constants)])
    everywhere = set(tensors)
    for node in graph.nodes:
        for name in node.present_inputs():
            if name not in defined:
                when = "before it is made" if name in everywhere else "which nothing defines"
                yield f"node {node.name!r} reads tensor {name!r} {when}"
        defined.update(node.outputs)
    if not graph.outputs:
        yield "there are no outputs"
    for name in graph.outputs:
        if name not in defined:
            yield f"output {name!r} is not defined"


# ---------------------------------------------------------------- constants
def _constant_problems(constant: Constant) -> Iterator[str]:
    data = constant.data
    if not isinstance(data, np.ndarray):
        yield f"is a {type(data).__name__}, not a NumPy array"
        return
    if data.dtype.kind == "f":
        bad = data.size - int(np.isfinite(data).sum())
        if bad:
            yield f"holds {bad} non-finite values (NaN or infinity) of {data.size}"
    if constant.quantized:
        yield from _quantized_problems(constant)


def _quantized_problems(constant: Constant) -> Iterator[str]:
    data, scale = constant.data, np.asarray(constant.scale)
    if data.dtype != np.int8:
        yield f"has a scale but dtype {data.dtype}; codes are int8"
        return
    try:
        limit = code_limit(constant.bits)
    except ValueError as error:
        yield str(error)
        return
    if data.size and np.abs(data.astype(np.int16)).max() > limit:
        yield f"holds codes outside [-{limit}, {limit}] ({constant.bits} bits)"
    if constant.bits == 1 and not data.all():
        yield "holds codes of 0; binary ones are -1 and 1"
    if not np.isfinite(scale).all():
        yield "has a non-finite scale"
    if scale.dtype != np.float32:
        yield f"has a scale of dtype {scale.dtype}; it must be float32"
    if not fits(scale.shape, data.shape, constant.axis):
        yield f"of shape {data.shape} has a scale of shape {scale.shape} along axis {constant.axis}"


# ---------------------------------------------------------------- nodes
def _node_problems(graph: Graph, node: Node) -> Iterator[str]:
    spec = OPS.get(node.op)
    if spec is None:
        yield f"operator {node.op!r} is not in the op table"
        return
    yield from _arity_problems(spec, node)
    yield from _attribute_problems(spec, node)
    yield from _weight_problems(graph, spec, node)


def _arity_problems(spec: OpSpec, node: Node) -> Iterator[str]:
    given = len(node.inputs)
    required = sum(not name.endswith(("?", "*")) for name in spec.inputs)
    variadic = any(name.endswith("*") for name in spec.inputs)
    if given < required or (given > len(spec.inputs) and not variadic):
        yield f"{node.op} takes inputs ({' '.join(spec.inputs)}), got {given}"
    if node.op == "concat" and not given:
        yield "concat takes at least one input"
    for name, formal in zip(node.inputs, spec.inputs, strict=False):
        if not name and not formal.endswith("?"):
            yield f"input {formal!r} of {node.op} is absent but not optional"
    if not node.outputs or (len(node.outputs) > 1 and node.op not in ("split", "opaque")):
        yield f"{node.op} has {len(node.outputs)} outputs"


def _attribute_problems(spec: OpSpec, node: Node) -> Iterator[str]:
    for name in spec.required:
        if name not in node.attrs:
            yield f"{node.op} needs attribute {name!r}"
    for name, value in node.attrs.items():
        if name not in spec.attrs:
            known = ", ".join(sorted(spec.attrs)) or "none"
            yield f"{node.op} has no attribute {name!r} (it has {known})"
            continue
        wanted = spec.type_of(name)
        if not (value is None and spec.attrs[name] is None) and not _is_a(value, wanted):
            yield f"attribute {name} = {value!r} of {node.op} is not {_WORDS[wanted]}"
            continue
        length = _LENGTHS.get(name)
        if length and wanted == "ints" and len(value) != length:
            yield f"attribute {name} = {value!r} of {node.op} needs {length} numbers"
        if name in ("out_scale", "scale") and value is not None and not value > 0:
            yield f"attribute {name} = {value!r} of {node.op} is not positive"
    act = node.attrs.get("act", "none")
    if "act" in spec.attrs and act not in ACTIVATIONS:
        yield f"activation {act!r} is unknown; use one of {', '.join(ACTIVATIONS)}"


_WORDS = {
    "bool": "a boolean",
    "int": "an integer",
    "float": "a finite number",
    "str": "a string",
    "ints": "a list of integers",
    "map": "a map",
}
_LENGTHS = {
    "stride": 2,
    "pad": 4,
    "dilation": 2,
    "output_pad": 2,
    "kernel": 2,
    "output": 2,
    "size": 2,
}


def _is_a(value: Any, wanted: str) -> bool:
    if wanted == "float":
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return number and bool(np.isfinite(value))
    if wanted == "int":
        return isinstance(value, int) and not isinstance(value, bool)
    if wanted == "ints":
        return isinstance(value, list) and all(_is_a(item, "int") for item in value)
    return isinstance(value, {"bool": bool, "str": str, "map": dict}[wanted])


def _weight_problems(graph: Graph, spec: OpSpec, node: Node) -> Iterator[str]:
    """Quantized constants: where they may stand and which axis their scales follow."""
    for at, name in enumerate(node.inputs):
        constant = graph.constants.get(name)
        if constant is None or not constant.quantized:
            continue
        if spec.weight_axis is None or at != 1:
            yield f"{node.op} reads the quantized constant {name!r}, which only weights may be"
            continue
        per_channel = np.asarray(constant.scale).ndim > 0
        if per_channel and constant.axis != spec.weight_axis:
            yield (
                f"weight {name!r} is scaled along axis {constant.axis}; "
                f"{node.op} needs {spec.weight_axis}"
            )
