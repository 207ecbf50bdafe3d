"""quantize_automatically: keeps what helps on data it has not fitted, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from gluonzip.auto import diagnose, post_training, quantize_automatically
from gluonzip.auto.trials import Trials
from gluonzip.errors import ConfigError, DataError, PatternError
from gluonzip.graph import Constant, Graph, Input, Node, infer_types, interpret
from gluonzip.passes import simplify
from gluonzip.spec import WeightQuantization


def hard_network(seed=0):
    """Channels of very different sizes, ReLU6, a depthwise layer: scales per tensor collapse."""
    rng = np.random.default_rng(seed)
    spread = np.exp(rng.normal(0, 1.5, (16, 1, 1, 1)))
    arrays = {
        "w1": rng.normal(size=(16, 3, 3, 3)) * 0.3 * spread,
        "w2": rng.normal(size=(16, 1, 3, 3)) / spread,
        "w3": rng.normal(size=(8, 16, 1, 1)) * 0.3,
        "w4": rng.normal(size=(5, 8)) * 0.3,
        "b4": rng.normal(size=5),
    }
    constants = {k: Constant(v.astype(np.float32)) for k, v in arrays.items()}
    pad = {"pad": [1, 1, 1, 1]}
    clip = {"act": "clip", "act_min": 0.0, "act_max": 6.0}
    nodes = [
        Node("conv2d", "c1", ["data", "w1"], ["x1"], {**pad, "act": "relu"}),
        Node("conv2d", "c2", ["x1", "w2"], ["x2"], {**pad, "groups": 16, **clip}),
        Node("conv2d", "c3", ["x2", "w3"], ["x3"], {"act": "relu"}),
        Node("global_avg_pool", "pool", ["x3"], ["x4"]),
        Node("flatten", "flat", ["x4"], ["x5"]),
        Node("dense", "fc", ["x5", "w4", "b4"], ["y"]),
    ]
    return Graph([Input("data", (0, 3, 8, 8))], ["y"], nodes, constants, "hard")


@pytest.fixture
def data():
    return np.random.default_rng(1).normal(size=(48, 3, 8, 8)).astype(np.float32)


def decibels(graph, dense, x):
    want, got = interpret(dense, x)[0], interpret(graph, x)[0]
    return 10 * np.log10((want**2).sum() / ((want - got) ** 2).sum())


@pytest.mark.parametrize("bits", [4, 8])
def test_every_kept_step_raises_the_ratio_and_the_result_is_what_was_measured(data, bits):
    dense = hard_network()
    result = quantize_automatically(dense, data, weights=WeightQuantization(bits))
    kept = [step for step in result.steps if step.kept]
    assert [step.decibels for step in kept] == sorted(step.decibels for step in kept)
    assert len(kept) > 2
    assert result.decibels > result.steps[0].decibels + 3
    judged = np.concatenate([data[:48][36:]])
    assert decibels(result.graph, dense, judged) == pytest.approx(result.decibels, abs=0.2)
    fresh = np.random.default_rng(2).normal(size=(64, 3, 8, 8)).astype(np.float32)
    plain = quantize_automatically(dense, data, weights=WeightQuantization(bits), steps=())
    assert len(plain.steps) == 1
    assert decibels(result.graph, dense, fresh) > decibels(plain.graph, dense, fresh) + 2
    assert all(f"{step.decibels:.2f} dB" in str(result) for step in result.steps)


def test_layers_stay_in_float_within_the_budget_and_only_then(data):
    dense = hard_network()
    steps = ("floats",)
    none = quantize_automatically(dense, data, steps=steps)
    assert not none.choices.floats
    some = quantize_automatically(dense, data, steps=steps, float_share=0.3)
    assert some.choices.floats
    assert "c1" not in some.choices.floats  # more than a third of the work
    assert some.decibels > none.decibels
    every = quantize_automatically(dense, data, steps=steps, float_share=1)
    assert every.decibels > some.decibels


def test_signed_codes_everywhere_if_asked_for(data):
    found = [
        quantize_automatically(hard_network(), data, steps=(), signed=s) for s in (False, True)
    ]
    kinds = [{t.dtype for t in infer_types(result.graph).values()} for result in found]
    assert "uint8" in kinds[0]
    assert "uint8" not in kinds[1]


def test_skipped_layers_stay_float(data):
    result = quantize_automatically(hard_network(), data, skip=["fc"])
    assert not result.graph.constants["w4"].quantized
    assert result.graph.constants["w3"].quantized


def test_what_is_not_tried_is_said(data):
    steps = ["single_observers"]
    assert quantize_automatically(hard_network(), data, steps=steps).skipped == ()
    result = quantize_automatically(hard_network(), data, steps=steps, trials=2)
    assert len(result.steps) == 3
    assert "not tried: 18 of 20 observers of single activations: trials = 2" in str(result)
    result = quantize_automatically(hard_network(), data, steps=["round", "bias"], seconds=0)
    assert len(result.steps) == 1
    assert "not tried: round, bias (or the rest of it): 0 s were over" in str(result)


def test_single_observers_begin_with_the_worst_layer(data):
    graph = hard_network()
    plain = quantize_automatically(graph, data, steps=())
    dense = simplify(graph)
    worst = diagnose(dense, plain.graph, data[:32]).layers[0].name
    read = dense.node(worst).inputs[0]
    result = quantize_automatically(graph, data, steps=["single_observers"], trials=4)
    assert all(step.name.endswith(f" for {read}") for step in result.steps[1:])


def test_bits_of_single_layers(data):
    result = quantize_automatically(hard_network(), data, bits={"c3": 4}, steps=["reconstruct"])
    found = {node.name: result.graph.constants[node.inputs[1]].bits for node in layers(result)}
    assert found == {"c1": 8, "c2": 8, "c3": 4, "fc": 8}
    assert "mixed weights" in result.steps[0].name
    with pytest.raises(PatternError, match="nobody"):
        quantize_automatically(hard_network(), data, bits={"nobody": 4})


def layers(result):
    return [node for node in result.graph.nodes if node.op in ("conv2d", "dense")]


def test_reconstruction_and_balance_find_what_rounding_cannot(data):
    plain = quantize_automatically(hard_network(), data, steps=())
    found = quantize_automatically(hard_network(), data, steps=["reconstruct", "balance"])
    assert found.choices.reconstruct
    assert found.choices.balance > 0
    fresh = np.random.default_rng(2).normal(size=(64, 3, 8, 8)).astype(np.float32)
    lead = decibels(found.graph, hard_network(), fresh) - decibels(
        plain.graph, hard_network(), fresh
    )
    assert lead > 6


class Interrupted(Trials):
    """Ctrl-C at the third trial."""

    count = 0

    def build(self, choices):
        type(self).count += 1
        if type(self).count == 3:
            raise KeyboardInterrupt
        return super().build(choices)


def test_an_interrupted_search_returns_the_best_and_goes_on(data, tmp_path, monkeypatch):
    path, steps = tmp_path / "search.json", ("round", "bias", "reconstruct", "balance")
    whole = quantize_automatically(hard_network(), data, steps=steps)
    with monkeypatch.context() as patched:
        patched.setattr(post_training, "Trials", Interrupted)
        part = quantize_automatically(hard_network(), data, steps=steps, checkpoint=path)
    assert not part.complete
    assert len(part.steps) == 2
    assert part.skipped == ("bias, reconstruct, balance (or the rest of it): interrupted",)
    assert part.decibels == max(step.decibels for step in part.steps)
    built = []
    real = Trials.build
    monkeypatch.setattr(Trials, "build", lambda self, c: built.append(c) or real(self, c))
    again = quantize_automatically(hard_network(), data, steps=steps, checkpoint=path)
    assert again.steps == whole.steps
    assert again.complete
    assert len(built) == len(whole.steps) - 2
    with pytest.raises(ConfigError, match="of another network, other layers or other settings"):
        quantize_automatically(hard_network(1), data, steps=steps, checkpoint=path)


def test_bad_input(data):
    graph = hard_network()
    with pytest.raises(DataError, match="one row; give at least two"):
        quantize_automatically(graph, data[:1])
    with pytest.raises(ConfigError, match="held_out = 1 must be between 0 and 1"):
        quantize_automatically(graph, data, held_out=1)
    with pytest.raises(ConfigError, match="float_share = 2 must be"):
        quantize_automatically(graph, data, float_share=2)
    with pytest.raises(ConfigError, match="step 'magic' is unknown; use some of observers, "):
        quantize_automatically(graph, data, steps=["magic"])
    with pytest.raises(PatternError, match="skip names no node"):
        quantize_automatically(graph, data, skip=["nobody"])
    bad = data.copy()
    bad[3] = np.nan
    with pytest.raises(DataError, match="not finite|non-finite"):
        quantize_automatically(graph, bad)
