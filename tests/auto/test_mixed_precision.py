"""Bits by layer under a budget, against every assignment there is."""

import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gluonzip import archive
from gluonzip.auto import budgets, mixed_precision, quantize_automatically
from gluonzip.auto.budgets import assign
from gluonzip.auto.choices import PER_CHANNEL, Choices
from gluonzip.auto.trials import Trials, split
from gluonzip.errors import ConfigError, PatternError
from gluonzip.graph import Constant, Graph, Input, Node
from gluonzip.passes import simplify
from gluonzip.runtime import Engine

LEVELS = (16, 8, 4)


def network(seed=0):
    rng = np.random.default_rng(seed)
    arrays = {
        "w1": rng.normal(size=(24, 3, 3, 3)),
        "w2": rng.normal(size=(24, 24, 3, 3)) * 0.1,
        "w3": rng.normal(size=(32, 24, 1, 1)) * np.exp(rng.normal(0, 1, (1, 24, 1, 1))),
        "w4": rng.normal(size=(10, 32)),
        "b4": rng.normal(size=10),
    }
    pad = {"pad": [1, 1, 1, 1], "act": "relu"}
    nodes = [
        Node("conv2d", "c1", ["data", "w1"], ["x1"], pad),
        Node("conv2d", "c2", ["x1", "w2"], ["x2"], pad),
        Node("conv2d", "c3", ["x2", "w3"], ["x3"]),
        Node("global_avg_pool", "pool", ["x3"], ["x4"]),
        Node("dense", "fc", ["x4", "w4", "b4"], ["y"]),
    ]
    constants = {k: Constant(v.astype(np.float32)) for k, v in arrays.items()}
    return Graph([Input("data", (0, 3, 6, 6))], ["y"], nodes, constants)


@pytest.fixture(scope="module")
def data():
    return np.random.default_rng(1).normal(size=(32, 3, 6, 6)).astype(np.float32)


@pytest.fixture(scope="module")
def everything(data):
    """Error and bytes of all 81 assignments, measured."""
    trials = Trials(simplify(network()), *split(data, 0.25), None)
    found = []
    for bits in itertools.product(LEVELS, repeat=4):
        chosen = dict(zip(("c1", "c2", "c3", "fc"), bits, strict=True))
        graph = trials.build(Choices(PER_CHANNEL, chosen))
        found.append((trials.error(graph), len(archive.to_bytes(graph)), chosen))
    return found


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7, 0.9, 1.0])
def test_near_the_best_of_all_assignments(share, data, everything):
    sizes = sorted(size for _, size, _ in everything)
    budget = sizes[0] + share * (sizes[-1] - sizes[0])
    best = max(error for error, size, _ in everything if size <= budget)
    found = mixed_precision(network(), data, size_budget=budget)
    assert found.cost <= budget
    assert found.decibels > best - 0.75  # noises do not quite add up
    (measured,) = [entry for entry in everything if entry[2] == found.bits]
    assert measured[:2] == pytest.approx((found.decibels, found.cost))


def test_costs_are_those_of_the_archive_and_rows_say_why(data, everything):
    found = mixed_precision(network(), data, size_budget=1e9)
    assert set(found.bits.values()) == {16}
    for layer in found.layers:
        assert layer.costs[16] > layer.costs[8] > layer.costs[4] > 0
        assert layer.decibels[16] > layer.decibels[8] > layer.decibels[4]
        assert "down to 8" in layer.reason
    text = str(found)
    assert all(layer.name in text and layer.reason in text for layer in found.layers)
    assert f"{found.decibels:.2f} dB" in text


def test_sixteen_bits_are_stored_as_float16(data):
    result = quantize_automatically(network(), data, bits={"c2": 16, "fc": 32, "c3": 4}, steps=())
    graph = result.graph
    kinds = {n: graph.constants[graph.node(n).inputs[1]] for n in ("c1", "c2", "c3", "fc")}
    assert kinds["c1"].bits == 8
    assert kinds["c2"].data.dtype == np.float16
    assert kinds["c3"].bits == 4
    assert kinds["fc"].data.dtype == np.float32
    assert np.isfinite(Engine.from_graph(graph)(data)).all()


def test_a_latency_budget(data, monkeypatch):
    """What the profile says decides; fewer bits than 8 gain nothing."""
    times = {"c1": (5.0, 1.0), "c2": (8.0, 2.0), "c3": (3.0, 1.0), "fc": (1.0, 0.5)}

    def profile(graph, inputs, threads):
        rows = [{"name": "pool", "milliseconds": 0.25}]
        for name, (real, integer) in times.items():
            quantized = graph.constants[graph.node(name).inputs[1]].quantized
            rows.append({"name": name, "milliseconds": integer if quantized else real})
        return rows

    monkeypatch.setattr(budgets, "_profile", profile)
    found = mixed_precision(network(), data, latency_budget=8.0)
    assert set(found.bits.values()) == {16, 8}
    assert found.cost <= 8.0
    assert found.unit == "ms"
    tight = mixed_precision(network(), data, latency_budget=4.75)
    assert set(tight.bits.values()) == {8}
    with pytest.raises(ConfigError, match=r"4 ms cannot be kept.*the network takes 4\.75 ms"):
        mixed_precision(network(), data, latency_budget=4)


def test_a_real_profile(data):
    found = mixed_precision(network(), data, latency_budget=1000, threads=1)
    assert set(found.bits.values()) == {16}
    assert found.cost > 0


def test_the_automatic_mode_keeps_the_budget(data):
    budget = 6000
    found = quantize_automatically(network(), data, size_budget=budget, steps=("round", "bias"))
    assert len(archive.to_bytes(found.graph)) <= budget
    assert found.choices.bits == found.precision.bits
    assert len(set(found.precision.bits.values())) > 1
    assert found.decibels >= found.precision.decibels - 0.01
    assert "Bits by layer" in str(found)


def test_goes_on_after_an_interruption(data, tmp_path, monkeypatch):
    path, calls, real = tmp_path / "bits.json", [], Trials.error

    def error(self, graph, stop=None):
        calls.append(graph)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return real(self, graph)

    monkeypatch.setattr(Trials, "error", error)
    part = mixed_precision(network(), data, size_budget=9000, checkpoint=path)
    assert not part.complete
    assert part.cost <= 9000
    assert any("not measured" in layer.reason for layer in part.layers)
    assert sum(map(len, json.loads(path.read_text())["state"].values())) == 4
    monkeypatch.setattr(Trials, "error", real)
    whole = mixed_precision(network(), data, size_budget=9000)
    again = mixed_precision(network(), data, size_budget=9000, checkpoint=path)
    assert again == whole
    with pytest.raises(ConfigError, match="of another network"):
        mixed_precision(network(1), data, size_budget=9000, checkpoint=path)


def test_bad_input(data):
    with pytest.raises(ConfigError, match="give size_budget .* or latency_budget .*, and not both"):
        mixed_precision(network(), data)
    with pytest.raises(ConfigError, match="a budget of -1 must be above 0"):
        mixed_precision(network(), data, size_budget=-1)
    with pytest.raises(ConfigError, match="bits = 9 is not supported"):
        mixed_precision(network(), data, size_budget=1, levels=(9,))
    with pytest.raises(ConfigError, match="100 bytes cannot be kept: with the cheapest of .* 4"):
        mixed_precision(network(), data, size_budget=100)
    with pytest.raises(PatternError, match="nobody"):
        mixed_precision(network(), data, size_budget=1e5, skip=["nobody"])
    with pytest.raises(ConfigError, match="no layer has a constant weight"):
        mixed_precision(network(), data, size_budget=1e5, skip=["c1", "c2", "c3", "fc"])


# ---------------------------------------------------------------- the assignment alone
@settings(max_examples=60, derandomize=True, deadline=None)
@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=3),
        min_size=1,
        max_size=5,
    ),
    st.integers(0, 200),
)
def test_the_assignment_is_the_best_of_all(layers, budget):
    noise = {str(i): {b: row[0] for b, row in enumerate(rows)} for i, rows in enumerate(layers)}
    costs = {str(i): {b: row[1] for b, row in enumerate(rows)} for i, rows in enumerate(layers)}
    every = itertools.product(*(range(len(rows)) for rows in layers))

    def total(table, chosen):
        return sum(table[str(i)][b] for i, b in enumerate(chosen))

    possible = [total(noise, c) for c in every if total(costs, c) <= budget]
    found = assign(noise, costs, budget)
    if not possible:
        assert found is None
    else:
        assert total(costs, found.values()) <= budget
        assert total(noise, found.values()) == min(possible)
