"""Reconstruction layer by layer: errors of earlier layers are made up for."""

import numpy as np
import pytest

from gluonzip.auto import reconstruction
from gluonzip.auto.reconstruction import reconstruct
from gluonzip.graph import Constant, Graph, Input, Node, interpret
from gluonzip.passes import optimize
from gluonzip.passes.quantize import calibrate, insert_fake_quantize
from gluonzip.passes.quantize.rounding import quantize_weights
from gluonzip.spec import PerChannel, WeightQuantization


def network(shared=False):
    rng = np.random.default_rng(4)
    arrays = {
        "w1": rng.normal(size=(8, 3, 3, 3)),
        "w2": rng.normal(size=(8, 8, 3, 3)),
        "b2": rng.normal(size=8),
        "w3": rng.normal(size=(8, 1, 3, 3)),
        "w4": rng.normal(size=(5, 8)),
    }
    pad = {"pad": [1, 1, 1, 1]}
    nodes = [
        Node("conv2d", "c1", ["data", "w1"], ["x1"], {**pad, "act": "relu"}),
        Node("conv2d", "c2", ["x1", "w2", "b2", "x1"], ["x2"], {**pad, "act": "relu"}),
        Node("conv2d", "c3", ["x2", "w3"], ["x3"], {**pad, "groups": 8}),
        Node("global_avg_pool", "pool", ["x3"], ["x4"]),
        Node("dense", "fc", ["x4", "w4"], ["y"]),
    ]
    if shared:
        nodes[2:2] = [Node("conv2d", "c2b", ["x2", "w2"], ["x2b"], pad)]
        nodes[3].inputs[0] = "x2b"
    constants = {k: Constant(0.3 * v.astype(np.float32)) for k, v in arrays.items()}
    return Graph([Input("data", (0, 3, 6, 6))], ["y"], nodes, constants)


@pytest.fixture
def x():
    return np.random.default_rng(1).normal(size=(48, 3, 6, 6)).astype(np.float32)


def both(dense, x, bits=4, skip=()):
    """Integer networks: rounded to nearest, and fitted; and what was fitted."""
    ranges = calibrate(dense, [x], skip=skip)
    plain = quantize_weights(dense, WeightQuantization(bits, PerChannel()), skip=skip)
    fitted = reconstruct(dense, plain, ranges, [(x[:20],), (x[20:],)], skip)
    return *(optimize(insert_fake_quantize(g, ranges, skip=skip)) for g in (plain, fitted)), fitted


def noise(dense, graph, x):
    return float(np.square(interpret(dense, x)[0] - interpret(graph, x)[0]).sum())


@pytest.mark.parametrize(("bits", "share"), [(4, 0.5), (8, 0.95)])
def test_outputs_come_nearer_on_new_data_and_the_dense_network_stays(x, bits, share):
    dense = network()
    before = {name: c.data.copy() for name, c in dense.constants.items()}
    plain, fitted, _ = both(dense, x, bits)
    fresh = np.random.default_rng(9).normal(size=(48, 3, 6, 6)).astype(np.float32)
    assert noise(dense, fitted, fresh) < share * noise(dense, plain, fresh)
    for name, data in before.items():
        np.testing.assert_array_equal(dense.constants[name].data, data)


def test_shared_weights_and_skipped_layers_stay(x):
    dense = network(shared=True)
    _, _, fitted = both(dense, x, skip=["fc"])
    plain = quantize_weights(dense, WeightQuantization(4, PerChannel()), skip=["fc"])
    for name in ("w2", "w4"):
        np.testing.assert_array_equal(fitted.constants[name].data, plain.constants[name].data)
    assert (fitted.constants["w1"].data != plain.constants["w1"].data).any()


def test_batches_of_several_sizes(x):
    """Those of the first one's size count."""
    dense = network()
    ranges = calibrate(dense, [x])
    plain = quantize_weights(dense, WeightQuantization(4, PerChannel()))
    larger = np.zeros((2, 3, 9, 9), np.float32)
    mixed, alike = (
        reconstruct(dense, plain, ranges, batches) for batches in ([(x,), (larger,)], [(x,)])
    )
    for name, constant in alike.constants.items():
        np.testing.assert_array_equal(mixed.constants[name].data, constant.data)


def test_rows_are_bounded_by_memory(x, monkeypatch):
    dense = network()
    ranges = calibrate(dense, [x])
    plain = quantize_weights(dense, WeightQuantization(4, PerChannel()))
    seen = []
    real = reconstruction.LayerFit.feed
    monkeypatch.setattr(
        reconstruction.LayerFit, "feed", lambda self, *a: seen.append(len(a[0])) or real(self, *a)
    )
    monkeypatch.setattr(reconstruction, "MEMORY", 2**17)
    reconstruct(dense, plain, ranges, [(x,)])
    assert len(seen) == 4
    assert max(seen) < 16
