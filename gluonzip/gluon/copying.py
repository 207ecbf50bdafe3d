"""Copies of networks, hybridized ones included."""

from __future__ import annotations

import copy

from gluonzip.gluon.structure import Block, clear_caches


def clone(net: Block) -> Block:
    """An independent copy of ``net``: parameters, masks, quantizers, hybridization and all.

    ``copy.deepcopy`` fails on a network that has run hybridized, for its cached graphs cannot be
    copied; they are forgotten here, in ``net`` too, which builds them again when it next runs.
    Parameters keep their names, and the copy trains as the original does.
    """
    clear_caches(net)
    copied = copy.deepcopy(net)
    for parameter in copied.collect_params().values():
        if parameter._grad is not None:
            parameter._init_grad()  # copied arrays are not marked as autograd's variables
    return copied
