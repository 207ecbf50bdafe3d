"""Recipes: what happens to which layers, in one YAML file or the equal Python objects."""

from gluonzip.recipe.job import Job
from gluonzip.recipe.load import NAMED, dump, load, quick, with_schemes
from gluonzip.recipe.methods import METHODS, Finetune, Method, Prune, Quantize, Together, Train
from gluonzip.recipe.schema import Data, Network, Recipe

__all__ = [
    "METHODS",
    "NAMED",
    "Data",
    "Finetune",
    "Job",
    "Method",
    "Network",
    "Prune",
    "Quantize",
    "Recipe",
    "Together",
    "Train",
    "dump",
    "load",
    "quick",
    "with_schemes",
]
