"""What a wrong recipe is told: file, key path, near matches."""

import copy

import pytest

from gluonzip.errors import ConfigError
from gluonzip.recipe import load

GOOD = {
    "name": "tiny",
    "network": {"name": "lenet"},
    "stages": [
        {"method": "train", "training": {"epochs": 1}},
        {
            "method": "prune",
            "rules": [{"layers": "fc*", "sparsity": 0.5}],
            "ramp": 2,
            "training": {"epochs": 3},
            "distill": {"temperature": 2},
        },
        {"method": "quantize"},
    ],
}


def changed(path: str, value: object) -> dict:
    recipe = copy.deepcopy(GOOD)
    *keys, last = [int(k) if k.isdigit() else k for k in path.split(".")]
    target = recipe
    for key in keys:
        target = target[key]
    target[last] = value
    return recipe


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (
            "stages.1.rules.0.spasity",
            0.5,
            "recipe: stages[1].rules[0]: unknown key 'spasity'; did you mean 'sparsity'?",
        ),
        ("stages.1.zzz", 1, "stages[1]: unknown key 'zzz'; known: distill, masks, method, ramp"),
        ("stages.1.method", "prun", "stages[1]: unknown method 'prun'; did you mean 'prune'?"),
        ("stages.1.distill.alhpa", 1, "stages[1].distill: unknown key 'alhpa'; did you mean 'al"),
        ("stages.1.rules.0.sparsity", 1.5, "stages[1].rules[0].sparsity: 1.5: input should be les"),
        ("stages.1.rules.0.threshold", 0.1, "rules[0]: give exactly one of sparsity and threshold"),
        ("stages.1.rules.0.pattern", "2:4", "rules[0]: pattern 2:4 sets the sparsity itself; drop"),
        ("stages.1.rules.0.pattern", "4by1", "pattern '4by1' is unknown; use unstructured, 4x1"),
        ("stages.1.rules.0.pattern", "4:2", "N:M sparsity needs 0 < n < m, got n = 4, m = 2"),
        ("stages.1.ramp", 9, "stages[1]: ramp = 9 is longer than training (epochs = 3)"),
        ("stages.1.training", None, "stages[1]: ramp = 2 is longer than training (epochs = 0)"),
        ("stages.0.training", {}, "stages[0].training.epochs: field required"),
        ("stages.0.training.optimizer", "adm", "'adm': input should be 'adam', 'sgd' or 'nag'"),
        ("stages.2.weights", {"bits": 9}, "stages[2].weights.bits: 9: input should be less than"),
        ("stages.2.distill", {}, "stages[2]: distill needs training"),
        ("stages.2", {"bits": 8}, "stages[2]: no method given; known: train, prune, finetune, qua"),
        ("stages", [], "stages: []: tuple should have at least 1 item"),
        ("seed", -1, "seed: -1: input should be greater than or equal to 0"),
    ],
)
def test_a_wrong_value_is_named_with_its_path(path, value, message):
    with pytest.raises(ConfigError) as caught:
        load(changed(path, value))
    assert message in str(caught.value)


def test_every_problem_is_told_at_once():
    recipe = changed("stages.0.training.epochs", 0)
    recipe["stages"][2]["weights"] = {"bits": 1}
    with pytest.raises(ConfigError, match=r"stages\[0\].training.epochs.*stages\[2\].weights.bits"):
        load(recipe)


def test_a_list_with_a_wrong_item_is_not_called_short_as_well():
    with pytest.raises(ConfigError) as caught:
        load(changed("stages.1.rules.0.pattern", "4:2"))
    assert "at least" not in str(caught.value)


def test_the_file_is_named(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("stages: [{method: prune, rulez: []}]")
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: stages[0]: unknown key 'rulez'; did you mean")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stages: [", "not YAML: while parsing"),
        ("- a", "a recipe is a mapping with stages, got list"),
        ("", "a recipe is a mapping with stages, got NoneType"),
    ],
)
def test_a_file_that_is_no_recipe(tmp_path, text, message):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load(path)


def test_a_missing_file_suggests_built_in_recipes(tmp_path):
    with pytest.raises(ConfigError, match="'lenett' is neither a file nor a built-in recipe; did "):
        load("lenett")
    with pytest.raises(ConfigError, match=r"neither a file nor a built-in recipe; built-in reci"):
        load(tmp_path / "zzz.yaml")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seed", "'seed' is not of the form key.path=value"),
        ("stages.7.ramp=1", "stages has items 0 to 2"),
        ("stages.x.ramp=1", "stages has items 0 to 2"),
        ("name.x=1", "name is a single value, without 'x'"),
        ("seed=[", "the value is not YAML"),
        ("sed=1", "unknown key 'sed'; did you mean 'seed'?"),
    ],
)
def test_a_wrong_override(override, message):
    with pytest.raises(ConfigError) as caught:
        load(GOOD, [override])
    assert message in str(caught.value)
