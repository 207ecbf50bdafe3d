"""Scores of the units of a network's weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gluonzip.errors import DataError
from gluonzip.gluon._mxnet import mx
from gluonzip.gluon.arrays import view
from gluonzip.gluon.criteria.gradients import loss_gradients, network_gradients
from gluonzip.gluon.criteria.target import PruningTarget
from gluonzip.gluon.layers import Layer
from gluonzip.gluon.masks import Units, units
from gluonzip.gluon.orientation import oriented
from gluonzip.gluon.sharing import masked_weight
from gluonzip.gluon.structure import Block, parameter_names
from gluonzip.gluon.wrapper import Compressed
from gluonzip.passes.prune import Member
from gluonzip.passes.prune.score import generator

Key = tuple[str, str]
"""(layer name, weight attribute)."""


class Scoring:
    """The scores that ``target`` gives the weights of ``able`` layers, one array a weight.

    Made once for a pruning step: gradients over the target's data are found here. ``revive``:
    weights behind masks are judged by their raw values; otherwise what is pruned stays pruned.
    ``norms``: MXNet name of a weight -> name of its batch norm's scale.
    """

    def __init__(
        self,
        net: Block,
        target: PruningTarget,
        able: Mapping[str, Layer],
        norms: Mapping[str, str],
        revive: bool = False,
    ) -> None:
        self.target, self.able, self.norms, self.revive = target, able, norms, revive
        self._names = parameter_names(net)
        self._parameters = {p.name: p for p in net.collect_params().values()}
        _check_movement(target)
        self._gradients = self._find_gradients(net) if target.needs_gradient else {}

    def _find_gradients(self, net: Block) -> Mapping[str, Any]:
        target = self.target
        if target.gradients is not None:
            return target.gradients
        weights = {p.name: p for layer in self.able.values() for p in layer.weights.values()}
        if target.data is None:
            return network_gradients(net, weights.values())
        first = target.registered is not None and target.registered.first_batch
        return loss_gradients(
            net, target.data, target.loss, parameters=weights.values(), first_batch=first
        )

    def of(self, key: Key) -> np.ndarray | None:
        """Scores of a weight's units, in the shape of its units; None: the criterion has none.

        Units that are wholly pruned already score -inf. DataError for scores of another shape or
        that are not finite, and for gradients that are not.
        """
        name, attribute = key
        layer = self.able[name]
        mask = None if self.revive else present_mask(layer, attribute)
        cut = self._units(layer, _value(layer, attribute, mask))
        member = self._member(layer, attribute, cut)
        scores = None if member is None else self.target.scorer(member)
        if scores is None:
            return None
        scores = np.asarray(scores, np.float32)
        if scores.shape != (len(cut.rows),):
            raise DataError(
                f"the criterion gave shape {scores.shape} for layer {name!r}, which has "
                f"{len(cut.rows)} units: it must be ({len(cut.rows)},)"
            )
        if not np.isfinite(scores).all():
            raise DataError(
                f"the scores of layer {name!r} ({attribute}) are not finite (NaN or infinity)"
            )
        if mask is not None:
            scores = np.where(self._units(layer, mask).rows.any(1), scores, -np.inf)
        return scores.reshape(cut.shape)

    def _units(self, layer: Layer, value: np.ndarray) -> Units:
        return units(oriented(layer, value, self.target.pattern), self.target.pattern)

    def _member(self, layer: Layer, attribute: str, cut: Units) -> Member | None:
        parameter = layer.weights[attribute]
        name = self._names[parameter.name]
        rng = generator(self.target.seed, name)
        if self.target.registered is not None and self.target.registered.of == "norm":
            gamma = self._parameters.get(self.norms.get(parameter.name, ""))
            if gamma is None or gamma.shape != (len(cut.rows),):
                return None
            scale = gamma.list_data()[0].asnumpy().astype(np.float32)
            return Member(layer.name, "norm", self._names[gamma.name], scale[:, None], None, rng)
        return Member(
            layer.name,
            "weight",
            name,
            cut.rows,
            self._evidence(layer, attribute, name, self._gradients, "gradient"),
            rng,
            self._evidence(layer, attribute, name, self.target.movement, "movement"),
            cut.sizes,
        )

    def _evidence(
        self, layer: Layer, attribute: str, name: str, given: Mapping[str, Any] | None, what: str
    ) -> np.ndarray | None:
        if given is None or name not in given:
            return None
        value = given[name]
        value = value.asnumpy() if isinstance(value, mx.nd.NDArray) else np.asarray(value)
        shape = tuple(layer.weights[attribute].shape)
        if value.shape != shape:
            raise DataError(
                f"the {what} of {name!r} has shape {value.shape}; the weight has {shape}"
            )
        if not np.isfinite(value).all():
            raise DataError(
                f"the {what} of {name!r} (layer {layer.name!r}) is not finite (NaN or infinity)"
            )
        return self._units(layer, value.astype(np.float32, copy=False)).rows


def _check_movement(target: PruningTarget) -> None:
    wanted = target.registered is not None and target.registered.needs == "movement"
    if wanted and not any(np.any(value) for value in target.movement.values()):
        raise DataError(
            "criterion 'movement' has seen no gradient yet: call step() for every batch, and let "
            "the schedule begin after some training"
        )


def _value(layer: Layer, attribute: str, mask: np.ndarray | None) -> np.ndarray:
    """The weight as a scorer sees it: masked, looked up in its codebook, never fake-quantized."""
    value = view(layer.data(attribute))
    if has_codebook(layer, attribute):
        return masked_weight(layer.block, attribute).astype(np.float32, copy=False)
    value = value.astype(np.float32, copy=False)
    return value if mask is None else value * mask


def has_codebook(layer: Layer, attribute: str) -> bool:
    """Are the weight's values those of a codebook (and what it holds itself not used)?"""
    return isinstance(layer.block, Compressed) and attribute in layer.block._codebooks


def present_mask(layer: Layer, attribute: str) -> np.ndarray | None:
    """The mask of a weight as it is, or None."""
    if not isinstance(layer.block, Compressed) or attribute not in layer.block._masks:
        return None
    return view(layer.block._reg_params[layer.block._masks[attribute]].list_data()[0])
