"""The small MobileNetV2 is the hard case it is meant to be, and the automatic mode bears it."""

import mxnet as mx
import numpy as np
import pytest

from gluonzip.auto import quantize_automatically
from gluonzip.gluon import trace
from gluonzip.graph import interpret
from gluonzip.model_zoo import get_model, load_digits
from gluonzip.passes import quantize_graph, simplify
from gluonzip.recipe import load
from gluonzip.runtime import Engine
from gluonzip.spec import PerTensor, WeightQuantization


@pytest.fixture(scope="module")
def case():
    """Traced, with batch norms whose channels differ, as training makes them; and digits."""
    mx.random.seed(3)
    rng = np.random.default_rng(3)
    net = get_model("mobilenetv2_small")
    net.initialize(mx.init.Xavier(magnitude=2))
    images = load_digits().train_images[:48]
    with mx.autograd.train_mode():
        for _ in range(20):
            net(mx.nd.array(images))
    for parameter in net.collect_params(".*gamma$").values():
        parameter.set_data(mx.nd.array(np.exp(rng.normal(0, 1.2, parameter.shape))))
    return trace(net, (1, 1, 28, 28)), images


def decibels(dense, graph, x):
    want, got = (Engine.from_graph(g, threads=1)(x) for g in (dense, graph))
    return 10 * np.log10(np.square(want).sum() / np.square(want - got).sum())


def test_depthwise_layers_and_relu6_fold_into_integer_layers(case):
    graph, images = case
    dense = simplify(graph)
    convolutions = [node for node in dense.nodes if node.op == "conv2d"]
    assert {node.op for node in dense.nodes} <= {"conv2d", "dense", "global_avg_pool", "flatten"}
    assert sum(node.attrs.get("groups", 1) > 1 for node in convolutions) == 6
    assert sum(node.attrs.get("act") == "clip" for node in convolutions) == 14
    assert sum(len(node.inputs) > 3 for node in convolutions) == 3  # residual connections
    np.testing.assert_allclose(
        Engine.from_graph(dense, threads=1)(images[:2]), interpret(graph, images[:2])[0],
        rtol=1e-3, atol=1e-3,
    )  # fmt: skip


def test_one_scale_a_tensor_collapses_when_batch_norms_are_folded_and_not_before(case):
    graph, images = case
    dense, what = simplify(graph), WeightQuantization(granularity=PerTensor())
    folded = quantize_graph(dense, [images[:32]], weights=what)
    trained = quantize_graph(graph, [images[:32]], weights=what)
    assert decibels(dense, folded, images[32:]) < decibels(dense, trained, images[32:]) - 3


def test_the_automatic_mode_does_not_collapse(case):
    graph, images = case
    dense, what = simplify(graph), WeightQuantization(granularity=PerTensor())
    folded = quantize_graph(dense, [images[:32]], weights=what)
    steps = ("reconstruct", "balance")
    found = quantize_automatically(graph, images[:32], steps=steps, threads=1)
    plain = decibels(dense, folded, images[32:])
    assert decibels(dense, found.graph, images[32:]) > plain + 10


def test_its_recipe_is_built_in():
    recipe = load("mobilenet")
    assert recipe.network.name == "mobilenetv2_small"
    assert [stage.method for stage in recipe.stages] == ["train", "quantize"]
