"""What this machine can do at most, measured: the roof under which every layer runs."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

from gluonzip import _core


@cache
def machine_limits(isa: str, threads: int) -> Mapping[str, float]:
    """Measured once a process (half a second): ``s8`` and ``f32``, multiply-accumulates a second of
    that instruction set on registers alone, 0 where it has no limit (``"reference"``); ``memory``,
    bytes read a second from memory that no cache holds. All ``threads`` together."""
    return MappingProxyType(_core.limits(isa, threads))


def hold_against(row: dict[str, Any], limits: Mapping[str, float]) -> None:
    """Add to a row of a profile: ``limit``, which of ``limits`` binds the layer (the one that alone
    would take longest), and ``share_of_limit``, that time over the layer's. What stays in caches is
    not bound by memory, so such a share may exceed 1."""
    compute = "s8" if "s8" in row["kernel"] else "f32"
    seconds = {
        name: amount / limits[name]
        for name, amount in ((compute, row["macs"]), ("memory", row["bytes"]))
        if limits[name]
    }
    row["limit"] = max(seconds, key=seconds.__getitem__)
    row["share_of_limit"] = 1e3 * seconds[row["limit"]] / max(row["milliseconds"], 1e-9)
