"""Facts are what the network, the archive and NumPy say."""

import mxnet as mx
import numpy as np
import pytest
from mxnet.gluon import nn

from gluonzip import archive, gluon
from gluonzip.pipeline.graphs import to_graph
from gluonzip.report import measure
from gluonzip.report.latency import alternate
from gluonzip.spec import WeightQuantization


@pytest.fixture
def net():
    mx.random.seed(3)
    net = nn.HybridSequential()
    net.add(
        nn.Conv2D(4, 3, in_channels=2, use_bias=False),
        nn.BatchNorm(),
        nn.Activation("relu"),
        nn.Dense(6),
        nn.Dense(3),
    )
    net.initialize(mx.init.Xavier())
    net(mx.nd.zeros((1, 2, 5, 5)))
    return net


def facts_of(net, tmp_path, **records):
    graph = to_graph(net, [(1, 2, 5, 5)], "n")
    info = archive.write(tmp_path / "n.glz", graph)
    return {layer.name: layer for layer in measure.layer_facts(net, graph, info, records)}, info


def test_every_layer_is_listed_with_what_was_done_or_why_not(net, tmp_path):
    pruned = gluon.prune(net, sparsity=0.5, layers="3")
    quantized = gluon.quantize(net, weights=WeightQuantization(4), layers=["0", "3"])
    x = mx.nd.random.normal(shape=(4, 2, 5, 5))
    gluon.calibrate(net, [x])
    facts, info = facts_of(net, tmp_path, prune=pruned, quantize=quantized)
    assert list(facts) == ["0", "1", "3", "4"]
    conv, norm, dense, last = facts.values()

    assert (conv.kind, conv.shape, conv.parameters) == ("Conv2D", (4, 2, 3, 3), 72)
    assert (conv.weight_bits, conv.activation_bits) == (4, 8)
    assert conv.reason == "not pruned: not selected"
    assert conv.compressed

    assert (norm.kind, norm.parameters, norm.dense_bytes) == ("BatchNorm", 16, 64)
    assert norm.reason == "no weights; folded into a neighbour"

    assert dense.parameters == 6 * 36 + 6
    assert dense.sparsity >= 0.5
    assert dense.reason == ""

    assert last.reason == "not pruned: not selected; not quantized: not selected"
    assert (last.weight_bits, last.compressed) == (32, False)
    assert last.archive_bytes == sum(s.bytes for s in info.sections if s.name.startswith("4."))


def test_bytes_of_layers_and_archive_add_up(net, tmp_path):
    facts, info = facts_of(net, tmp_path)
    parts = measure.archive_bytes(info)
    assert parts.total == (tmp_path / "n.glz").stat().st_size
    assert parts.total == parts.header + parts.index + parts.meta + sum(
        s.bytes for s in parts.sections
    )
    assert sum(layer.archive_bytes for layer in facts.values()) == info.payload
    assert all(
        layer.reason == "no stage compresses" for layer in facts.values() if layer.name != "1"
    )


def test_shared_parameters_count_once(tmp_path):
    net = nn.HybridSequential()
    first = nn.Dense(4, in_units=4)
    net.add(first, nn.Dense(4, in_units=4, params=first.params))
    net.initialize()
    graph = to_graph(net, [(1, 4)], "n")
    info = archive.write(tmp_path / "n.glz", graph)
    facts = measure.layer_facts(net, graph, info, {})
    assert [layer.parameters for layer in facts] == [20, 0]
    assert sum(layer.archive_bytes for layer in facts) == info.payload


def test_agreement_counts_answers():
    ours = np.array([[1.0, 2.0], [3.0, 1.0], [0.0, 1.0]])
    theirs = np.array([[1.0, 2.5], [3.0, 1.0], [2.0, 1.0]])
    found = measure.agreement(ours, theirs)
    assert (found.samples, found.same_answer, found.largest_difference) == (3, 2, 2.0)
    assert found.share == pytest.approx(2 / 3)


def test_histograms_count_every_weight():
    before = {"a": np.array([-1.0, -0.5, 0.1, 0.9, 2.0])}
    after = {"a": np.array([-1.0, 0.0, 0.0, 1.0, 2.0])}
    (found,) = measure.histograms(before, after, bins=4)
    assert found.limit == 2.0
    assert found.before == (0, 2, 2, 1)
    assert found.after == (0, 1, 0, 2)
    assert found.zeros == 2


def test_latency_alternates_and_takes_medians():
    log = []
    medians, calls = alternate(
        [lambda: log.append("a"), lambda: log.append("b")], rounds=4, calls=2
    )
    assert calls == 8
    assert "".join(log) == "aaabbb" + "aabb" * 4
    assert all(0 <= median < 1 for median in medians)


def test_latency_stops_at_its_budget():
    _, calls = alternate([lambda: None], rounds=1000, calls=1, budget=0.0)
    assert calls == 3
