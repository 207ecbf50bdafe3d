"""Batch norms in quantization-aware training: statistics that stop moving.

While a network trains, a batch norm divides by the statistics of the batch; deployed, by running
averages. Quantized layers in front of it make the batch's statistics noisy, and the last steps
should train what will run. So after a while statistics are frozen: the batch norm uses its running
averages in training as well and leaves them as they are; gamma and beta train on
(R. Krishnamoorthi, arXiv:1806.08342, section 3.2.2).

Nothing needs to be folded in training: a batch norm behind a quantized layer multiplies that
layer's scales, never its codes, so once its statistics are frozen the network in training, the
network at inference and the engine compute the same.
"""

from __future__ import annotations

from typing import Any, Literal

from gluonzip.errors import ConfigError
from gluonzip.gluon.handlers import Scheduled
from gluonzip.gluon.structure import Block, clear_caches, walk
from gluonzip.schedule import Ramp

_KEY = "use_global_stats"


def freeze_batch_norm(net: Block, frozen: bool = True) -> list[str]:
    """Freeze the statistics of every batch norm of ``net``, or let them move again.

    Returns the names of those that it changed; a batch norm that was made with
    ``use_global_stats=True`` stays as it is.
    """
    changed = []
    for path, block in walk(net):
        settings = getattr(block, "_kwargs", {})
        if _KEY not in settings or settings[_KEY] == frozen:
            continue
        if not frozen and not getattr(block, "_glz_frozen", False):
            continue
        settings[_KEY] = block._glz_frozen = frozen
        changed.append(path or block.name)
    if changed:
        clear_caches(net)
    return changed


class FreezeBatchNorm(Scheduled):
    """Freezes the batch norms of ``net`` when ``after`` steps (or epochs) are over.

        freeze = FreezeBatchNorm(net, after=2, unit="epoch")

    In a hand-written loop call ``freeze.step()`` before each batch and ``freeze.epoch()`` before
    each epoch; in the Gluon Estimator pass it among ``event_handlers``; in
    :func:`gluonzip.training.fit` among ``handlers``. Raises ConfigError for ``after`` below 0.
    """

    def __init__(
        self, net: Block, after: float, *, unit: Literal["step", "epoch"] = "step"
    ) -> None:
        if not after >= 0:
            raise ConfigError(f"FreezeBatchNorm: after = {after!r} {unit}s is not usable; >= 0 is")
        self.net = net
        super().__init__(Ramp(0, 1, begin=after, end=after), self._apply, unit=unit)

    def _apply(self, value: float) -> None:
        freeze_batch_norm(self.net, bool(value))

    def load_state(self, state: dict[str, Any]) -> None:
        """Also freezes what was frozen: no parameter tells."""
        super().load_state(state)
        if self.value is not None:
            self._apply(self.value)
