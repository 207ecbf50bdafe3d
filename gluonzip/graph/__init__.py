"""The graph: IR, op table, types, validation, text and the interpreter (the oracle). NumPy only."""

from gluonzip.graph.interpret import interpret
from gluonzip.graph.ir import Constant, Graph, Input, Names, Node, TensorType, replace_node
from gluonzip.graph.ops import OPS, REQUIRED, OpSpec
from gluonzip.graph.text import to_text
from gluonzip.graph.types import infer_types, known_types
from gluonzip.graph.validate import validate

__all__ = [
    "OPS",
    "REQUIRED",
    "Constant",
    "Graph",
    "Input",
    "Names",
    "Node",
    "OpSpec",
    "TensorType",
    "infer_types",
    "interpret",
    "known_types",
    "replace_node",
    "to_text",
    "validate",
]
