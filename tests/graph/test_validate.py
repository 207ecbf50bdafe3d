"""Every malformation is found, and all at once."""

from __future__ import annotations

import re

import numpy as np
import pytest

from gluonzip.errors import GraphError
from gluonzip.graph import Constant, Graph, Input, Node, to_text, validate


def network() -> Graph:
    weight = Constant(np.array([[1, 0], [0, -2], [0, 0]], np.int8), np.float32(0.5))
    return Graph(
        inputs=[Input("x", (0, 2))],
        outputs=["y"],
        nodes=[
            Node("dense", "fc", ["x", "w", "b"], ["a"], {"act": "relu"}),
            Node("softmax", "prob", ["a"], ["y"], {"temperature": 2.0}),
        ],
        constants={"w": weight, "b": Constant(np.zeros(3, np.float32))},
        name="tiny",
    )


def broken(change) -> str:
    graph = network()
    change(graph)
    with pytest.raises(GraphError) as error:
        validate(graph)
    return str(error.value)


def test_a_good_graph_passes():
    validate(network())


def weight(**changes):
    def change(graph: Graph) -> None:
        old = graph.constants["w"]
        fields = {"data": old.data, "scale": old.scale, "axis": 0, "bits": 8, **changes}
        graph.constants["w"] = Constant(**fields)

    return change


def node(**changes):
    def change(graph: Graph) -> None:
        for name, value in changes.items():
            setattr(graph.nodes[0], name, value)

    return change


BAD = np.array([[1, 2], [3, np.nan], [np.inf, 0]], np.float32)
CASES = {
    "unknown op": (node(op="denze"), "node 'fc': operator 'denze' is not in the op table"),
    "duplicate node": (node(name="prob"), "node name 'prob' is used 2 times"),
    "duplicate tensor": (node(outputs=["y"]), "tensor name 'y' is used 2 times"),
    "undefined": (node(inputs=["x", "w", "c"]), "node 'fc' reads tensor 'c' which nothing defines"),
    "order": (lambda g: g.nodes.reverse(), "node 'prob' reads tensor 'a' before it is made"),
    "output": (lambda g: g.outputs.append("z"), "output 'z' is not defined"),
    "no output": (lambda g: g.outputs.clear(), "there are no outputs"),
    "too few": (node(inputs=["x"]), "dense takes inputs .*, got 1"),
    "too many": (node(inputs=["x"] * 5), "dense takes inputs .*, got 5"),
    "absent": (node(inputs=["", "w"]), "input 'x' of dense is absent but not optional"),
    "attribute": (node(attrs={"pad": [0]}), "dense has no attribute 'pad' .it has act, "),
    "bool": (node(attrs={"flatten": 1}), "attribute flatten = 1 of dense is not a boolean"),
    "nan": (node(attrs={"act_min": float("nan")}), "act_min = nan of dense is not a finite number"),
    "act": (node(attrs={"act": "gelu"}), "activation 'gelu' is unknown; use one of none, relu"),
    "scale": (node(attrs={"out_scale": 0.0}), "attribute out_scale = 0.0 of dense is not positive"),
    "required": (
        lambda g: g.nodes.append(Node("max_pool", "p", ["y"], ["z"])),
        "node 'p': max_pool needs attribute 'kernel'",
    ),
    "ints": (
        lambda g: g.nodes.append(Node("max_pool", "p", ["y"], ["z"], {"kernel": [2.0, 2]})),
        "attribute kernel = .* of max_pool is not a list of integers",
    ),
    "length": (
        lambda g: g.nodes.append(Node("max_pool", "p", ["y"], ["z"], {"kernel": [2]})),
        "attribute kernel = .2. of max_pool needs 2 numbers",
    ),
    "outputs": (node(outputs=["a", "b2"]), "dense has 2 outputs"),
    "non-finite": (weight(data=BAD, scale=None), "constant 'w' holds 2 non-finite values .* of 6"),
    "not an array": (weight(data=[1], scale=None), "constant 'w' is a list, not a NumPy array"),
    "codes": (weight(data=np.array([[-128, 0]] * 3, np.int8)), r"codes outside \[-127, 127\]"),
    "bits": (weight(data=np.array([[8, 0]] * 3, np.int8), bits=4), r"outside \[-7, 7\] \(4 bits\)"),
    "many bits": (weight(bits=9), "constant 'w' bits = 9 is not supported"),
    "code dtype": (weight(data=np.zeros((3, 2), np.int32)), "has a scale but dtype int32"),
    "bad scale": (weight(scale=np.float32(np.inf)), "constant 'w' has a non-finite scale"),
    "scale dtype": (weight(scale=np.float64(1)), "a scale of dtype float64; it must be float32"),
    "scale shape": (
        weight(scale=np.ones(2, np.float32)),
        r"of shape \(3, 2\) has a scale of shape \(2,\) along axis 0",
    ),
    "scale axis": (
        weight(scale=np.ones(2, np.float32), axis=1),
        "weight 'w' is scaled along axis 1; dense needs 0",
    ),
    "int8 misuse": (
        node(inputs=["x", "w", "w"]),
        "dense reads the quantized constant 'w', which only weights may be",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_problem(case):
    change, message = CASES[case]
    assert re.search(message, broken(change))


def test_every_problem_is_listed():
    def change(graph: Graph) -> None:
        graph.nodes[0].attrs["flatten"] = "yes"
        graph.nodes[1].op = "nothing"
        graph.outputs.append("z")

    message = broken(change)
    assert message.startswith("graph 'tiny' has 3 problem(s):")
    assert message.count("\n  - ") == 3


def test_opaque_nodes_are_well_formed():
    graph = network()
    attrs = {"operator": "box_nms", "attrs": {"overlap": "0.5"}}
    graph.nodes.append(Node("opaque", "nms", ["y"], ["boxes", "scores"], attrs))
    graph.outputs = ["boxes"]
    validate(graph)
    assert "boxes, scores = box_nms(y)" in to_text(graph)


def test_text():
    assert to_text(network()) == (
        "network tiny: 1 input, 2 nodes, 2 constants\n"
        "input x: float32 (0, 2)\n"
        "a = dense(x, w, b)  act=relu -> float32 (1, 3)\n"
        "y = softmax(a)  temperature=2 -> float32 (1, 3)\n"
        "output y\n"
        "constant w: 8 bits (3, 2), 66.7% zeros\n"
        "constant b: float32 (3,)\n"
    )
