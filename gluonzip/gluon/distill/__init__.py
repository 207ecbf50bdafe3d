"""Knowledge distillation: losses, taps into inner layers, and the Distiller that joins them."""

from gluonzip.gluon.distill.losses import DistillationLoss

__all__ = ["DistillationLoss"]
