"""Digests that tell teachers and data sets apart."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np

from gluonzip.errors import DataError, TraceError
from gluonzip.gluon.arrays import view
from gluonzip.gluon.structure import Block
from gluonzip.gluon.tracing import trace
from gluonzip.graph.ir import Graph

_PART = 1 << 20  # rows are hashed in parts of about so many bytes


def of_data(inputs: Any) -> str:
    """Of an array-like of samples (N, ...): dtype, shape and every value."""
    if not hasattr(inputs, "shape") or not len(inputs):
        raise DataError("the inputs to be answered must be an array (N, ...) with N >= 1")
    digest = _digest("data", str(np.dtype(inputs.dtype)), list(inputs.shape))
    each = max(1, _PART // max(1, inputs[:1].size * np.dtype(inputs.dtype).itemsize))
    for first in range(0, len(inputs), each):
        digest.update(_bytes(inputs[first : first + each]))
    return digest.hexdigest()


def of_graph(graph: Graph) -> str:
    """Of nodes, attributes and constants."""
    digest = _digest("graph", [[i.name] for i in graph.inputs], graph.outputs)
    for node in graph.nodes:
        attrs = sorted((key, repr(value)) for key, value in node.attrs.items())
        digest.update(_text([node.op, node.name, node.inputs, node.outputs, attrs]))
    for name, constant in sorted(graph.constants.items()):
        for array in (constant.data, constant.scale):
            if array is not None:
                array = np.asarray(array)
                digest.update(_text([name, str(array.dtype), list(array.shape)]))
                digest.update(_bytes(array))
    return digest.hexdigest()


def of_network(net: Block, shape: tuple[int, ...]) -> str:
    """Of what ``net`` computes and its weights; where it cannot be traced, of its layers' types
    and its parameters."""
    try:
        return of_graph(trace(net, shape))
    except TraceError:
        digest = _digest("network", repr(net))
    for name, parameter in sorted(net._collect_params_with_prefix().items()):
        value = view(parameter.list_data()[0])
        digest.update(_text([name, str(value.dtype), list(value.shape)]))
        digest.update(_bytes(value))
    return digest.hexdigest()


def combine(*digests: object) -> str:
    """One digest of several facts."""
    return _digest(*digests).hexdigest()


def _digest(*facts: object) -> Any:
    digest = hashlib.blake2b(digest_size=20)
    digest.update(_text(facts))
    return digest


def _text(facts: object) -> bytes:
    return json.dumps(facts, default=str).encode() + b"\0"


def _bytes(array: Any) -> bytes:
    array = array.asnumpy() if hasattr(array, "asnumpy") else array
    return np.ascontiguousarray(array).tobytes()
