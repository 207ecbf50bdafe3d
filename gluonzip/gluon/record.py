"""What compression did to each layer, or why it did nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class LayerRecord:
    """One weighted layer after ``prune`` or ``quantize``.

    ``compressed``: was anything done; ``reason``: why not, "" if it was. ``weights``: their number.
    ``facts``: what was done (``sparsity``, ``threshold``, ``pattern``; ``weight_bits``,
    ``activation_bits``, ...), JSON-able.
    """

    name: str
    kind: str
    weights: int
    compressed: bool
    reason: str = ""
    facts: dict[str, Any] = field(default_factory=dict)


NOT_SELECTED = "not selected"
