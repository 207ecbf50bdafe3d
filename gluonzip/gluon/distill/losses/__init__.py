"""Distillation losses: Gluon losses, one a module, each with its formula and source."""

from gluonzip.gluon.distill.losses.attention import AttentionLoss
from gluonzip.gluon.distill.losses.base import FeatureLoss, ScoreLoss
from gluonzip.gluon.distill.losses.decoupled import DecoupledLoss
from gluonzip.gluon.distill.losses.hard import HardLabelLoss
from gluonzip.gluon.distill.losses.hints import HintLoss
from gluonzip.gluon.distill.losses.logits import LogitsLoss
from gluonzip.gluon.distill.losses.relational import RelationalLoss
from gluonzip.gluon.distill.losses.several import OutputsLoss, SeveralTeachersLoss
from gluonzip.gluon.distill.losses.soft import DistillationLoss

__all__ = [
    "AttentionLoss",
    "DecoupledLoss",
    "DistillationLoss",
    "FeatureLoss",
    "HardLabelLoss",
    "HintLoss",
    "LogitsLoss",
    "OutputsLoss",
    "RelationalLoss",
    "ScoreLoss",
    "SeveralTeachersLoss",
]
