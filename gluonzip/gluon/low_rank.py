"""A Gluon network with layers in two thinner ones each, ready to be fine-tuned."""

from __future__ import annotations

from collections.abc import Sequence

from gluonzip.gluon.rebuild import GraphBlock
from gluonzip.gluon.structure import Block
from gluonzip.gluon.structured import _context
from gluonzip.gluon.tracing import trace
from gluonzip.passes.low_rank import Factorization, low_rank


def factorize(
    net: Block,
    *input_shapes: tuple[int, ...],
    energy: float | None = None,
    rank: int | None = None,
    budget: float | None = None,
    scheme: str = "channel",
    layers: Sequence[str] = ("*",),
) -> tuple[GraphBlock, list[Factorization]]:
    """``net`` as a new network whose chosen layers are two Gluon layers each.

    ``input_shapes``: as for :func:`gluonzip.gluon.trace`; the rest as for
    :func:`gluonzip.passes.low_rank.low_rank`. ``net`` itself stays as it is. Train the new one a
    little; factorize before pruning and quantization. Raises what these two raise.
    """
    graph, records = low_rank(
        trace(net, *input_shapes),
        energy=energy, rank=rank, budget=budget, scheme=scheme, layers=layers,
    )  # fmt: skip
    return GraphBlock(graph, ctx=_context(net)), records
