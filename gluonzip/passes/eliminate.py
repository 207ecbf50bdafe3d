"""Remove what does nothing: identities, dead nodes, flattening where the reader flattens."""

from __future__ import annotations

from gluonzip.graph import Graph, Node


def eliminate_dead(graph: Graph) -> Graph:
    """``graph`` without the nodes and constants that no output needs."""
    graph = graph.copy()
    graph.prune()
    return graph


def eliminate(graph: Graph) -> Graph:
    """``graph`` without identities, without flatten in front of a dense that flattens, without dead
    nodes; ``reshape`` to (0, -1) becomes ``flatten`` and adaptive pooling to one cell global
    pooling, which have integer forms. The names of the graph's outputs stay."""
    graph = graph.copy()
    for node in graph.nodes:
        if node.op == "reshape" and list(node.attrs["shape"]) == [0, -1]:
            node.op, node.attrs = "flatten", {}
        elif node.op == "adaptive_avg_pool" and list(node.attrs["output"]) == [1, 1]:
            kept = {k: v for k, v in node.attrs.items() if k in ("out_scale", "unsigned")}
            node.op, node.attrs = "global_avg_pool", kept
    for node in list(graph.nodes):
        if node.op == "identity":
            bypass(graph, node)
    _unflatten_dense(graph)
    graph.prune()
    return graph


def bypass(graph: Graph, node: Node) -> None:
    """Remove a node that passes its first input through. An output of the graph keeps its name:
    the producer takes it over, or the node stays when there is no free producer."""
    source, out = node.inputs[0], node.output
    if out in graph.outputs:
        producer = graph.producers().get(source)
        if producer is None or source in graph.outputs:
            return
        producer.outputs = [out if name == source else name for name in producer.outputs]
        for reader in graph.nodes:
            reader.inputs = [out if name == source else name for name in reader.inputs]
    else:
        graph.redirect(out, source)
    graph.nodes.remove(node)


def _unflatten_dense(graph: Graph) -> None:
    producers = graph.producers()
    for node in graph.nodes:
        if node.op != "dense" or not node.attrs.get("flatten", True):
            continue
        while (before := producers.get(node.inputs[0])) is not None and before.op == "flatten":
            node.inputs[0] = before.inputs[0]
