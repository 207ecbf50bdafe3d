"""Recipes from names, files, mappings and objects; overrides; the short form."""

import pydantic
import pytest

from gluonzip.recipe import METHODS, NAMED, Prune, Recipe, dump, load, quick
from gluonzip.recipe.methods.prune import ramp_share
from gluonzip.spec import NM, Block, Unstructured, sparsity_pattern


@pytest.mark.parametrize("name", sorted(NAMED))
def test_built_in_recipes_load_and_survive_a_round_trip(name, tmp_path):
    recipe = load(name)
    assert recipe.name == name
    assert load(recipe) == recipe
    assert load(recipe.model_dump()) == recipe
    dump(recipe, tmp_path / "again.yaml")
    assert load(tmp_path / "again.yaml") == recipe


def test_yaml_equals_python_objects(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("name: a\nstages: [{method: prune, rules: [{layers: fc, threshold: 0.1}]}]")
    made = Recipe(name="a", stages=[Prune(rules=[{"layers": ["fc"], "threshold": 0.1}])])
    assert load(path) == made


def test_recipes_are_frozen():
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        load("lenet").seed = 3


def test_overrides_reach_every_depth_and_touch_nothing_else():
    plain = load("lenet")
    given = plain.model_dump()
    changed = load(given, ["stages.0.training.epochs=2", "data.augment=null", "seed=11"])
    assert (changed.stages[0].training.epochs, changed.data.augment, changed.seed) == (2, None, 11)
    assert changed.stages[1:] == plain.stages[1:]
    assert load(given) == plain
    assert load({"stages": [{"method": "quantize"}]}, ["data.limit=40"]).data.limit == 40


def test_the_short_form_shortens_every_stage():
    plain = load("lenet")
    short = quick(plain)
    assert short.data.limit == 1200
    for long, brief in zip(plain.stages, short.stages, strict=True):
        assert brief.method == long.method
        if long.training is not None:
            assert 1 <= brief.training.epochs < max(long.training.epochs, 2)
    assert short.stages[1].rules == plain.stages[1].rules
    assert quick(short).data.limit == 1200


def test_the_registry_names_methods_as_recipes_do():
    for name, method in METHODS.items():
        assert method.model_fields["method"].default == name
        assert method.__doc__


def test_patterns():
    assert sparsity_pattern("unstructured") == Unstructured()
    assert sparsity_pattern("4x1") == Block(4, 1)
    assert sparsity_pattern("2:4") == NM(2, 4)


def test_the_ramp_rises_to_its_target():
    shares = [ramp_share(epoch, 5) for epoch in range(8)]
    assert shares == sorted(shares)
    assert shares[0] == pytest.approx(1 - 0.8**3)
    assert shares[4:] == [1.0] * 4
