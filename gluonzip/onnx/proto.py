"""Values out of an ONNX model's messages, checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gluonzip.errors import ConfigError, UnsupportedError
from gluonzip.onnx.load import Loaded
from gluonzip.onnx.package import onnx
from gluonzip.onnx.parse import OnnxNode

T = onnx.TensorProto
BATCH = 7919
"""Stands for a free batch while shapes are followed: a prime that no network has as a length."""
_NUMBERS = (T.FLOAT, T.FLOAT16, T.DOUBLE, T.BFLOAT16, T.INT64, T.INT32)


def lengths(value: onnx.ValueInfoProto, given: Sequence[int] | None) -> tuple[int, ...]:
    """Of an input; the first axis may be 0: any length."""
    kind = value.type.tensor_type
    if not value.type.HasField("tensor_type") or not kind.HasField("shape"):
        raise UnsupportedError(f"input {value.name!r} is not a tensor of known rank")
    if kind.elem_type not in _NUMBERS:
        raise UnsupportedError(f"input {value.name!r} does not hold numbers (float or integer)")
    found = [d.dim_value if d.HasField("dim_value") else 0 for d in kind.shape.dim]
    if given is not None:
        pairs = list(zip(found, map(int, given), strict=False))
        if len(given) != len(found) or any(n not in (0, m) or m < 1 for n, m in pairs):
            shown = tuple(n or "any" for n in found)
            raise ConfigError(f"input {value.name!r} has shape {shown}, not {tuple(given)}")
        found = [n if at == 0 else m for at, (n, m) in enumerate(pairs)]
    if any(n < 0 or n >= 2**31 for n in found) or BATCH in found:
        raise UnsupportedError(f"input {value.name!r} has the shape {found}")
    if 0 in found[1:]:
        raise ConfigError(
            f"axis {found.index(0, 1)} of input {value.name!r} has no fixed length; give its "
            f"shape, e.g. --shape {value.name}=1x3x224x224"
        )
    return tuple(found)


def attribute(attribute: onnx.AttributeProto, loaded: Loaded) -> Any:
    kinds = onnx.AttributeProto
    if attribute.type == kinds.TENSOR:
        return loaded.array(attribute.t, f"attribute {attribute.name!r}")
    if attribute.type in (kinds.GRAPH, kinds.GRAPHS, kinds.SPARSE_TENSOR):
        return None
    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return list(value) if attribute.type in (kinds.INTS, kinds.FLOATS, kinds.STRINGS) else value


def constant_value(n: OnnxNode) -> np.ndarray:
    kinds = {"value_float": np.float32, "value_floats": np.float32}
    kinds |= {"value_int": np.int64, "value_ints": np.int64}
    for key, value in n.attrs.items():
        if key == "value" and isinstance(value, np.ndarray):
            return value
        if key in kinds:
            return np.asarray(value, kinds[key])
    raise n.decline(f"a constant of {', '.join(n.attrs) or 'nothing'} is not read")


def fits(structure: Any, count: int) -> bool:
    """Is this a structure over outputs 0 to count - 1?"""
    if isinstance(structure, list):
        return all(fits(item, count) for item in structure)
    if structure is None:
        return True
    return isinstance(structure, int) and not isinstance(structure, bool) and 0 <= structure < count
