"""The registry of methods: a new one is a module here and a row in ``METHODS``."""

from gluonzip.recipe.methods.base import Method
from gluonzip.recipe.methods.finetune import Finetune
from gluonzip.recipe.methods.low_rank import LowRank
from gluonzip.recipe.methods.prune import Prune
from gluonzip.recipe.methods.quantize import Quantize
from gluonzip.recipe.methods.share import Share
from gluonzip.recipe.methods.store import Store
from gluonzip.recipe.methods.together import Together
from gluonzip.recipe.methods.train import Train

METHODS: dict[str, type[Method]] = {
    "train": Train,
    "prune": Prune,
    "finetune": Finetune,
    "quantize": Quantize,
    "distill": Together,
    "share": Share,
    "low_rank": LowRank,
    "store": Store,
}

__all__ = [
    "METHODS",
    "Finetune",
    "LowRank",
    "Method",
    "Prune",
    "Quantize",
    "Share",
    "Store",
    "Together",
    "Train",
]
