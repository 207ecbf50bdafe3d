"""Structured pruning of graphs: find the channels that go together, score, choose, remove them.

The split into dependencies, importance and removal follows Torch-Pruning (Fang et al., "DepGraph:
Towards Any Structural Pruning", CVPR 2023); dependencies are found by sending an id for every
channel through the graph (see :mod:`gluonzip.passes.prune.rules`).
"""

from gluonzip.passes.prune.groups import ChannelGroups, Group, find_groups
from gluonzip.passes.prune.score import score
from gluonzip.passes.prune.scorers import SCORERS, Criterion, Member, resolve, scorer
from gluonzip.passes.prune.select import Selection, select
from gluonzip.passes.prune.shrink import shrink
from gluonzip.passes.prune.summary import LayerSize, PruningRecord

__all__ = [
    "SCORERS",
    "ChannelGroups",
    "Criterion",
    "Group",
    "LayerSize",
    "Member",
    "PruningRecord",
    "Selection",
    "find_groups",
    "resolve",
    "score",
    "scorer",
    "select",
    "shrink",
]
