"""Rules that the topologies of test_shrink do not reach."""

from dataclasses import replace

import numpy as np
import prune_graphs as nets

from gluonzip.graph import OPS, interpret
from gluonzip.passes.prune import find_groups, select, shrink
from gluonzip.passes.prune.propagation import RULES


def test_every_operator_has_a_rule():
    assert set(RULES) == set(OPS) - {"opaque"}


def attention():
    net = nets.Net((1, 4, 12))
    q = net.dense("data", 12, 16, "q", flatten=False)
    k = net.dense("data", 12, 16, "k", flatten=False)
    v = net.dense("data", 12, 24, "v", flatten=False)
    weights = net.op("softmax", net.op("matmul", q, k, transpose_b=True), axis=-1)
    x = net.op("matmul", weights, v)
    return net.done(net.dense(x, 24, 5, "out", flatten=False))


def test_attention_loses_keys_with_queries_and_values_alone():
    graph = attention()
    groups = {tuple(sorted(g.layers)): len(g) for g in find_groups(graph).groups}
    assert groups == {("k", "q"): 16, ("v",): 24}
    selection = select(graph, ratio=0.5, round_to=1)
    small, record = shrink(selection)
    np.testing.assert_array_equal(record.removed["q"], record.removed["k"])
    silent = graph.copy()  # the same network, the removed channels giving 0
    for layer, indices in record.removed.items():
        for name in (f"{layer}.weight", f"{layer}.bias"):
            data = silent.constants[name].data.copy()
            data[indices] = 0
            silent.constants[name] = replace(silent.constants[name], data=data)
    x = np.random.default_rng(0).normal(size=(1, 4, 12)).astype(np.float32)
    actual, expected = interpret(small, x)[0], interpret(silent, x)[0]
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4)


def test_embedding_tied_to_the_output_keeps_its_rows():
    net = nets.Net((1, 6))
    table = net.const("table", 10, 16)
    x = net.op("embedding", "data", table, name="embedding")
    x = net.dense(net.op("gelu", net.dense(x, 16, 24, "fc", flatten=False)), 24, 16, "back")
    graph = net.done(net.op("dense", x, table, name="out"))
    graph.constants["back.weight"] = replace(
        graph.constants["back.weight"], data=net.rng.normal(size=(16, 144)).astype(np.float32)
    )
    small, record = shrink(select(graph, ratio=0.5, round_to=1))
    assert small.constants["table"].data.shape == (10, 8)
    assert set(record.removed) == {"embedding", "fc", "back"}
    np.testing.assert_array_equal(record.removed["embedding"], record.removed["back"])
