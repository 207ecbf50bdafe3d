"""Criteria: how important each unit of a weight is. A criterion is one function of a `Member`.

The same functions score single weights, blocks and filters of masks (``gluonzip.gluon.prune``) and
the channels that structured pruning removes (``prune_channels``): a unit is a row.

References. Magnitude: Han et al. 2015, arXiv:1506.02626. L1 norm of filters: Li et al., "Pruning
Filters for Efficient ConvNets", ICLR 2017. Batch-norm scale: Liu et al., "Learning Efficient
Convolutional Networks through Network Slimming", ICCV 2017. Geometric median: He et al., "Filter
Pruning via Geometric Median", CVPR 2019. Taylor: Molchanov et al., "Importance Estimation for
Neural Network Pruning", CVPR 2019. SNIP: Lee et al., ICLR 2019. Movement: Sanh et al., "Movement
Pruning", NeurIPS 2020.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gluonzip.errors import ConfigError, DataError


@dataclass(frozen=True, eq=False)
class Member:
    """A parameter with one row for each unit that stays or goes, as a scorer sees it.

    ``layer``: its name. ``kind``: ``"weight"`` or ``"norm"`` (one batch norm scale a row).
    ``name``: the parameter's. ``weight``: float32 (units, values): (n, 1) for single weights,
    (blocks, values of one), (filters, values of one). ``gradient`` (of the loss) and ``movement``
    (see :func:`movement`): of the same shape, or None. ``rng``: a generator seeded by the seed and
    the name alone. ``sizes``: how many values of each row are real, (units,), where a pattern that
    does not divide the layer is padded with zeros; None: all of them.
    """

    layer: str
    kind: str
    name: str
    weight: np.ndarray
    gradient: np.ndarray | None
    rng: np.random.Generator
    movement: np.ndarray | None = None
    sizes: np.ndarray | None = None


Scorer = Callable[[Member], "np.ndarray | None"]
"""From a member to the importance (float, (units,)) of its units; None: no opinion."""


@dataclass(frozen=True)
class Criterion:
    """A registered scorer; itself a :data:`Scorer`.

    ``of``: the kind of member it scores. ``needs``: ``"gradient"``, ``"movement"`` or nothing.
    ``filters_only``: it compares whole filters (or channels), never single weights or blocks.
    ``first_batch``: its gradient is that of one batch, in training mode.
    """

    name: str
    function: Scorer
    of: str = "weight"
    needs: str = ""
    filters_only: bool = False
    first_batch: bool = False

    def __call__(self, member: Member) -> np.ndarray | None:
        if member.kind != self.of:
            return None
        if self.needs and getattr(member, self.needs) is None:
            how = "s={parameter name: array}" if self.needs == "gradient" else "=Movement(net)"
            raise DataError(
                f"the {self.name} criterion needs the {self.needs} of {member.name!r} (layer "
                f"{member.layer!r}); pass {self.needs}{how}"
            )
        return self.function(member)


SCORERS: dict[str, Criterion] = {}


def scorer(name: str, **traits: object) -> Callable[[Scorer], Scorer]:
    """Register a scorer under ``name``; ``traits``: fields of :class:`Criterion`."""

    def register(function: Scorer) -> Scorer:
        SCORERS[name] = Criterion(name, function, **traits)
        return function

    return register


def resolve(scorer: str | Scorer, what: str = "scorer") -> Scorer:
    """A registered scorer by name; functions pass through. ConfigError for an unknown name."""
    if callable(scorer):
        return scorer
    if not isinstance(scorer, str) or scorer not in SCORERS:
        known = ", ".join(sorted(SCORERS))
        raise ConfigError(f"{what} {scorer!r} is unknown; use a function or one of {known}")
    return SCORERS[scorer]


def _sum(values: np.ndarray) -> np.ndarray:
    return values[:, 0] if values.shape[1] == 1 else values.sum(1)


@scorer("magnitude")
def magnitude(member: Member) -> np.ndarray:
    """Mean |w| of the unit."""
    sizes = member.weight.shape[1] if member.sizes is None else member.sizes
    return _sum(np.abs(member.weight)) / np.asarray(sizes, np.float32)


@scorer("l1")
def l1(member: Member) -> np.ndarray:
    """Sum of |w| of the unit."""
    return _sum(np.abs(member.weight))


@scorer("l2")
def l2(member: Member) -> np.ndarray:
    """Euclidean norm of the unit."""
    return np.sqrt(_sum(np.square(member.weight)))


@scorer("bn_scale", of="norm", filters_only=True)
def bn_scale(member: Member) -> np.ndarray:
    """|gamma| of the batch norms behind the channel; layers without any have no score."""
    return np.abs(member.weight[:, 0])


@scorer("fpgm", filters_only=True)
def fpgm(member: Member) -> np.ndarray:
    """Sum of the distances to the layer's other filters: small near their geometric median."""
    w = member.weight.astype(np.float64)
    squares = np.square(w).sum(1)
    distances = squares[:, None] + squares[None] - 2 * (w @ w.T)
    np.fill_diagonal(distances, 0)
    return np.sqrt(np.maximum(distances, 0)).sum(1)


@scorer("taylor", needs="gradient")
def taylor(member: Member) -> np.ndarray:
    """|sum of gradient * w| of the unit: the loss's first-order change if the unit goes."""
    return np.abs(_sum(member.weight * member.gradient))


@scorer("snip", needs="gradient", first_batch=True)
def snip(member: Member) -> np.ndarray:
    """Sum of |gradient * w| of the unit, of one batch: the connection sensitivity."""
    return _sum(np.abs(member.weight * member.gradient))


@scorer("movement", needs="movement")
def movement(member: Member) -> np.ndarray:
    """Sum of the unit's movement, -gradient * w summed over training steps: > 0 away from zero."""
    return _sum(member.movement)


@scorer("random")
def random(member: Member) -> np.ndarray:
    """Uniform numbers: the baseline that a criterion must beat."""
    return member.rng.random(len(member.weight))
