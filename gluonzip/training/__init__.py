"""Training loop, batches and evaluation for Gluon networks: what recipes and examples share."""

from gluonzip.training.augment import Augment
from gluonzip.training.batches import Batches, pairs
from gluonzip.training.checkpoint import Checkpoints, Position, trained_parameters
from gluonzip.training.distributed import Cluster
from gluonzip.training.evaluate import accuracy, predict
from gluonzip.training.fit import Training, fit
from gluonzip.training.progress import Progress, Silent
from gluonzip.training.snapshot import snapshot

__all__ = [
    "Augment",
    "Batches",
    "Checkpoints",
    "Cluster",
    "Position",
    "Progress",
    "Silent",
    "Training",
    "accuracy",
    "fit",
    "pairs",
    "predict",
    "snapshot",
    "trained_parameters",
]
