"""Knowledge distillation: losses, taps into inner layers, and the Distiller that joins them."""

from gluonzip.gluon.distill.distiller import Distiller, Feature
from gluonzip.gluon.distill.estimator import DistillationProcessor
from gluonzip.gluon.distill.lessons import Lesson, Lessons
from gluonzip.gluon.distill.losses import *  # noqa: F403
from gluonzip.gluon.distill.losses import __all__ as _losses
from gluonzip.gluon.distill.taps import TappedBlock, Taps

__all__ = [
    *_losses,
    "DistillationProcessor",
    "Distiller",
    "Feature",
    "Lesson",
    "Lessons",
    "TappedBlock",
    "Taps",
]
