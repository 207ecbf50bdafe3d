"""Marks that gluonzip's own compositions leave on symbol nodes, and that the tracer reads back.

A fake quantizer is several MXNet operators. Its first (x is its first input), its last, and the one
that takes the scale (as its second input) are tagged through ``AttrScope``. From the last one, the
path of first inputs leads to the first; from its second input, to the scale. A learned scale is a
sum, tagged as well, whose first input is the value (its second adds zero and a gradient). Tags are
part of the symbol's JSON, so an exported and re-imported network traces as well. The last operator
of a weight's look-up in its codebook is tagged, too: its path of first inputs leads to the weight.
So is the last one of a ternary or binary weight: its path of first inputs leads to the operator
that takes the scale, and on to the weight. Casts around quantizers and
transposed convolutions are tagged, and leave no trace.
"""

from __future__ import annotations

import json
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from gluonzip.gluon._mxnet import mx

KEY = "__glz__"
BEGIN, SCALE, END = "fake_quantize.begin", "fake_quantize.scale", "fake_quantize.end"
LEARNED = "fake_quantize.learned"
VALUES = "fake_quantize.values"
CAST = "cast"
CODEBOOK = "codebook"


def tag(F: Any, role: str, **facts: Any) -> AbstractContextManager:
    """Symbols made inside carry ``role`` and ``facts``; with ``F`` mx.nd nothing happens."""
    if F is not mx.sym and F is not mx.symbol:
        return nullcontext()
    return mx.AttrScope(**{KEY: json.dumps({"role": role, **facts})})


def read(attrs: dict[str, str]) -> dict[str, Any]:
    """The tag of a node of a symbol's JSON; empty when there is none (or a foreign one)."""
    try:
        facts = json.loads(attrs.get(KEY, "{}"))
    except ValueError:
        return {}
    return facts if isinstance(facts, dict) else {}
