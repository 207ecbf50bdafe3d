"""Pruning criteria on a Gluon network: gradients, movement, what lies behind a layer, scores.

The criteria themselves are in :mod:`gluonzip.passes.prune.scorers`, shared with structured pruning.
"""

from gluonzip.gluon.criteria.gradients import loss_gradients
from gluonzip.gluon.criteria.movement import Movement
from gluonzip.gluon.criteria.neighbours import Neighbours, neighbours
from gluonzip.gluon.criteria.plan import Plan, plan
from gluonzip.gluon.criteria.scoring import Key, Scoring, has_codebook, present_mask
from gluonzip.gluon.criteria.target import PruningTarget

__all__ = [
    "Key",
    "Movement",
    "Neighbours",
    "Plan",
    "PruningTarget",
    "Scoring",
    "has_codebook",
    "loss_gradients",
    "neighbours",
    "plan",
    "present_mask",
]
