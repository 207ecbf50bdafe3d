"""Symbols that MXNet has quantized and fused (``mx.contrib.quantization``), as they were before.

Fused nodes hold their float operators as a subgraph and their weights in float32, so nothing is
lost but MXNet's calibration: ours is measured anew.
"""

from __future__ import annotations

from typing import Any

from gluonzip.errors import UnsupportedError

FUSED = ("_sg_mkldnn_conv", "_sg_mkldnn_fully_connected")
PASSES = (
    "_contrib_quantize_v2",
    "_contrib_quantize",
    "_contrib_dequantize",
    "_contrib_requantize",
)
"""From integers to floats and back: nothing, in floats."""
PLAIN = {
    "_contrib_quantized_pooling": ("Pooling", 1),
    "_contrib_quantized_act": ("Activation", 1),
    "_contrib_quantized_flatten": ("Flatten", 1),
    "_contrib_quantized_elemwise_add": ("elemwise_add", 2),
    "_contrib_quantized_elemwise_mul": ("elemwise_mul", 2),
}
"""Operator on integers -> the one on floats, and how many inputs are not ranges."""


def in_floats(document: dict[str, Any]) -> dict[str, Any]:
    """The JSON of a symbol, in float32 operators. UnsupportedError for other integer ones."""
    nodes = document["nodes"]
    if not any(node["op"] in (*FUSED, *PASSES, *PLAIN) for node in nodes):
        return document
    expanded = _Expanded()
    for index, node in enumerate(nodes):
        expanded.take(index, node)
    heads = [[*expanded.places[entry[0], entry[1]], 0] for entry in document["heads"]]
    made = expanded.nodes
    return {
        "nodes": made,
        "arg_nodes": [at for at, node in enumerate(made) if node["op"] == "null"],
        "node_row_ptr": list(range(len(made) + 1)),
        "heads": heads,
        "attrs": document.get("attrs", {}),
    }


class _Expanded:
    """``places``: (index, output) in the old document -> in the new one."""

    def __init__(self) -> None:
        self.nodes: list[dict[str, Any]] = []
        self.places: dict[tuple[int, int], tuple[int, int]] = {}

    def take(self, index: int, node: dict[str, Any]) -> None:
        inputs = [self.places.get((entry[0], entry[1])) for entry in node["inputs"]]
        if node["op"] in PASSES:
            self.places[index, 0] = inputs[0]
        elif node["op"] in FUSED:
            self.places[index, 0] = self._inside(node, inputs)
        elif node["op"] in PLAIN:
            operator, count = PLAIN[node["op"]]
            self.places[index, 0] = self._add(node, operator, inputs[:count]), 0
        elif None in inputs or node["op"].startswith("_contrib_quantized_"):
            raise UnsupportedError(
                f"operator {node['op']!r} ({node['name']!r}) of a network that MXNet has quantized "
                "has no float form here; compress the network it was made from"
            )
        else:
            at = self._add(node, node["op"], inputs)
            self.places.update({(index, out): (at, out) for out in range(64)})

    def _inside(self, node: dict[str, Any], inputs: list[Any]) -> tuple[int, int]:
        """The operators of a fused node; where its output is."""
        (inner,) = node["subgraphs"]
        own: dict[int, int] = {}
        given = iter(inputs)
        ends: dict[int, tuple[int, int]] = {}
        for at, part in enumerate(inner["nodes"]):
            if part["op"] == "null":
                ends[at] = next(given)
            else:
                own[at] = self._add(part, part["op"], [ends[entry[0]] for entry in part["inputs"]])
                ends[at] = own[at], 0
        return ends[inner["heads"][0][0]]

    def _add(self, node: dict[str, Any], operator: str, inputs: list[Any]) -> int:
        made = {"op": operator, "name": node["name"], "inputs": [[*place, 0] for place in inputs]}
        if node.get("attrs"):
            made["attrs"] = dict(node["attrs"])
        self.nodes.append(made)
        return len(self.nodes) - 1
