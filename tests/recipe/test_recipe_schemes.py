"""Schemes, skipped layers and storage from a recipe to the archive."""

import mxnet as mx
import numpy as np
import pytest
from mxnet.gluon import nn

import gluonzip
from gluonzip.errors import ConfigError, PatternError
from gluonzip.gluon import quantize
from gluonzip.recipe import Recipe, load, with_schemes
from gluonzip.report.tables import layer_table
from gluonzip.spec import Binary, PerChannel, PerGroup, Ternary, WeightQuantization


def network():
    mx.random.seed(3)
    net = nn.HybridSequential()
    net.add(
        nn.Conv2D(4, 3, in_channels=1, activation="relu"),
        nn.Dense(16, in_units=4 * 36, activation="relu"),
        nn.Dense(16, in_units=16, activation="relu"),
        nn.Dense(4, in_units=16),
    )
    net.initialize(mx.init.Xavier())
    return net


def data():
    rng = np.random.default_rng(1)
    return [(mx.nd.array(rng.standard_normal((16, 1, 8, 8))), mx.nd.array(np.arange(16) % 4))] * 2


def run(*stages, **kwargs):
    return gluonzip.compress(
        network(), {"stages": list(stages)}, validation_data=data(), threads=1, **kwargs
    )


def quantizing(**settings):
    return {"method": "quantize", **settings}


WEIGHT_ONLY = {"mode": "none"}


# ---------------------------------------------------------------- weights
@pytest.mark.parametrize(
    ("weights", "value"),
    [
        ({}, WeightQuantization()),
        ({"bits": 4, "granularity": "per_group:16"}, WeightQuantization(4, PerGroup(16))),
        ({"scheme": "ternary"}, Ternary()),
        (
            {"scheme": "ternary", "granularity": "per_channel", "threshold": 0.5},
            Ternary(PerChannel(), threshold=0.5),
        ),
        ({"scheme": "binary"}, Binary()),
        ({"scheme": "binary", "granularity": "per_group:8"}, Binary(PerGroup(8))),
    ],
)
def test_a_recipe_says_the_scheme(weights, value):
    recipe = load({"stages": [quantizing(weights=weights)]})
    assert recipe.stages[0].weights.value() == value
    assert Recipe.model_validate(recipe.model_dump()) == recipe


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"granularity": "per_row"}, "use per_tensor, per_channel or per_group:SIZE"),
        ({"granularity": "per_group:0"}, "groups of 0 weights"),
        ({"scheme": "ternary", "bits": 4}, "bits is for scheme: uniform, not ternary"),
        ({"scheme": "binary", "scale": "learned"}, "scale is for scheme: uniform, not binary"),
        ({"threshold": 0.5}, "threshold is for scheme: ternary, not uniform"),
        ({"bits": 1}, "greater than or equal to 2"),
        ({"granularity": "per_group:8", "scale": "learned"}, "per group are not learned"),
    ],
)
def test_recipes_without_a_meaning(weights, message):
    with pytest.raises(ConfigError, match=message):
        load({"stages": [quantizing(weights=weights)]})


@pytest.mark.parametrize("mode", ["dynamic", "none"])
@pytest.mark.parametrize("weights", [{"scheme": "ternary"}, {"scheme": "binary"}, {"bits": 4}])
def test_from_recipe_to_engine_without_calibration(mode, weights):
    result = run(quantizing(weights=weights, activations={"mode": mode}))
    bits = {"ternary": 2, "binary": 1}.get(weights.get("scheme"), 4)
    assert {layer.weight_bits for layer in result.report.layers} == {bits}
    dynamic = [n for n in result.graph.nodes if n.attrs.get("dynamic")]
    assert len(dynamic) == (4 if mode == "dynamic" else 0)
    assert {layer.activation_bits for layer in result.report.layers} == {
        8 if mode == "dynamic" else 32
    }
    assert result.report.agreement is not None


def test_unsigned_inputs_are_listed_and_can_be_switched_off():
    found = []
    for signed in (False, True):
        stage = quantizing(activations={"signed": signed})
        result = run(stage, calibration_data=data())
        listed = layer_table(result.report.layers)
        column = listed.header.index("bits w/a")
        found.append([row[column] for row in listed.rows])
        assert any(n.attrs.get("unsigned") for n in result.graph.nodes) is not signed
    assert found == [["8/8", "8/8u", "8/8u", "8/8u"], ["8/8"] * 4]


def test_static_still_needs_data():
    with pytest.raises(ConfigError, match=r"needs calibration_data .* \{mode: dynamic\}"):
        run(quantizing())


# ---------------------------------------------------------------- skipped layers
def test_skipped_layers_are_listed_with_the_reason():
    stage = quantizing(activations=WEIGHT_ONLY, skip="2", skip_first=True, skip_last=True)
    result = run(stage)
    reasons = {layer.name: layer.reason for layer in result.report.layers}
    assert reasons == {
        "0": "not quantized: the first layer (skip_first)",
        "1": "",
        "2": "not quantized: named in skip",
        "3": "not quantized: the last layer (skip_last)",
    }
    quantized = {n.name for n in result.graph.nodes if result.graph.constants.get(
        n.inputs[1] if len(n.inputs) > 1 else "", _PLAIN).quantized}  # fmt: skip
    assert quantized == {"1"}


class _PLAIN:
    quantized = False


def test_skip_that_matches_nothing_and_skip_of_everything():
    with pytest.raises(PatternError, match="'conv9' matches nothing"):
        run(quantizing(activations=WEIGHT_ONLY, skip="conv9"))
    with pytest.raises(ConfigError, match="no layer is left to quantize"):
        quantize(network(), activations=None, layers=["0", "3"], skip_first=True, skip_last=True)


def test_first_and_last_are_only_left_out_when_asked():
    records = quantize(network(), activations=None)
    assert all(record.compressed for record in records.values())


# ---------------------------------------------------------------- storage
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_storage(dtype):
    dense = run(quantizing(activations=WEIGHT_ONLY, layers="0"))
    short = run(
        quantizing(activations=WEIGHT_ONLY, layers="0"), {"method": "store", "dtype": dtype}
    )
    assert short.report.archive.total < 0.65 * dense.report.archive.total
    layers = {layer.name: layer for layer in short.report.layers}
    assert layers["1"].archive_bytes <= 2 * layers["1"].parameters
    assert short.report.agreement.largest_difference < 0.05


def test_storage_of_some_layers():
    result = run({"method": "store", "dtype": "float16", "layers": ["1", "2"]})
    reasons = {layer.name: layer.reason for layer in result.report.layers}
    assert reasons["0"] == "not stored in two bytes: not selected"
    assert reasons["1"] == ""
    assert result.graph.constants["1.weight"].data.dtype == np.float16
    assert result.graph.constants["0.weight"].data.dtype == np.float32


# ---------------------------------------------------------------- command line
def test_options_change_the_recipe():
    recipe = load({"stages": [quantizing(), quantizing(activations=None)]})
    changed = with_schemes(recipe, "dynamic", "bfloat16")
    assert [s.activations.mode for s in changed.stages[:2]] == ["dynamic"] * 2
    assert changed.stages[2].dtype == "bfloat16"
    assert with_schemes(recipe, None, None) == recipe
    with pytest.raises(ConfigError, match="has no stage 'quantize'"):
        with_schemes(load({"stages": [{"method": "store"}]}), "none", None)
