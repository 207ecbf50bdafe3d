"""Training loop, batches and evaluation for Gluon networks: what recipes and examples share."""

from gluonzip.training.augment import Augment
from gluonzip.training.batches import Batches, pairs
from gluonzip.training.evaluate import accuracy, predict
from gluonzip.training.fit import Training, fit
from gluonzip.training.progress import Progress, Silent
from gluonzip.training.snapshot import snapshot

__all__ = [
    "Augment",
    "Batches",
    "Progress",
    "Silent",
    "Training",
    "accuracy",
    "fit",
    "pairs",
    "predict",
    "snapshot",
]
